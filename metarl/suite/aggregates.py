"""Scores over families: the interquartile mean, profiles and the probability of improvement, by rliable's definitions.

Source: Agarwal et al. 2021, arxiv.org/abs/2108.13264, and its library. Scores are ``(seed, family)``: the runs and the
tasks of the paper.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import BOOTSTRAP_SEED, LEVEL, Array, Interval, interquartile_mean

RESAMPLES = 5000
Draws = NDArray[np.int64]  # (resample, seed, family): which seed's score stands in each place


def stratified_draws(shape: tuple[int, ...], resamples: int = RESAMPLES, seed: int = BOOTSTRAP_SEED) -> Draws:
    """Return draws of seeds for every family apart, ``(resample, seed, family)``, with replacement."""
    return np.random.default_rng(seed).integers(shape[0], size=(resamples, *shape))


def stratified_interval(
    statistic: Callable[..., Array],
    *scores: Array,
    draws: Sequence[Draws] | None = None,
    level: float = LEVEL,
) -> Interval | None:
    """Return the percentile interval of a statistic, from a bootstrap that resamples the seeds of each family apart.

    None where there is one seed alone, whose resamples are all the same.

    Args:
        statistic: of arrays ``(resample, seed, family)``, one for each of ``scores``; it returns ``(resample,)``.
        scores: of one agent, or of two, each ``(seed, family)`` with as many seeds as it has.
        draws: for each of ``scores``; made by ``stratified_draws`` unless given.
        level: of confidence.
    """
    for each in scores:
        if each.ndim != 2 or not each.size or not np.isfinite(each).all():
            raise MetaRLError(f"scores of shape {each.shape}; give finite ones (seed, family), at least one of each.")
    if max(len(each) for each in scores) < 2:
        return None
    if draws is None:
        draws = [stratified_draws(each.shape, seed=BOOTSTRAP_SEED + i) for i, each in enumerate(scores)]
    drawn = [np.take_along_axis(each[None], rows, axis=1) for each, rows in zip(scores, draws, strict=True)]
    tail = (1 - level) / 2
    low, high = np.quantile(statistic(*drawn), (tail, 1 - tail))
    return Interval(float(low), float(high))


def iqm_difference(first: Array, second: Array) -> Array:
    """Return the difference of two interquartile means: (..., seed, family) twice -> (...)."""
    return np.asarray(interquartile_mean(first) - interquartile_mean(second))


def improvement_probability(first: Array, second: Array) -> Array:
    """Return how probably a run of the first agent is above one of the second, as a mean over families.

    A tie counts one half, as in the Mann-Whitney U statistic: (..., seed, family) twice -> (...).
    """
    gap = first[..., :, None, :] - second[..., None, :, :]
    return np.asarray(((gap > 0) + 0.5 * (gap == 0)).mean(axis=(-3, -2, -1)))


def performance_profile(scores: Array, levels: Array) -> Array:
    """Return the share of all runs, over seeds and families, whose score is above each level."""
    return np.asarray((scores[..., None] > levels).mean(axis=(0, 1)))
