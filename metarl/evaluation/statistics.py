"""How sure a score is: intervals over seeds and tasks, the interquartile mean, the speed of adaptation.

Axes: scores are (..., seed, task), quantities that belong to a task alone (its floor, its optimum) are (..., task).
A *statistic* maps such arrays to (...): ``statistic(scores, *per_task)``. Seeds and tasks are the replicates;
episodes are not, so whoever calls has averaged over them already.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[..., Array]

LEVEL = 0.95
RESAMPLES = 2000
BOOTSTRAP_SEED = 20170630  # a constant: the same scores always get the same interval
CHUNK = 250_000  # resampled numbers held at a time: 2 MB stay in the cache
BLOCKS = 1000  # more tasks than twice that are resampled in so many blocks


class Interval(NamedTuple):
    """A closed interval, in the unit of its statistic."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """The length of the interval."""
        return self.high - self.low

    def cut(self, value: float, bounds: "Interval") -> "Interval":
        """Return the part within ``bounds`` of an interval around ``value``; a value beyond them stays within it."""
        return Interval(max(self.low, min(bounds.low, value)), min(self.high, max(bounds.high, value)))


ANYTHING = Interval(-np.inf, np.inf)


def mean_score(scores: Array) -> Array:
    """Return the mean over seeds and tasks: (..., seed, task) -> (...)."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def median_score(scores: Array) -> Array:
    """Return the median over seeds and tasks: (..., seed, task) -> (...)."""
    return np.asarray(np.median(scores, axis=(-2, -1)))


def interquartile_mean(scores: Array) -> Array:
    """Return the mean of the middle half of all seeds x tasks: (..., seed, task) -> (...).

    Source: Agarwal et al. 2021, arxiv.org/abs/2108.13264. As in their code (rliable), n // 4 of the n scores are
    dropped at either end; fewer than four scores lose none.
    """
    flat = scores.reshape(*scores.shape[:-2], -1)
    first, last = (n := flat.shape[-1]) // 4, n - n // 4 - 1
    return np.asarray(np.partition(flat, (first, last), axis=-1)[..., first : last + 1].mean(axis=-1))


def bootstrap_interval(
    scores: Array,
    per_task: Sequence[Array] = (),
    *,
    statistic: Statistic = mean_score,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
    fixed_tasks: bool = False,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic over seeds x tasks.

    Every seed was scored on the same tasks, so a resample draws seeds, then tasks, and crosses them (the pigeonhole
    bootstrap of Owen 2007, doi.org/10.1214/07-AOAS122): drawing other tasks for every seed would average the luck of
    the tasks away. ``per_task`` follows the drawn tasks, which a ratio of means needs.

    With ``fixed_tasks`` the tasks are all that there are, as on a closed split, and seeds alone are drawn. One seed
    alone has nothing else to resample, so its interval is over tasks all the same.

    Very many tasks are resampled in blocks, each the mean of n // BLOCKS successive tasks: tasks are independent, so
    the mean of b of them has a b-th of the variance, and the interval is as wide, within 3%, for statistics of means.
    For 100,000 tasks that takes a hundredth of the time. The median and the interquartile mean are none.

    Resamples on which the statistic is not finite are left out: of few tasks some hold only such on which floor and
    optimum earn the same, and there a normalised score has no meaning.

    It is too narrow over few seeds (75% at most over 3): print ``t_interval`` beside it.

    Args:
        scores: (seed, task).
        per_task: arrays (task,) that the statistic takes too, such as floor and optimum.
        statistic: a function of ``scores`` and ``per_task``.
        level: of confidence.
        resamples: how many are drawn.
        seed: of the draws.
        fixed_tasks: whether only seeds are drawn.
    """
    _check(scores, per_task)
    if statistic not in (median_score, interquartile_mean):
        scores, per_task = _blocks(scores), [_blocks(array) for array in per_task]
    n_seeds, n_tasks = scores.shape
    generator = np.random.Generator(np.random.PCG64(seed))
    seeds = generator.integers(n_seeds, size=(resamples, n_seeds))
    values = []
    rows = max(1, CHUNK // scores.size)
    for first in range(0, resamples, rows):
        drawn = seeds[first : first + rows]
        if fixed_tasks and n_seeds > 1:
            tasks = np.broadcast_to(np.arange(n_tasks), (len(drawn), n_tasks))
        else:
            tasks = generator.integers(n_tasks, size=(len(drawn), n_tasks))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = statistic(scores[drawn[:, :, None], tasks[:, None, :]], *(array[tasks] for array in per_task))
        values.append(found)
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    if not known.size:
        raise MetaRLError("the statistic is finite on no resample; score more tasks, or check floor and optimum")
    tail = (1 - level) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return Interval(float(low), float(high))


def t_interval(
    scores: Array, per_task: Sequence[Array] = (), *, statistic: Statistic = mean_score, level: float = LEVEL
) -> Interval | None:
    """Return Student's t interval over seeds, or None for one seed.

    It is mean ± t(n-1) s/√n of the statistic of each seed. The tasks are taken as given: it says how another training
    seed would score on these very tasks. One seed has no spread to estimate.

    Args:
        scores: (seed, task).
        per_task: arrays (task,) that the statistic takes too.
        statistic: a function of ``scores`` and ``per_task``.
        level: of confidence.
    """
    _check(scores, per_task)
    n_seeds = len(scores)
    if n_seeds < 2:
        return None
    of_seed = np.array([float(statistic(scores[i : i + 1], *per_task)) for i in range(n_seeds)])
    mean, error = of_seed.mean(), of_seed.std(ddof=1) / np.sqrt(n_seeds)
    if not error:
        return Interval(float(mean), float(mean))
    from scipy.special import stdtrit  # here, for it takes long to import, and scipy.stats a second

    low, high = mean + error * stdtrit(n_seeds - 1, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def wider(first: Interval, second: Interval | None) -> Interval:
    """Return the wider of two intervals; the first where there is no second or both are equally wide."""
    return second if second is not None and second.width > first.width else first


def intervals_touch(first: Interval, second: Interval) -> bool:
    """Return whether two closed intervals have a point in common."""
    return first.low <= second.high and second.low <= first.high


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic with both of its intervals, which end where it cannot be."""

    value: float
    bootstrap: Interval  # over seeds x tasks
    t: Interval | None  # over seeds; None for one seed
    interval: Interval  # the one of the two that was wider before it was cut, by which everything is judged


def estimate(
    scores: Array,
    per_task: Sequence[Array] = (),
    *,
    statistic: Statistic = mean_score,
    bounds: Interval = ANYTHING,
    bounds_here: Interval | None = None,
    fixed_tasks: bool = False,
) -> Estimate:
    """Return a statistic of scores with both of its intervals.

    Args:
        scores: (seed, task).
        per_task: arrays (task,) that the statistic takes too.
        statistic: a function of ``scores`` and ``per_task``.
        bounds: between which the statistic lies on whatever tasks; both intervals are cut there. A t interval over few
            seeds reaches far beyond.
        bounds_here: between which it lies on these very tasks, such as the optimum's mean return on them; the t
            interval, which takes the tasks as given, is cut there. The bootstrap's resamples have other tasks, and
            none of them leaves the bounds of its own.
        fixed_tasks: see ``bootstrap_interval``.
    """
    value = float(statistic(scores, *per_task))
    bootstrap = bootstrap_interval(scores, per_task, statistic=statistic, fixed_tasks=fixed_tasks)
    t = t_interval(scores, per_task, statistic=statistic)
    judged = wider(bootstrap, t)
    kept = bootstrap.cut(value, bounds)
    kept_t = None if t is None else t.cut(value, bounds if bounds_here is None else bounds_here)
    interval = kept_t if kept_t is not None and judged is t else kept
    return Estimate(value=value, bootstrap=kept, t=kept_t, interval=interval)


def adaptation_speed(
    episodes: Sequence[int], curve: Sequence[float], fraction: float, *, start: float | None = None
) -> int | None:
    """Return the episodes of interaction after which ``fraction`` of the final score is reached.

    The score counts from ``start``: 0 for a normalised score (the floor), and the curve's first point (the default)
    for a return, whose zero means nothing. The answer is the episodes of the first point, in order and without
    interpolation, with ``score - start >= fraction * (final - start)``; None where the final score is not above start.

    Args:
        episodes: (point,) seen before each point. curve: (point,) scores. fraction: in (0, 1].
    """
    if len(episodes) != len(curve) or not episodes:
        raise MetaRLError(f"{len(episodes)} episodes for a curve of {len(curve)} points; give one for each point")
    if not 0 < fraction <= 1:
        raise MetaRLError(f"fraction={fraction} is outside (0, 1]; .5 asks for half of the final score")
    zero = curve[0] if start is None else start
    gain = curve[-1] - zero
    if not gain > 0:
        return None
    # The final point always counts, whatever rounding does to the product.
    reached = (count for count, score in zip(episodes, curve, strict=True) if score - zero >= fraction * gain)
    return next(reached, episodes[-1])


def _blocks(array: Array) -> Array:
    """Return means of successive tasks, at least BLOCKS of them; what is left over of a block is left out."""
    size = max(1, array.shape[-1] // BLOCKS)
    whole = array[..., : array.shape[-1] // size * size]
    return np.asarray(whole.reshape(*array.shape[:-1], -1, size).mean(axis=-1))


def _check(scores: Array, per_task: Sequence[Array]) -> None:
    if scores.ndim != 2 or scores.size == 0:
        raise MetaRLError(f"scores of shape {scores.shape}; give (seed, task), neither of them empty")
    for array in per_task:
        if array.shape != scores.shape[1:]:
            raise MetaRLError(f"a per-task array of shape {array.shape} beside scores {scores.shape}; give (task,)")
    if not all(np.isfinite(array).all() for array in (scores, *per_task)):
        raise MetaRLError("scores hold NaN or infinity; mend the run that produced them, for no interval covers those")
