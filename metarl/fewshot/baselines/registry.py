"""The baselines by name."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.fewshot.baselines.base import Baseline
from metarl.fewshot.baselines.setfit import SetFit
from metarl.fewshot.data.dataset import DataSpec

_NEIGHBOURS = 5
ALL = "all"


class NearestMean:
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


def _unit(x: NDArray[Any]) -> NDArray[Any]:
    made: NDArray[Any] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return made


def _logistic_regression(_: int = 0) -> LogisticRegression:
    return LogisticRegression(max_iter=500)


def _neighbours(n_samples: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(min(_NEIGHBOURS, n_samples), weights="distance", metric="cosine")


def _tabpfn(_: int) -> Any:
    from tabpfn import TabPFNClassifier

    return TabPFNClassifier(device="cpu")


_CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "nearest-mean": lambda _: NearestMean(),
    "logistic-regression": _logistic_regression,
    "knn": _neighbours,
    "random-forest": lambda _: RandomForestClassifier(random_state=0),
    "tabpfn": _tabpfn,
}
BASELINES = (*_CLASSIFIERS, "setfit")


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
    kind = SetFit if name == "setfit" else Baseline
    made = kind(data.n_inputs, way, _CLASSIFIERS.get(name, _logistic_regression))
    made.name = name  # type: ignore[misc]  # of this one
    return made


def baseline_names(asked: tuple[str, ...], of_ratings: Sequence[str] = ()) -> list[str]:
    """Return the names that are asked for; ``all`` is every one whose package is installed, or all of ratings."""
    here = of_ratings or [name for name in BASELINES if name != "tabpfn" or find_spec("tabpfn") is not None]
    return list(dict.fromkeys(each for name in asked for each in (here if name == ALL else [name])))
