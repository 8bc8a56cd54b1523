"""Sentences as the mean of static token embeddings: the light encoder, whose weights lie in WordLlama's wheel."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from metarl.core.errors import MetaRLError
from metarl.core.files import using
from metarl.fewshot.features.base import Encoder, Features, optional
from metarl.fewshot.features.registry import register_encoder

_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
_INSTALL = "pip install 'metarl-suite[text]' and pip install --no-deps wordllama"


@register_encoder("wordllama")
class WordLlama(Encoder):
    """WordLlama's embeddings of 32,000 tokens, averaged over a sentence: 256 numbers of length 1.

    Both files are read from the installed package, whose own loader looks for the tokenizer elsewhere and then tries to
    fetch it; so its further dependencies are not needed.
    """

    def __call__(self, items: Sequence[Any]) -> Features:
        found = find_spec("wordllama")
        if found is None or found.origin is None:
            raise MetaRLError(f"The encoder wordllama needs its package, which carries the weights: {_INSTALL}.")
        folder = Path(found.origin).parent
        library = optional("tokenizers", "wordllama", _INSTALL)
        with using(folder):
            tokenizer = library.Tokenizer.from_str((folder / _TOKENIZER).read_text())
            weights = safetensors.numpy.load_file(folder / _WEIGHTS)["embedding.weight"].astype(np.float32)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokens = [each.ids for each in tokenizer.encode_batch(list(items), add_special_tokens=False)]
        means = np.stack([weights[ids].mean(0) if ids else np.zeros(weights.shape[1], np.float32) for ids in tokens])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12), np.float32)
