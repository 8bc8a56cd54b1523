"""The super learner as a scikit-learn classifier over any others, ``FewShotClassifier`` included."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from metarl.adapt.selection import selected
from metarl.core.errors import MetaRLError, did_you_mean
from metarl.fewshot.estimators import FewShotClassifier
from metarl.fewshot.model import FewShot
from metarl.fewshot.super_learner.answers import FOLDS, Tried, answers_of, fitted, tried
from metarl.fewshot.super_learner.gate import Gate
from metarl.fewshot.super_learner.pool import log_pool, losses_of, pool_coefficients
from metarl.fewshot.super_learner.tasks import SHOTS, answered_tasks, parts_of, trained_across

AVERAGE, SELECT, MEAN = "average", "select", "mean"
METHODS = (AVERAGE, SELECT, MEAN)
_STRENGTH = 1.0  # of equal coefficients beside a support's losses, where no gate was learned


class SuperLearner(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier that chooses or averages base learners on each support by their cross-validated log loss.

    It is the super learner of van der Laan, Polley and Hubbard (2007), with what few-shot tasks need beside it: where a
    class has one sample nothing can be held out, and few samples say little, so ``meta_fit`` learns on training tasks
    how much each base learner is worth by the support's own features (ways, shots, how samples spread); the support's
    losses then correct that. Without it all base learners count the same where nothing can be held out.

    Args:
        learners: scikit-learn classifiers with ``predict_proba``.
        method: ``average`` their log-probabilities with the coefficients of the least log loss; ``select`` the one with
            the least; or ``mean``, the plain average of probabilities.
        folds: of a support; as many as its rarest class has samples where those are fewer.
        gate: what ``meta_fit`` learns.
        seed: of folds and training tasks.

    Raises:
        MetaRLError: on ``fit``, where there is no learner, the method is unknown, or learners tell other classes apart.
    """

    def __init__(
        self,
        learners: Sequence[Any],
        method: str = AVERAGE,
        folds: int = FOLDS,
        gate: Gate | None = None,
        seed: int = 0,
    ) -> None:
        self.learners, self.method, self.folds, self.gate, self.seed = learners, method, folds, gate, seed

    def meta_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        shots: Sequence[int] = SHOTS,
        episodes: int = 40,
        way: int = 5,
    ) -> Self:
        """Learn on training tasks how much each base learner is worth, set ``gate``, and return itself.

        A base learner that has a ``meta_fit`` of its own and no ``model`` is trained too: on two thirds of the classes
        or tasks to answer on the last third, three times, and in the end on all, which sets ``learners``. A model that
        is given must not have been trained on these tasks, or it seems better than it is.

        Args:
            X: samples ``(n, *shape)``.
            y: labels ``(n,)``.
            groups: the task of each sample ``(n,)``, where each task has labels of its own; unless given, tasks are
                drawn of the classes in ``y``.
            shots: numbers of labelled samples of a class that the gate is learned for.
            episodes: of each.
            way: classes of an episode, where they are drawn.
        """
        self._check()
        inputs, labels = np.asarray(X, np.float32), np.asarray(y)
        whose = None if groups is None else np.asarray(groups)
        tasks = [
            task
            for made, source in parts_of(self.learners, inputs, labels, whose, self.seed)
            for task in answered_tasks(made, source, shots, episodes, way, folds=self.folds, seed=self.seed)
        ]
        self.gate = Gate.learned(tasks)
        self.learners = trained_across(self.learners, inputs, labels, whose)
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all base learners to a support, and choose or weigh them; ``coefficients_`` and ``losses_`` say how."""
        self._check()
        rows, labels = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("The support has one class; there is nothing to tell apart.")
        self.learners_ = fitted(self.learners, rows, labels)
        support = tried(self.learners, rows, labels, self.folds if self.method != MEAN else 1, self.seed)
        self.losses_ = losses_of(support.held_out, support.labels).mean(1) if len(support.labels) else None
        self.coefficients_ = coefficients_of(support, self.method, self.gate)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities ``(n, class)`` in the order of ``classes_``."""
        check_is_fitted(self)
        asked = answers_of(self.learners_, validate_data(self, X, allow_nd=True, reset=False))
        return averaged(asked, self.coefficients_, self.method)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable labels ``(n,)``."""
        chosen = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[chosen])

    def _check(self) -> None:
        if not len(self.learners):
            raise MetaRLError("SuperLearner([]) has no base learner; give it some scikit-learn classifiers.")
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise MetaRLError(f"method={self.method!r}: there are {known}.{did_you_mean(self.method, METHODS)}")
        if self.gate is not None and len(self.gate.slopes) != len(self.learners):
            raise MetaRLError(
                f"The gate was learned for {len(self.gate.slopes)} base learners, and there are {len(self.learners)}; "
                "give those that it was learned for, or learn another by meta_fit."
            )


def coefficients_of(support: Tried, method: str, gate: Gate | None) -> NDArray[np.float64]:
    """Return the coefficients of base learners ``(learner,)`` on a support: for ``select`` a one among zeros."""
    n = len(support.held_out)
    equal = np.full(n, 1 / n)
    if method == MEAN:
        return equal
    if method == AVERAGE:
        if gate is not None:
            return gate.coefficients(support)
        return pool_coefficients(support.held_out, support.labels, equal, _STRENGTH)
    if not len(support.labels):
        return equal if gate is None else _one_of(n, selected(gate.expected(support.features)[:, None]))
    return _one_of(n, selected(losses_of(support.held_out, support.labels)))


def _one_of(n: int, chosen: int) -> NDArray[np.float64]:
    return np.asarray(np.arange(n) == chosen, np.float64)


def averaged(asked: NDArray[np.float64], coefficients: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """Return the average ``(sample, class)`` of probabilities: plain for ``mean`` and ``select``, else pooled."""
    if method == AVERAGE:
        return log_pool(asked, coefficients)
    return np.asarray(np.tensordot(coefficients, asked, 1))


def strategies(model: FewShot, **settings: Sequence[Any]) -> list[FewShotClassifier]:
    """Return classifiers that adapt one trained model in several ways, as base learners of a ``SuperLearner``.

    Args:
        model: trained.
        settings: fields of its config that adapting goes by, with the values to take: every combination is one way,
            such as ``step_size=(0.1, 0.4), test_steps=(1, 5, 10)`` for ``maml``.
    """
    made = []
    for values in product(*settings.values()):
        other = copy(model)
        try:
            other.config = replace(model.config, **dict(zip(settings, values, strict=True)))
        except TypeError as error:
            raise MetaRLError(f"{model.learner_class.name} has no such setting ({error}); see its config.") from error
        other.learner = other.learner_for()
        if other.learner is model.learner:
            raise MetaRLError(f"{model.learner_class.name} was given ready; give FewShot its class and a config.")
        made.append(FewShotClassifier(model=other))
    return made
