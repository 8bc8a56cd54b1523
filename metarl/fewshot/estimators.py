"""Few-shot learners as scikit-learn estimators: ``fit`` adapts to a support, ``meta_fit`` trains across tasks."""

from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from metarl.core.errors import MetaRLError
from metarl.fewshot.adapted import Adapted, Classifier, Regressor
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset, TaskSource
from metarl.fewshot.data.groups import groups_by_split
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.model import FewShot
from metarl.fewshot.trust.calibration import fitted_temperature, logits_of
from metarl.fewshot.untrained import config_for, untrained

A = TypeVar("A", bound=Adapted)
_FOR_VALIDATION = 5  # one class or task of so many, where there are twice as many
_CALIBRATED = 100  # episodes from which a temperature is learned

# scikit-learn's checks that do not apply, for ``check_estimator(..., expected_failed_checks=EXPECTED_FAILURES)``.
EXPECTED_FAILURES = {
    "check_methods_subset_invariance": "features are of single precision, whose sums round otherwise in other batches"
}


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A few-shot learner with scikit-learn's parameters.

    Args:
        learner: a learner's name, for a model that is not trained or by ``meta_fit``.
        config: of the learner; its default preset's unless given.
        model: one that is trained; it is adapted then, and ``learner`` and ``config`` are not used.
        seed: of initial parameters and episodes.
    """

    learner: str | type[FewShotLearner]
    config: FewShotConfig | None
    model: FewShot | None
    seed: int

    def _shaped(self, rows: Any) -> NDArray[np.float64]:
        """Return samples in the model's shape, where a pipeline has made them flat."""
        if self.model is not None and rows.ndim == 2 and rows.size == len(rows) * self.model.spec.n_inputs:
            rows = rows.reshape(-1, *self.model.spec.shape)
        return np.asarray(rows, np.float64)

    def _trained(self, sources: dict[str, TaskSource]) -> FewShot:
        """Return a model trained on tasks."""
        dataset = FewShotDataset("tasks", sources)
        config = config_for(self.learner, dataset.spec, self.config)
        config = replace(config, episode=sources["train"].fitting(config.episode))
        return FewShot(self.learner, dataset, config, seed=self.seed).fit(dataset)


class FewShotClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A scikit-learn classifier that adapts a few-shot learner to the few samples it is fitted to.

    Args:
        learner: a learner's name. Untrained it has to take features as they are: ridge, feature-map, gp, logistic.
        config: of the learner; its default preset's unless given.
        model: a trained ``FewShot``, such as ``FewShot.load(path)``; ``meta_fit`` sets it.
        temperature: what logits are divided by; ``meta_fit`` learns it on its tasks.
        seed: of initial parameters and episodes.
    """

    def __init__(
        self,
        learner: str | type[FewShotLearner] = "ridge",
        config: FewShotConfig | None = None,
        model: FewShot | None = None,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.learner, self.config, self.model = learner, config, model
        self.temperature, self.seed = temperature, seed

    def meta_fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train across tasks, set ``model`` and ``temperature``, and return itself; ``fit`` then adapts.

        Args:
            X: samples ``(n, *shape)``.
            y: labels ``(n,)``.
            groups: the task of each sample ``(n,)``, where each task has labels of its own; unless given, tasks are
                drawn of the classes in ``y``, as many at once as the config says.
        """
        X, y = np.asarray(X, np.float32), np.asarray(y)
        if groups is None:
            names = np.unique(y).tolist()
            splits = {part: some for part, some in _validated(names, self.seed).items() if len(some) > 1}
            sources = dict(FewShotDataset.from_arrays(X, y, splits=splits).splits)
        else:
            classes, numbers = np.unique(y, return_inverse=True)
            sources = _grouped(X, numbers, groups, tuple(map(str, classes)), self.seed)
        self.model = self._trained(sources)
        spec = self.model.config.episode.largest
        spec = sources["train"].fitting(replace(spec, way=min(5, spec.way), most_way=None, most_shot=None))
        learner = self.model.learner_for(spec.way)
        found = logits_of(learner, self.model.params, sources["train"], spec, _CALIBRATED, self.seed)
        self.temperature = fitted_temperature(*found)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Adapt to a support of samples ``(n, d)`` or ``(n, *shape)`` with labels ``(n,)``, and return itself."""
        X, y = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError("The support has one class; there is nothing to tell apart.")
        rows, self.classes_ = self._shaped(X), np.unique(y)
        model = self.model
        if model is None:
            model = untrained(self.learner, DataSpec(rows.shape[1:], len(self.classes_)), self.config, self.seed)
        self.adapted_ = adapted_as(model, rows, y, Classifier)
        self.adapted_.temperature = self.temperature
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities ``(n, class)`` in the order of ``classes_``."""
        check_is_fitted(self)
        found: NDArray[np.float64] = self.adapted_.predict_proba(
            self._shaped(validate_data(self, X, allow_nd=True, reset=False))
        )
        return found

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable labels ``(n,)``."""
        chosen = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[chosen])


class FewShotRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A scikit-learn regressor that adapts a few-shot learner to the few samples it is fitted to.

    Args:
        learner: the name of a learner that predicts numbers. Untrained only gp-regression can.
        config: of the learner; its default preset's unless given.
        model: a trained ``FewShot``; ``meta_fit`` sets it.
        seed: of initial parameters and episodes.
    """

    def __init__(
        self,
        learner: str | type[FewShotLearner] = "gp-regression",
        config: FewShotConfig | None = None,
        model: FewShot | None = None,
        seed: int = 0,
    ) -> None:
        self.learner, self.config, self.model, self.seed = learner, config, model, seed

    def meta_fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike) -> Self:
        """Train across tasks, set ``model``, and return itself; ``fit`` then adapts.

        Args:
            X: samples ``(n, *shape)``.
            y: numbers ``(n,)``.
            groups: the task of each sample ``(n,)``.
        """
        sources = _grouped(np.asarray(X, np.float32), np.asarray(y, np.float32), groups, (), self.seed)
        self.model = self._trained(sources)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Adapt to a support of samples ``(n, d)`` or ``(n, *shape)`` with numbers ``(n,)``, and return itself."""
        X, y = validate_data(self, X, y, allow_nd=True, y_numeric=True)
        rows, model = self._shaped(X), self.model
        if model is None:
            model = untrained(self.learner, DataSpec(rows.shape[1:], outputs=1), self.config, self.seed)
        self.adapted_ = adapted_as(model, rows, y, Regressor)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return numbers ``(n,)``, and with ``return_std`` their standard deviations ``(n,)`` too."""
        check_is_fitted(self)
        rows = self._shaped(validate_data(self, X, allow_nd=True, reset=False))
        found = self.adapted_.predict(rows)[:, 0]
        return (found, self.adapted_.predict_std(rows)[:, 0]) if return_std else found


def adapted_as(model: FewShot, X: ArrayLike, y: ArrayLike, kind: type[A]) -> A:
    """Return what a model gives after a support; raise where it is no classifier, or no regressor, as asked."""
    made = model.adapt(X, y)
    if not isinstance(made, kind):
        called = kind.__name__.lower()
        raise MetaRLError(f"{model.learner_class.name} gives no {called}; give the model to the other estimator.")
    return made


def _validated(names: list[Any], seed: int) -> dict[str, list[Any]]:
    """Return names by split: one fifth to validate on, where there are enough of them."""
    if len(names) < 2 * _FOR_VALIDATION:
        return {"train": names}
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(names))
    n = len(names) // _FOR_VALIDATION
    return {"train": [names[i] for i in sorted(order[n:])], "val": [names[i] for i in sorted(order[:n])]}


def _grouped(
    X: NDArray[np.float32], y: NDArray[Any], groups: ArrayLike, classes: tuple[str, ...], seed: int
) -> dict[str, TaskSource]:
    """Return tasks by split, each with labels of its own."""
    whose = np.asarray(groups)
    if whose.shape != y.shape or len(X) != len(y):
        raise MetaRLError(f"X {X.shape}, y {y.shape} and groups {whose.shape}: give each sample a label and a group.")
    splits = _validated(np.unique(whose).tolist(), seed)
    return dict(groups_by_split(X, y, whose, splits, classes))
