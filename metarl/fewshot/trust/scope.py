"""What is none of a support's classes: scores that are the higher, the better a query goes with the support.

Ren et al. 2021, "A simple fix to Mahalanobis distance for improving near-OOD detection", take how much nearer a query
is to a class than to everything; here both are Gaussian, and a class mean is known only as well as its shots tell
(Ioffe 2006, "Probabilistic linear discriminant analysis").
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from metarl.core.types import Params
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.metric import MetricLearner

Array = NDArray[np.float64]
_MOST = 100  # samples of a class to learn from


def features_of(learner: FewShotLearner, params: Params, inputs: Tensor) -> Array:
    """Return the features ``(sample, d)`` that a learner compares samples by, or the samples where it compares none."""
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

    Features of a class are Gaussian around its mean, the means are Gaussian themselves; both covariances are those of
    training classes, shrunk by Ledoit and Wolf's rule.

    Args:
        samples: features ``(sample, d)`` of training classes.
        labels: their classes ``(sample,)``.
    """

    def __init__(self, samples: Array, labels: NDArray[np.int64]) -> None:
        known = np.unique(labels)
        means = np.stack([samples[labels == each].mean(0) for each in known])
        within = ledoit_wolf(samples - means[np.searchsorted(known, labels)], assume_centered=True)[0]
        self.centre = means.mean(0)
        between = ledoit_wolf(means - self.centre, assume_centered=True)[0]
        # In these directions the within-class variance is 1 and the means' variances are independent.
        self.spread, self.directions = eigh(between, within + 1e-9 * np.trace(within) * np.eye(len(within)))
        self.spread = self.spread.clip(min=0)

    @classmethod
    def of(cls, learner: FewShotLearner, params: Params, source: Classes, most: int = _MOST) -> "LikelihoodRatio":
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
        """Return the logarithm ``(query,)`` of the ratio, for any of the classes, each as likely."""
        seen, asked = ((each - self.centre) @ self.directions for each in (support, queries))
        ratios = []
        for each in np.unique(labels):
            n = (labels == each).sum()
            gain = n * self.spread / (n * self.spread + 1)
            mean, variance = gain * seen[labels == each].mean(0), 1 + gain / n
            ratios.append(self._log_density(asked - mean, variance) - self._log_density(asked, 1 + self.spread))
        found: Array = logsumexp(ratios, axis=0) - np.log(len(ratios))
        return found

    @staticmethod
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
