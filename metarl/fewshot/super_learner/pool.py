"""Averages of predicted probabilities on the scale of their logarithms, with coefficients of the least log loss."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

Array: TypeAlias = NDArray[np.float64]
LEAST = 1e-6  # of a probability whose logarithm is taken


def logarithms(probable: Array) -> Array:
    """Return the logarithms of probabilities, none of them below 1e-6."""
    return np.asarray(np.log(probable.clip(LEAST)))


def log_pool(probable: Array, coefficients: Array) -> Array:
    """Return the average ``(sample, class)``: the softmax of the sum of coefficients times logarithms.

    Args:
        probable: of each learner ``(learner, sample, class)``.
        coefficients: ``(learner,)``; where they sum to more than 1, the average is surer than its members.
    """
    return np.asarray(softmax(np.tensordot(coefficients, logarithms(probable), 1), -1))


def losses_of(probable: Array, labels: NDArray[np.int64]) -> Array:
    """Return the log loss of each learner on each sample ``(learner, sample)``, in nats.

    Args:
        probable: ``(learner, sample, class)``.
        labels: the right classes ``(sample,)``.
    """
    return -logarithms(np.take_along_axis(probable, labels[None, :, None], 2)[..., 0])


def pool_coefficients(probable: Array, labels: NDArray[np.int64], prior: Array, strength: float) -> Array:
    """Return the coefficients ``(learner,)``, none below zero, whose average has the least log loss on samples.

    They minimise ``sum_i loss_i(a) + strength / 2 * |a - prior|^2``, which is convex; without a sample they are the
    prior. With strength 0 that is the super learner of method "NNloglik" of the R package SuperLearner.

    Source: van der Laan, Polley and Hubbard 2007, "Super learner", section 3, doi.org/10.2202/1544-6115.1309.

    Args:
        probable: of samples that the learners were not fitted to ``(learner, sample, class)``.
        labels: the right classes ``(sample,)``.
        prior: coefficients ``(learner,)``.
        strength: nats that a squared distance of 2 from the prior costs.
    """
    if not len(labels):
        return prior
    logs, rows = logarithms(probable), np.arange(len(labels))
    own = logs[:, rows, labels]

    def objective(coefficients: Array) -> tuple[float, Array]:
        scores = log_softmax(np.tensordot(coefficients, logs, 1), -1)
        expected = np.einsum("sc,lsc->ls", np.exp(scores), logs)
        apart = coefficients - prior
        loss = -scores[rows, labels].sum() + strength / 2 * apart @ apart
        return float(loss), (expected - own).sum(1) + strength * apart

    found: Array = minimize(objective, prior, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(prior)).x
    return found
