"""What one run earned on one split, and its scores: every table, plot and result is made from an ``Evaluation``."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metarl.core.checked_json import seal, unseal
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.packing import pack, unpack
from metarl.evaluation.rows import Row, Tabular, score_columns
from metarl.evaluation.statistics import (
    ANYTHING,
    Array,
    Estimate,
    Interval,
    adaptation_speed,
    estimate,
    interquartile_mean,
)

SPLITS = ("train", "val", "test", "ood")
SPLIT_KINDS = ("fresh", "disjoint", "closed")
SPEED_FRACTIONS = (0.5, 0.9)
# 1: the streams of an evaluation hashed the training seed, and reference policies played on other starts than the
# agent.
# 2: they depend on split and task alone, so that agents, seeds and reference policies meet the same starts
# (paired).
STREAMS = 2
ARRAYS = ("returns", "returns_deterministic", "floor", "optimum", "task_vectors")
T = TypeVar("T")


def split_label(split: str, kind: str) -> str:
    """Return the words beside a score: "test (fresh)", "val (disjoint)", "ood"; "(same tasks)" of what training saw."""
    if split == "ood":
        return "ood"
    return f"{split} (same tasks)" if kind == "closed" or split == "train" else f"{split} ({kind})"


def short_name(family: str) -> str:
    """Return the family's own name, as people and folders call it: "metarl/PointNavigation-v0" is PointNavigation."""
    return re.sub(r"-v\d+$", "", re.split(r"[/:]", family)[-1])


def normalised_score(scores: Array, floor: Array, optimum: Array) -> Array:
    """Return (R - floor) / (optimum - floor), a ratio of means: (..., seed, task), (..., task) twice -> (...).

    0 is the floor, 1 the optimum, on the very tasks and random streams that are scored. A mean of ratios would
    let the tasks whose floor lies beside their optimum decide. It is not finite where floor and optimum earn the same.
    """
    base = floor.mean(axis=-1)
    gap = optimum.mean(axis=-1) - base
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((scores.mean(axis=(-2, -1)) - base) / gap)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many of the items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


@dataclass(frozen=True, kw_only=True)
class PointScore:
    """The scores at one point of an adaptation curve, or of a whole trial; None where they are not known."""

    episodes: int  # of interaction, seen before the scored one; of a trial's total, those that it sums
    adaptations: int
    returns: Estimate
    iqm: float  # interquartile mean of the returns
    normalised: Estimate | None
    returns_deterministic: Estimate | None  # exploration noise off
    normalised_deterministic: Estimate | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(Tabular):
    """The raw outcome of the evaluation driver: one run, pooled over its seeds, on one split.

    Floor and optimum are what those reference policies earned on the very tasks and random streams of each point's
    scored episodes; where either is unknown there is no normalised score, nor at a point where they earn the same on
    all tasks. Raises MetaRLError for shapes that do not fit, NaN, or an optimum that is not above the floor.
    """

    agent: str
    family: str
    variant: str
    split: str
    split_kind: str  # how the preset's train and test tasks differ
    seeds: tuple[int, ...]
    episodes: tuple[int, ...]  # (point,) episodes of interaction seen before the scored one
    adaptations: tuple[int, ...]  # (point,)
    returns: Array  # (seed, point, task) mean return, exploration noise on
    returns_deterministic: Array | None = None  # the same with the noise off
    floor: Array | None = None  # (point, task) return of the best task-blind reference policy
    optimum: Array | None = None  # (point, task) return of the optimum, or of a sound oracle
    exact_optimum: bool = False  # whether no reference policy can earn more on average, so that intervals end there
    floor_name: str = ""
    optimum_name: str = ""
    task_vectors: Array  # (task, d)
    steps: int  # environment steps of training, per seed
    wall_seconds: float  # of training, mean over seeds
    extra: Mapping[str, float] = field(default_factory=dict)  # named numbers, such as the learnt sd
    trial: bool = (
        False  # whether the points are the successive episodes of one trial, so that their sum means something
    )
    reference: bool = False  # whether a reference policy earned it, which nobody trained
    streams: int = STREAMS  # which random streams the scored episodes were played on
    made_of: str = ""  # the run and the checkpoints that were scored; see RunFolder.fingerprint

    def __post_init__(self) -> None:
        for name in ("seeds", "episodes", "adaptations"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        n_points, n_tasks = len(self.episodes), len(self.task_vectors)
        whole = (len(self.seeds), n_points, n_tasks)
        shapes = {"returns": whole, "returns_deterministic": whole, "floor": whole[1:], "optimum": whole[1:]}
        for name in ARRAYS:
            if getattr(self, name) is None and name not in ("returns", "task_vectors"):
                continue
            array = np.array(getattr(self, name), dtype=np.float64)  # a copy: nobody changes it from outside
            if array.size == 0 or (array.shape != shapes[name] if name in shapes else array.ndim != 2):
                raise MetaRLError(f"{name} has shape {array.shape}; {shapes.get(name, '(task, d)')} was expected")
            if not np.isfinite(array).all():
                raise MetaRLError(f"{name} holds NaN or infinity; the run diverged or its environment is broken")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if len(set(self.seeds)) != len(self.seeds):
            raise MetaRLError(f"seeds={self.seeds} repeat; a seed counted twice is no replicate")
        if self.trial and self.episodes != tuple(range(n_points)):
            raise MetaRLError(f"episodes={self.episodes}; those of a trial are 0, 1, 2, ..., one after the other")
        if len(self.adaptations) != n_points:
            raise MetaRLError(f"{len(self.adaptations)} adaptations for {n_points} points; give one for each point")
        if list(self.episodes) != sorted(self.episodes) or self.episodes[0] < 0:
            raise MetaRLError(f"episodes={self.episodes}; they count up from 0 along the curve")
        for name, allowed in (("split", SPLITS), ("split_kind", SPLIT_KINDS)):
            if getattr(self, name) not in allowed:
                raise MetaRLError(f"{name}={getattr(self, name)!r}; allowed are {', '.join(allowed)}")
        if self.floor is not None and self.optimum is not None and not self.optimum.mean() > self.floor.mean():
            raise MetaRLError(
                f"the optimum's mean return {self.optimum.mean():.4g} is not above the floor's "
                f"{self.floor.mean():.4g}; score more tasks, or check the family's reference policies"
            )
        for name, value in {**self.extra, "wall_seconds": self.wall_seconds}.items():
            if not np.isfinite(value):
                raise MetaRLError(f"{name}={value} is not finite; give a number, or leave it out of extra")
        object.__setattr__(self, "extra", {name: float(value) for name, value in self.extra.items()})

    @property
    def split_label(self) -> str:
        """The split's words beside every score: "test (same tasks)" where training saw them."""
        return split_label(self.split, self.split_kind)

    @property
    def references(self) -> tuple[Array, Array] | None:
        """(floor, optimum), each (point, task), or None where either is unknown."""
        return None if self.floor is None or self.optimum is None else (self.floor, self.optimum)

    @property
    def fixed_tasks(self) -> bool:
        """True where there are no other tasks than these, for training saw them: intervals are then over seeds."""
        return self.split == "train" or (self.split_kind == "closed" and self.split != "ood")

    @property
    def normalised(self) -> Array | None:
        """(point,) normalised scores with exploration noise on; None where one of them is unknown."""
        known = self.references
        scores = None if known is None else normalised_score(self.returns.swapaxes(0, 1), *known)
        return None if scores is None or not np.isfinite(scores).all() else scores

    @cached_property
    def points(self) -> tuple[PointScore, ...]:
        """The scores with their intervals, one for each point of the curve."""

        def at(i: int) -> Callable[[Array], Array]:
            return lambda array: array[..., i, :]

        return tuple(self._score(count, self.adaptations[i], at(i)) for i, count in enumerate(self.episodes))

    @cached_property
    def trial_total(self) -> PointScore | None:
        """The sum over the episodes of the trial, exploration noise on; None where the points are not one trial."""
        if not self.trial:
            return None
        return self._score(len(self.episodes), self.adaptations[-1], lambda array: array.sum(axis=-2), quiet=False)

    def mean_of(self, first: int, last: int) -> PointScore:
        """Return the mean of several points, counted from 0, ``last`` among them: less noisy than one of them."""
        return self._score(
            self.episodes[last], self.adaptations[last], lambda array: array[..., first : last + 1, :].mean(axis=-2)
        )

    def _score(
        self, episodes: int, adaptations: int, pool: Callable[[Array], Array], *, quiet: bool = True
    ) -> PointScore:
        """Return the scores of what ``pool`` makes of the points: (..., point, task) -> (..., task).

        Floor and optimum are pooled as the returns are, so that they stay paired. ``quiet`` asks for the scores with
        the noise off as well.
        """
        references = None if self.references is None else [pool(array) for array in self.references]
        most = np.inf if self.optimum is None or not self.exact_optimum else float(pool(self.optimum).mean())
        gap = 0.0 if references is None else references[1].mean() - references[0].mean()

        def returns(scores: Array) -> Estimate:
            return estimate(scores, bounds_here=Interval(-np.inf, most), fixed_tasks=self.fixed_tasks)

        def normalised(scores: Array) -> Estimate | None:
            if references is None or not gap > 0:
                return None
            bounds = Interval(-np.inf, 1.0) if self.exact_optimum else ANYTHING
            return estimate(scores, references, statistic=normalised_score, bounds=bounds, fixed_tasks=self.fixed_tasks)

        scores = pool(self.returns)
        off = None if self.returns_deterministic is None or not quiet else pool(self.returns_deterministic)
        return PointScore(
            episodes=episodes,
            adaptations=adaptations,
            returns=returns(scores),
            iqm=float(interquartile_mean(scores)),
            normalised=normalised(scores),
            returns_deterministic=None if off is None else returns(off),
            normalised_deterministic=None if off is None else normalised(off),
        )

    @property
    def rows(self) -> list[Row]:
        """One flat row a point: what was seen, return and normalised score with the wider interval, None if unknown."""
        return [
            {
                "agent": self.agent,
                "episodes": point.episodes,
                "adaptations": point.adaptations,
                **score_columns("return", point.returns),
                **score_columns("normalised", point.normalised),
                "iqm": point.iqm,
                "return_deterministic": point.returns_deterministic and point.returns_deterministic.value,
            }
            for point in self.points
        ]

    @property
    def speed(self) -> dict[str, int | None]:
        """Episodes until {"50%", "90%"} of the final score; where unknown, of the gain over the first point."""
        normalised = self.normalised
        curve = self.returns.mean(axis=(0, 2)) if normalised is None else normalised
        start = None if normalised is None else 0.0
        scores = [float(score) for score in curve]
        return {f"{part:.0%}": adaptation_speed(self.episodes, scores, part, start=start) for part in SPEED_FRACTIONS}

    def to_json(self) -> str:
        """Return the evaluation as JSON; floats come back bit for bit."""
        content: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ARRAYS:
            content[name] = None if content[name] is None else pack(content[name])
        return json.dumps(content, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Read what ``to_json`` wrote; raises MetaRLError for truncated text and for missing or unknown fields."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise MetaRLError(f"no JSON of an evaluation ({error}); evaluate the run again") from error
        names = {item.name for item in fields(cls)}
        if not isinstance(content, dict):
            raise MetaRLError(f"not an evaluation but a {type(content).__name__}; evaluate the run again")
        if content.get("streams", 1) != STREAMS:
            raise MetaRLError("scored by another version of metarl, on other random streams; evaluate the run again")
        wrong = sorted(names ^ set(content))
        if wrong:
            raise MetaRLError(f"not an evaluation: missing or unknown {wrong}; evaluate the run again")
        arrays = {name: unpack(content[name]) for name in ARRAYS}
        return cls(**{**content, **arrays})

    def save(self, path: str | Path) -> None:
        """Write the JSON form, whole or not at all."""
        write_atomic(path, seal(self.to_json()))

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read what ``save`` wrote; raises MetaRLError, with the path, for a missing or damaged file."""
        try:
            return cls.from_json(unseal(Path(path).read_text(), "evaluate the run again"))
        except (MetaRLError, OSError, UnicodeDecodeError) as error:
            raise MetaRLError(f"{path}: {error}") from error
