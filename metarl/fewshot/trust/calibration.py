"""Calibration: how well probabilities agree with how often they are right, and the temperature that mends them.

Guo et al. 2017, "On calibration of modern neural networks"; the temperature is learned on training tasks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.fewshot.data.dataset import TaskSource
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import LOGITS, FewShotLearner
from metarl.fewshot.scoring import answered

_SPREAD = 6.0  # of the temperature's logarithm, to both sides
_BINS = 15
_LEAST = -1e3  # of a log-probability, for a class without a sample has none


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width by their confidence, empty ones left out."""

    confidence: NDArray[np.float64]  # (bin,) its mean
    accuracy: NDArray[np.float64]  # (bin,) the share that is right
    share: NDArray[np.float64]  # (bin,) of all predictions

    @property
    def error(self) -> float:
        """Return the expected calibration error, from 0 to 1."""
        return float(np.sum(self.share * np.abs(self.accuracy - self.confidence)))


def logits_of(
    learner: FewShotLearner, params: Params, source: TaskSource, spec: EpisodeSpec, episodes: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the logits ``(sample, way)`` and classes ``(sample,)`` of the queries of episodes, one task after another.

    Args:
        learner: that tells ``spec.way`` classes apart.
        params: of the learner.
        source: the tasks, of training where a temperature is learned.
        spec: the size of an episode.
        episodes: how many.
        seed: decides which.
    """
    logits, targets = [], []
    for outputs, right in answered(learner, params, source, spec, episodes, seed, "calibrate"):
        if LOGITS not in outputs:
            raise MetaRLError(f"{learner.name} predicts numbers; there are no probabilities to calibrate.")
        logits.append(outputs[LOGITS][..., : spec.way].flatten(0, 1).double().cpu().numpy())
        targets.append(right.flatten().cpu().numpy())
    return np.concatenate(logits), np.concatenate(targets)


def fitted_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the number by which logits ``(sample, way)`` are divided for the least negative log-likelihood.

    One more sample is counted as of each class by an equal share, or few samples that are all right would leave none of
    the probability to any other class.
    """
    scores, right = np.asarray(logits, np.float64), np.asarray(targets)[:, None]

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(scores / np.exp(log_temperature), axis=1)
        doubt = scaled.clip(_LEAST).mean(1).mean()
        return float(-(np.take_along_axis(scaled, right, 1).clip(_LEAST).sum() + doubt) / (len(scores) + 1))

    return float(np.exp(minimize_scalar(loss, bounds=(-_SPREAD, _SPREAD), method="bounded").x))


def probabilities(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities ``(sample, way)`` of logits divided by a temperature."""
    found: NDArray[np.float64] = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return found


def brier(probable: NDArray[np.float64], targets: ArrayLike) -> float:
    """Return the mean squared distance of probabilities ``(sample, way)`` from the right classes, from 0 to 2."""
    return float(np.square(probable - np.eye(probable.shape[1])[np.asarray(targets)]).sum(1).mean())


def reliability(probable: NDArray[np.float64], targets: ArrayLike, bins: int = _BINS) -> Reliability:
    """Return how often predictions of probabilities ``(sample, way)`` are right, by how sure they are."""
    sure, right = probable.max(1), probable.argmax(1) == np.asarray(targets)
    which = np.minimum((sure * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    there = count > 0
    means = [np.bincount(which, each, bins)[there] / count[there] for each in (sure, right)]
    return Reliability(means[0], means[1], count[there] / len(sure))
