"""The baselines by name."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.fewshot.baselines.base import Baseline
from metarl.fewshot.baselines.setfit import SetFit
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.super_learner.answers import FOLDS
from metarl.fewshot.super_learner.estimator import AVERAGE, MEAN, SELECT, SuperLearner

_NEIGHBOURS = 5
ALL = "all"


class NearestMean(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The nearest class mean by cosine, as a scikit-learn classifier has it; probabilities are a softmax of cosines."""

    classes_: NDArray[np.int64]

    def fit(self, x: NDArray[Any], y: NDArray[np.int64]) -> "NearestMean":
        """Keep the direction of each class's mean, of samples of length 1."""
        self.classes_ = np.unique(y)
        self._means: NDArray[np.float64] = _unit(np.stack([_unit(x)[y == each].mean(0) for each in self.classes_]))
        return self

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities ``(sample, class)``."""
        cosines = _unit(x) @ self._means.T
        weights = np.exp(cosines - cosines.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class of the nearest mean ``(sample,)``."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(1)])


class Neighbours(KNeighborsClassifier):  # type: ignore[misc]  # scikit-learn has no types
    """Nearest neighbours, all samples of a support where it has fewer than are asked for."""

    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Return the distances and indices of neighbours; see ``KNeighborsClassifier``."""
        most = min(n_neighbors or self.n_neighbors, self.n_samples_fit_ - (X is None))
        return super().kneighbors(X, most, return_distance)


def _unit(x: NDArray[Any]) -> NDArray[Any]:
    made: NDArray[Any] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return made


def _tabpfn() -> Any:
    from tabpfn import TabPFNClassifier

    return TabPFNClassifier(device="cpu")


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "nearest-mean": NearestMean,
    "logistic-regression": lambda: LogisticRegression(max_iter=500),
    "knn": lambda: Neighbours(_NEIGHBOURS, weights="distance", metric="cosine"),
    "random-forest": lambda: RandomForestClassifier(random_state=0),
    "tabpfn": _tabpfn,
}
MEMBERS = {name: CLASSIFIERS[name] for name in ("nearest-mean", "logistic-regression", "knn", "random-forest")}


def _super_learner(method: str) -> SuperLearner:
    return SuperLearner([make() for make in MEMBERS.values()], method)


def _stacking(labels: NDArray[Any]) -> Any:
    members = [(name, make()) for name, make in MEMBERS.items()]
    folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    if folds < 2:  # nothing to stack by where a class has one sample: the members count the same
        return VotingClassifier(members, voting="soft")
    return StackingClassifier(members, cv=folds)


_COMBINED: dict[str, Callable[[NDArray[Any]], Any]] = {
    "super-learner": lambda _: _super_learner(AVERAGE),
    "super-learner-select": lambda _: _super_learner(SELECT),
    "mean-of-learners": lambda _: _super_learner(MEAN),
    "stacking": _stacking,
}
_SINGLE = (*CLASSIFIERS, "setfit")
BASELINES = (*_SINGLE, *_COMBINED)


def make_baseline(name: str, data: DataSpec, way: int) -> Baseline:
    """Return a baseline by its name, one of ``BASELINES``, for samples of a kind and a number of classes."""
    if data.outputs is not None:
        raise MetaRLError(
            "The baselines tell classes apart or predict ratings; this data set has other numbers to predict."
        )
    if name not in BASELINES:
        known = f"{ALL}, {', '.join(BASELINES)}"
        raise MetaRLError(f"Baseline {name!r} is unknown; known are {known}.{did_you_mean(name, BASELINES)}")
    if name == "tabpfn" and find_spec("tabpfn") is None:
        raise MetaRLError("tabpfn is not installed: pip install tabpfn; it fetches its weights when it is first used.")
    kind, made_of = SetFit if name == "setfit" else Baseline, CLASSIFIERS.get(name, CLASSIFIERS["logistic-regression"])
    made = kind(data.n_inputs, way, _COMBINED.get(name, lambda _: made_of()))
    made.name = name  # type: ignore[misc]  # of this one
    return made


def baseline_names(asked: tuple[str, ...], of_ratings: Sequence[str] = ()) -> list[str]:
    """Return the names that are asked for; ``all`` is every single one that is installed, or all of ratings."""
    here = of_ratings or [name for name in _SINGLE if name != "tabpfn" or find_spec("tabpfn") is not None]
    return list(dict.fromkeys(each for name in asked for each in (here if name == ALL else [name])))
