"""The gate: how base learners are averaged before any is tried, learned on training tasks from features of supports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.fewshot.super_learner.answers import AnsweredTask, Tried
from metarl.fewshot.super_learner.pool import log_pool, logarithms, losses_of, pool_coefficients

Array: TypeAlias = NDArray[np.float64]
_STRENGTHS = (1.0, 10.0, 100.0, 1000.0, 1e6)  # those tried; the last one leaves the coefficients as they are
_PENALTY = 0.5  # nats of a squared slope, a standard normal prior; each training task counts as one sample
_OF_INTERCEPTS = 0.01  # of a squared distance from the start, or perfect learners would leave them undecided
_STEPS = 100  # of L-BFGS
_MOST = 100  # tasks by which the strength is chosen
_GREATEST = 5.0  # of a coefficient's logarithm
_LEAST = 1e-6  # of a spread; a feature with less is the same everywhere


@dataclass(frozen=True)
class Gate:
    """A regression on features of a support: base learners' coefficients in a pool, and the log loss of each.

    A coefficient is the exponential of a linear function of the features, and so above zero; see ``log_pool``.
    """

    slopes: Array  # (learner, 1 + feature) of logarithms of coefficients, the first of them the intercept
    losses: Array  # (learner, 1 + feature), the same of each learner's log loss
    mean: Array  # (feature,), taken from the features
    spread: Array  # (feature,), by which they are then divided
    strength: float  # of these coefficients beside a support's own losses; see ``pool_coefficients``

    @classmethod
    def learned(cls, tasks: Sequence[AnsweredTask]) -> "Gate":
        """Return the gate whose averages have the least log loss on the queries of training tasks.

        The coefficients are those of the least loss without a look at a support's own losses; the strength is, of five
        values, the one with the least loss with it.
        """
        if not tasks:
            raise MetaRLError("There is no training task; a gate takes one at least, better a hundred.")
        features = np.stack([task.support.features for task in tasks])
        mean, spread = features.mean(0), features.std(0)
        spread = np.where(spread > _LEAST, spread, 1.0)
        inputs = np.concatenate([np.ones((len(tasks), 1)), (features - mean) / spread], 1)
        own = np.stack([losses_of(task.asked, task.targets).mean(1) for task in tasks])
        losses: Array = np.linalg.lstsq(inputs, own, rcond=None)[0].T
        gate = cls(_learned_slopes(tasks, inputs), losses, mean, spread, _STRENGTHS[-1])
        several = [task for task in tasks if len(task.support.labels)]
        some = several[:: 1 + len(several) // _MOST]
        # Of equal ones the strongest, which is what it is without any task to choose by.
        tested = [replace(gate, strength=each) for each in reversed(_STRENGTHS)]
        return min(tested, key=lambda each: sum(each.loss(task) for task in some))

    def prior(self, features: Array) -> Array:
        """Return the coefficients ``(learner,)`` for a support with such features, before its own losses count."""
        return np.asarray(np.exp(np.minimum(self.slopes @ self._inputs(features), _GREATEST)))

    def expected(self, features: Array) -> Array:
        """Return the log loss ``(learner,)`` that is expected of each learner on a support with such features."""
        return np.asarray(self.losses @ self._inputs(features))

    def coefficients(self, support: Tried) -> Array:
        """Return the coefficients ``(learner,)`` after a support's own losses."""
        return pool_coefficients(support.held_out, support.labels, self.prior(support.features), self.strength)

    def loss(self, task: AnsweredTask) -> float:
        """Return the mean log loss of the average on a task's queries."""
        found = log_pool(task.asked, self.coefficients(task.support))
        return float(losses_of(found[None], task.targets).mean())

    def _inputs(self, features: Array) -> Array:
        return np.concatenate([[1.0], (features - self.mean) / self.spread])


def _learned_slopes(tasks: Sequence[AnsweredTask], inputs: Array) -> Array:
    """Return the slopes with the least log loss and penalty, from equal coefficients that sum to 1."""
    batches = []
    shapes = [task.asked.shape for task in tasks]
    for shape in sorted(set(shapes)):
        rows = [row for row, each in enumerate(shapes) if each == shape]
        logs = logarithms(np.stack([tasks[row].asked for row in rows]))
        targets = np.stack([tasks[row].targets for row in rows])
        batches.append([torch.from_numpy(each) for each in (inputs[rows], logs, targets)])
    first = torch.zeros(shapes[0][0], inputs.shape[1], dtype=torch.float64)
    first[:, 0] = -np.log(len(first))
    penalties = torch.full_like(first, _PENALTY / len(tasks))
    penalties[:, 0] = _OF_INTERCEPTS / len(tasks)
    slopes = first.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([slopes], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        total = (penalties * (slopes - first).square()).sum()
        for given, logs, targets in batches:
            scores = torch.einsum("tl,tlqc->tqc", (given @ slopes.T).clamp(max=_GREATEST).exp(), logs)
            each = functional.cross_entropy(scores.transpose(1, 2), targets)
            total = total + each * len(given) / len(tasks)
        total.backward()
        return total

    optimiser.step(objective)
    return slopes.detach().numpy()
