"""The answers of base learners on one task: on queries, and on each sample of the support by learners without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from metarl.core.errors import MetaRLError, shown
from metarl.fewshot.super_learner.support import support_features

Array: TypeAlias = NDArray[np.float64]
FOLDS = 3
_SHOWN = 5  # classes in a message


@dataclass(frozen=True)
class Tried:
    """Probabilities of a support's samples by base learners that were fitted to its other folds."""

    features: Array  # (feature,) of the support
    held_out: Array  # (learner, sample, class); without samples where a class has one
    labels: NDArray[np.int64]  # (sample,) the right classes of those


@dataclass(frozen=True)
class AnsweredTask:
    """The answers of base learners on a task whose queries are known: one to train a gate on, or to score by."""

    support: Tried
    asked: Array  # (learner, query, class), by learners fitted to the whole support
    targets: NDArray[np.int64]  # (query,) the right classes


def fitted(learners: Sequence[Any], X: NDArray[Any], y: NDArray[Any]) -> list[Any]:
    """Return copies of classifiers fitted to a support.

    Args:
        learners: scikit-learn classifiers.
        X: samples ``(n, ...)``.
        y: labels ``(n,)``.

    Raises:
        MetaRLError: where one tells other classes apart than the support has, or has no ``predict_proba``.
    """
    made, classes = [clone(each).fit(X, y) for each in learners], np.unique(y)
    for each in made:
        if not hasattr(each, "predict_proba"):
            raise MetaRLError(f"{shown(each)} gives no probabilities; wrap it in CalibratedClassifierCV.")
        if not np.array_equal(each.classes_, classes):
            raise MetaRLError(
                f"{shown(each)} tells {len(each.classes_)} classes apart ({_some(each.classes_)}), and the support "
                f"has {len(classes)} ({_some(classes)}); give base learners that are fitted to the same classes."
            )
    return made


def answers_of(made: Sequence[Any], X: NDArray[Any]) -> Array:
    """Return what fitted classifiers say of samples ``(learner, sample, class)``."""
    return np.stack([np.asarray(each.predict_proba(X), np.float64) for each in made])


def tried(learners: Sequence[Any], X: NDArray[Any], y: NDArray[Any], folds: int = FOLDS, seed: int = 0) -> Tried:
    """Fit classifiers to a support without one fold after the other, and return what they say of that fold.

    Folds are stratified, and no more than the rarest class has samples; where that is one, nothing is held out.

    Args:
        learners: scikit-learn classifiers.
        X: samples ``(n, ...)``.
        y: labels ``(n,)``.
        folds: at most so many.
        seed: decides which sample is in which.
    """
    classes, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    folds, features = min(folds, int(counts.min())), support_features(X, y)
    if folds < 2:
        return Tried(features, np.zeros((len(learners), 0, len(classes))), np.zeros(0, np.int64))
    found = np.zeros((len(learners), len(y), len(classes)))
    for kept, left in StratifiedKFold(folds, shuffle=True, random_state=seed).split(X, which):
        found[:, left] = answers_of(fitted(learners, X[kept], y[kept]), X[left])
    return Tried(features, found, which.astype(np.int64))


def _some(classes: NDArray[Any]) -> str:
    return ", ".join(map(str, classes[:_SHOWN])) + ", ..." * (len(classes) > _SHOWN)
