"""What a support tells of itself: ways, shots, and how its samples spread."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = ("ways", "shots", "imbalance", "apart", "apart's spread", "within", "has pairs")


def support_features(X: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the features ``NAMES`` of a support, by which base learners are weighed before any is tried.

    They are logarithms of the number of classes, of the samples of a class, and of the largest class over the smallest;
    mean and standard deviation of the cosine distances between samples of different classes; the mean distance within
    classes over that between them, 1 where no class has two samples; and whether one has.

    Args:
        X: samples ``(n, ...)``.
        y: labels ``(n,)``.
    """
    rows = np.asarray(X, np.float64).reshape(len(y), -1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    same = which[:, None] == which
    pairs = np.triu(np.ones_like(same), 1)
    distances = 1 - rows @ rows.T
    apart, within = distances[~same & pairs], distances[same & pairs]
    ratio = within.mean() / max(apart.mean(), 1e-12) if len(within) else 1.0
    sizes = np.log([len(counts), len(y) / len(counts), counts.max() / counts.min()])
    return np.array([*sizes, apart.mean(), apart.std(), ratio, float(len(within) > 0)])
