"""What is none of a support's classes: scores that are the higher, the better a query goes with the support.

Ren et al. 2021, "A simple fix to Mahalanobis distance for improving near-OOD detection", take how much nearer a query
is to a class than to everything; here a class mean is besides known only as well as its shots tell (Ioffe 2006,
"Probabilistic linear discriminant analysis").
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from metarl.core.types import Params
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.metric import MetricLearner

Array = NDArray[np.float64]
_MOST = 100  # samples of a class to learn from
# Both chosen on the validation classes of CLINC150: how far the means' covariance is drawn to an isotropic one, and the
# weight of the density of all classes, which a fully trusted background would have as 1.
_SHRUNK = 0.3
_BACKGROUND = 0.25


def features_of(learner: FewShotLearner | None, params: Params, inputs: Tensor) -> Array:
    """Return the features ``(sample, d)`` that a learner compares samples by.

    Of one that compares none, or without a learner, they are the samples themselves.
    """
    with torch.no_grad():
        found = learner.encode(params, inputs[None])[0] if isinstance(learner, MetricLearner) else inputs.flatten(1)
    return np.asarray(found.double().cpu().numpy())


def nearest_mean_score(support: Array, labels: NDArray[np.int64], queries: Array) -> Array:
    """Return minus the distance ``(query,)`` to the nearest class mean of a support."""
    means = np.stack([support[labels == each].mean(0) for each in np.unique(labels)])
    distances: Array = np.linalg.norm(queries[:, None] - means, axis=-1).min(1)
    return -distances


class LikelihoodRatio:
    """How much likelier a query is as one of a support's classes than as one of all classes there are.

    Class means are Gaussian with the covariance of the training classes' means, shrunk; around its mean a class is
    isotropic, with their variance: a full covariance within classes overfits the training classes.

    Args:
        samples: features ``(sample, d)`` of training classes.
        labels: their classes ``(sample,)``.
    """

    def __init__(self, samples: Array, labels: NDArray[np.int64]) -> None:
        known, which = np.unique(labels, return_inverse=True)
        means = np.stack([samples[which == i].mean(0) for i in range(len(known))])
        self.centre = means.mean(0)
        self.deviation = float(np.sqrt(np.square(samples - means[which]).mean())) or 1.0
        spread, self.directions = eigh(np.cov(means.T))
        spread = spread.clip(min=0)
        # Of the means in each direction, in units of the variance within a class.
        self.spread = ((1 - _SHRUNK) * spread + _SHRUNK * spread.mean()) / self.deviation**2

    @classmethod
    def of(
        cls, learner: FewShotLearner | None, params: Params, source: Classes, most: int = _MOST
    ) -> "LikelihoodRatio":
        """Learn from so many samples of each class of a training split, by the features of a learner."""
        firsts = source.counts.cumsum(0) - source.counts
        rows = [
            torch.arange(int(first), int(first) + min(most, int(count)))
            for first, count in zip(firsts, source.counts, strict=True)
        ]
        labels = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
        samples = source.samples[torch.cat(rows).to(source.samples.device)].float() * source.scale
        return cls(features_of(learner, params, samples), labels)

    def score(self, support: Array, labels: NDArray[np.int64], queries: Array) -> Array:
        """Return the logarithm ``(query,)`` of the ratio for the likeliest class, the background's part weighted."""
        seen, asked = ((each - self.centre) @ self.directions / self.deviation for each in (support, queries))
        of_classes = []
        for each in np.unique(labels):
            n = (labels == each).sum()
            gain = n * self.spread / (n * self.spread + 1)  # the mean is known only as well as n samples tell
            of_classes.append(_log_density(asked - gain * seen[labels == each].mean(0), 1 + gain / n))
        found: Array = np.max(of_classes, axis=0) - _BACKGROUND * _log_density(asked, 1 + self.spread)
        return found


def _log_density(apart: Array, variance: Array) -> Array:
    found: Array = -0.5 * (np.square(apart) / variance + np.log(variance)).sum(1)
    return found


def auroc(inside: Array, outside: Array) -> float:
    """Return how often a score is higher for a sample in scope than for one out of it."""
    return float(roc_auc_score(*_together(inside, outside)))


def threshold(inside: Array, outside: Array) -> float:
    """Return the score below which samples are out of scope, so that as many of both kinds as can be are right."""
    false, true, scores = roc_curve(*_together(inside, outside))
    return float(scores[1:][np.argmax((true - false)[1:])])


def _together(inside: Array, outside: Array) -> tuple[Array, Array]:
    return np.concatenate([np.ones(len(inside)), np.zeros(len(outside))]), np.concatenate([inside, outside])
