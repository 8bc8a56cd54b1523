"""What one run earned on one split, and its scores: every table, plot and result is made from an ``Evaluation``."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metarl.errors import MetaRLError
from metarl.evaluate.packing import pack, unpack
from metarl.evaluate.statistics import Array, Estimate, adaptation_speed, estimate, interquartile_mean
from metarl.files import write_atomic
from metarl.sealed import seal, unseal

SPLITS = ("train", "test", "ood")
SPLIT_KINDS = ("fresh", "disjoint", "closed")
SPEED_FRACTIONS = (0.5, 0.9)
ARRAYS = ("returns", "returns_deterministic", "floor", "optimum", "task_vectors")
CSV_HEADER = ("seed", "episodes", "adaptations", "task", "return", "return_deterministic", "floor", "optimum")
MOST_ROWS = 50_000  # of a table with a row for every task
T = TypeVar("T")


def split_label(split: str, kind: str) -> str:
    """The words beside a score: "test (fresh)", "test (disjoint)", "ood"; "(same tasks)" where training saw them."""
    if split == "ood":
        return "ood"
    return f"{split} (same tasks)" if kind == "closed" or split == "train" else f"{split} ({kind})"


def short_name(family: str) -> str:
    """The family's own name, as people and folders call it: "metarl/PointNavigation-v0" is PointNavigation."""
    return re.sub(r"-v\d+$", "", re.split(r"[/:]", family)[-1])


def normalised_score(scores: Array, floor: Array, optimum: Array) -> Array:
    """(R - floor) / (optimum - floor), a ratio of means over tasks: (..., seed, task), (..., task) twice -> (...).

    0 is the floor player, 1 the optimum, on the very tasks that are scored. A mean of ratios would let the tasks whose
    floor lies beside their optimum decide.
    """
    base = floor.mean(axis=-1)
    return np.asarray((scores.mean(axis=(-2, -1)) - base) / (optimum.mean(axis=-1) - base))


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly chosen, the first and the last among them."""
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
class Evaluation:
    """The raw outcome of the evaluation driver: one run, pooled over its seeds, on one split.

    Floor and optimum are per task and belong to the very tasks that are scored; where either is unknown there is no
    normalised score. Raises MetaRLError for shapes that do not fit, NaN, or an optimum that is not above the floor.
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
    floor: Array | None = None  # (task,) return of the best task-blind player
    optimum: Array | None = None  # (task,) return of the optimum, or of a sound oracle
    floor_name: str = ""
    optimum_name: str = ""
    task_vectors: Array  # (task, d)
    steps: int  # environment steps of training, per seed
    wall_seconds: float  # of training, mean over seeds
    extra: Mapping[str, float] = field(default_factory=dict)  # named numbers, such as the learnt sd
    trial: bool = (
        False  # whether the points are the successive episodes of one trial, so that their sum means something
    )
    player: bool = False  # whether a reference player earned it, which nobody trained
    made_of: str = ""  # the run and the checkpoints that were scored; see RunFolder.fingerprint

    def __post_init__(self) -> None:
        for name in ("seeds", "episodes", "adaptations"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        n_points, n_tasks = len(self.episodes), len(self.task_vectors)
        shapes = {"returns": (len(self.seeds), n_points, n_tasks), "floor": (n_tasks,), "optimum": (n_tasks,)}
        shapes["returns_deterministic"] = shapes["returns"]
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
                f"{self.floor.mean():.4g}; check the family's reference players"
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
        """(floor, optimum), each (task,), or None where either is unknown."""
        return None if self.floor is None or self.optimum is None else (self.floor, self.optimum)

    @property
    def normalised(self) -> Array | None:
        """(point,) normalised scores with exploration noise on, or None without floor and optimum."""
        known = self.references
        return None if known is None else normalised_score(self.returns.swapaxes(0, 1), *known)

    @cached_property
    def points(self) -> tuple[PointScore, ...]:
        """The scores with their intervals, one for each point of the curve."""
        quiet = self.returns_deterministic
        return tuple(
            self._score(count, self.adaptations[i], self.returns[:, i], None if quiet is None else quiet[:, i])
            for i, count in enumerate(self.episodes)
        )

    @cached_property
    def trial_total(self) -> PointScore | None:
        """The sum over the episodes of the trial, exploration noise on; None where the points are not one trial."""
        n = len(self.episodes)
        return self._score(n, self.adaptations[-1], self.returns.sum(axis=1), None, n) if self.trial else None

    def _score(
        self, episodes: int, adaptations: int, scores: Array, quiet: Array | None, summed: int = 1
    ) -> PointScore:
        """The scores of returns (seed, task), each the sum of ``summed`` episodes, with the noise on and off."""

        def both(returns: Array | None) -> tuple[Estimate | None, Estimate | None]:
            if returns is None:
                return None, None
            if self.references is None:
                return estimate(returns), None
            known = [summed * reference for reference in self.references]
            return estimate(returns), estimate(returns, known, statistic=normalised_score)

        returns, normalised = both(scores)
        deterministic, normalised_deterministic = both(quiet)
        assert returns is not None  # for mypy: there are always scores with the noise on
        return PointScore(
            episodes=episodes,
            adaptations=adaptations,
            returns=returns,
            iqm=float(interquartile_mean(scores)),
            normalised=normalised,
            returns_deterministic=deterministic,
            normalised_deterministic=normalised_deterministic,
        )

    def mean_of(self, first: int, last: int) -> PointScore:
        """The mean of several points, counted from 0, ``last`` among them: less noisy than one of them."""
        rows, quiet = slice(first, last + 1), self.returns_deterministic
        quiet = None if quiet is None else quiet[:, rows].mean(axis=1)
        return self._score(self.episodes[last], self.adaptations[last], self.returns[:, rows].mean(axis=1), quiet)

    @property
    def speed(self) -> dict[str, int | None]:
        """Episodes until {"50%", "90%"} of the final score; where unknown, of the gain over the first point."""
        normalised = self.normalised
        curve = self.returns.mean(axis=(0, 2)) if normalised is None else normalised
        start = None if normalised is None else 0.0
        scores = [float(score) for score in curve]
        return {f"{part:.0%}": adaptation_speed(self.episodes, scores, part, start=start) for part in SPEED_FRACTIONS}

    def to_json(self) -> str:
        """The evaluation as JSON; floats come back bit for bit."""
        content: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ARRAYS:
            content[name] = None if content[name] is None else pack(content[name])
        return json.dumps(content, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """What ``to_json`` wrote; raises MetaRLError for truncated text and for missing or unknown fields."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise MetaRLError(f"no JSON of an evaluation ({error}); evaluate the run again") from error
        names = {item.name for item in fields(cls)}
        if not isinstance(content, dict):
            raise MetaRLError(f"not an evaluation but a {type(content).__name__}; evaluate the run again")
        # Evaluations of earlier versions lack the flags, and what is scored outside a run has no fingerprint.
        flags = {item.name for item in fields(cls) if item.default is not MISSING and item.type is bool} | {"made_of"}
        wrong = sorted(names ^ (set(content) | flags))
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

    def to_csv(self) -> str:
        """A tidy table, one row per seed, point and task; returns to 9 digits, an empty cell where nothing is known.

        Beyond MOST_ROWS rows there is one per seed and point, the mean over all tasks, and its cells of the task are
        empty.
        """
        if self.returns.size > MOST_ROWS and len(self.task_vectors) > 1:
            return self._mean_csv()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        vector = [f"task_{i}" for i in range(self.task_vectors.shape[1])]
        writer.writerow([*CSV_HEADER, *vector, *self.extra])
        tails = [
            [*(f"{value:.9g}" for value in self.task_vectors[task]), *(f"{value:.9g}" for value in self.extra.values())]
            for task in range(len(self.task_vectors))
        ]
        for (i, point, task), value in np.ndenumerate(self.returns):
            known = (
                None if array is None else array[index]
                for array, index in (
                    (self.returns_deterministic, (i, point, task)),
                    (self.floor, task),
                    (self.optimum, task),
                )
            )
            cells = ("" if number is None else f"{number:.9g}" for number in known)
            row = [self.seeds[i], self.episodes[point], self.adaptations[point], task, f"{value:.9g}", *cells]
            writer.writerow([*row, *tails[task]])
        return text.getvalue()

    def _mean_csv(self) -> str:
        quiet = self.returns_deterministic

        def mean(array: Array | None) -> str:
            return "" if array is None else f"{array.mean():.9g}"

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*CSV_HEADER, *self.extra])
        for i, seed in enumerate(self.seeds):
            for point, episodes in enumerate(self.episodes):
                scores = [self.returns[i, point], None if quiet is None else quiet[i, point], self.floor, self.optimum]
                row = [seed, episodes, self.adaptations[point], "", *map(mean, scores)]
                writer.writerow([*row, *(f"{value:.9g}" for value in self.extra.values())])
        return text.getvalue()
