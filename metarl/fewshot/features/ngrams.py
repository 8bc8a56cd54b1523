"""Sentences as weighted counts of their character n-grams: the floor that a pretrained encoder has to beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from metarl.fewshot.features.base import Encoder, Features
from metarl.fewshot.features.registry import register_encoder

_COLUMNS = 4096  # that n-grams are hashed into: a sentence has some hundred of them


@register_encoder("ngrams")
class NGrams(Encoder):
    """Character n-grams of 2 to 5 letters within words, hashed, with logarithmic counts and weights by rarity.

    The weight of a column is its inverse document frequency in the training items (Salton and Buckley 1988); vectors
    have length 1.
    """

    def fit(self, items: Sequence[Any]) -> None:
        present = np.asarray((_counted(items) != 0).sum(0)).ravel()
        weights = np.log((1 + len(items)) / (1 + present)) + 1
        self.fitted = {"weights": [round(float(each), 4) for each in weights]}

    def __call__(self, items: Sequence[Any]) -> Features:
        counted = _counted(items)
        counted.data = np.sign(counted.data) * (1 + np.log(np.abs(counted.data)))
        dense = counted.toarray().astype(np.float32)
        dense *= np.asarray(self.fitted.get("weights", 1.0), np.float32)
        return np.asarray(dense / np.linalg.norm(dense, axis=1, keepdims=True).clip(1e-12), np.float32)


def _counted(items: Sequence[Any]) -> Any:
    """Return how often each hashed n-gram occurs ``(n, columns)``, sparse."""
    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=_COLUMNS, norm=None)
    counted = hashing.transform(items)
    counted.eliminate_zeros()
    return counted
