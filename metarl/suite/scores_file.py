"""The scores file of an entry, and what is read off one or two of them: aggregates, and who is probably ahead."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.checked_json import seal, unseal
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.statistics import Array, Interval, interquartile_mean
from metarl.suite.aggregates import (
    improvement_probability,
    iqm_difference,
    performance_profile,
    stratified_interval,
)
from metarl.suite.protocol import VERSION, cell_for, protocol_hash
from metarl.suite.scoring import CellScore
from metarl.version import __version__

SCORES = "scores.json"
LEVELS = tuple(round(0.05 * i, 2) for i in range(21))  # scores at which a profile is given


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A statistic over families, with its interval where there are several seeds."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class EntryScores:
    """What an entry scored on the families that it was run on."""

    agent: str  # how the entry is called
    cells: tuple[CellScore, ...]
    version: str = __version__  # of metarl
    protocol: str = VERSION
    hash: str = ""  # of the protocol

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(self.cells))
        object.__setattr__(self, "hash", self.hash or protocol_hash())

    @property
    def official(self) -> list[CellScore]:
        """The cells that count, in the protocol's order."""
        return [cell for cell in self.cells if cell.official]

    def matrix(self, families: Sequence[str] | None = None, what: str = "mean") -> Array:
        """Return scores ``(seed, family)`` of the seeds that all these families have.

        Args:
            families: ids; all official ones unless given.
            what: ``mean`` over the trial, or ``last``.
        """
        cells = [cell for cell in self.official if families is None or cell.family in families]
        if not cells:
            raise MetaRLError(f"{self.agent} has no official scores to take a mean of; run it on tier 1.")
        seeds = sorted(set.intersection(*(set(cell.seeds) for cell in cells)))
        if not seeds:
            raise MetaRLError(f"The families of {self.agent} have no seed in common; run the same seeds on each.")
        return np.array([[getattr(cell, what)[cell.seeds.index(seed)] for cell in cells] for seed in seeds])

    def iqm(self, what: str = "mean") -> Aggregate:
        """Return the interquartile mean over seeds and families."""
        scores = self.matrix(what=what)
        return Aggregate(
            value=float(interquartile_mean(scores)), interval=stratified_interval(interquartile_mean, scores)
        )

    def to_json(self) -> str:
        """Return the file's text: all scores, and where some are official what they come to."""
        derived: dict[str, Any] = {}
        if self.official:
            profile = performance_profile(self.matrix(), np.array(LEVELS))
            derived = {"iqm": asdict(self.iqm()), "iqm_last": asdict(self.iqm("last"))}
            derived["profile"] = {"above": LEVELS, "share": profile.tolist()}
        return json.dumps({**asdict(self), "derived": derived}, indent=2, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_atomic(path, seal(self.to_json()))

    @classmethod
    def load(cls, path: Path) -> "EntryScores":
        """Read a file, or that in a folder; raises where it is missing, damaged or of another protocol."""
        file = path / SCORES if path.is_dir() else path
        try:
            content = json.loads(unseal(file.read_text(), "score its runs again: metarl suite score RUNS"))
            known = {field.name: content[field.name] for field in fields(cls)}
            made = cls(**{**known, "cells": tuple(CellScore(**cell) for cell in content["cells"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetaRLError(f"{file} holds no scores ({error}); metarl suite score RUNS writes them.") from error
        if made.hash != protocol_hash():
            raise MetaRLError(
                f"{file} is of protocol {made.protocol} with hash {made.hash}, and this is {VERSION} with "
                f"{protocol_hash()}; score its runs again."
            )
        for cell in made.official:
            _check_cell(cell, file)
        return made


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two entries on the families that both have."""

    first: EntryScores
    second: EntryScores
    families: tuple[str, ...]
    by_family: tuple[float, ...]  # the probability that a run of the first is above one of the second
    improvement: Aggregate  # its mean over families
    difference: Aggregate  # of the interquartile means, first - second


def compare_entries(first: EntryScores, second: EntryScores, what: str = "mean") -> Comparison:
    """Compare two entries on the official families that both have; raises where there are none."""
    theirs = {cell.family for cell in second.official}
    families = tuple(cell.family for cell in first.official if cell.family in theirs)
    if not families:
        raise MetaRLError(f"{first.agent} and {second.agent} have no official family in common; run both on tier 1.")
    pair = first.matrix(families, what), second.matrix(families, what)
    each = [improvement_probability(pair[0][:, [i]], pair[1][:, [i]]) for i in range(len(families))]
    return Comparison(
        first=first,
        second=second,
        families=families,
        by_family=tuple(map(float, each)),
        improvement=Aggregate(
            value=float(improvement_probability(*pair)), interval=stratified_interval(improvement_probability, *pair)
        ),
        difference=Aggregate(value=float(iqm_difference(*pair)), interval=stratified_interval(iqm_difference, *pair)),
    )


def _check_cell(score: CellScore, file: Path) -> None:
    """Raise where a score says that it is official and is of another training or trial than the protocol's."""
    cell = cell_for(score.family)
    wanted = cell and {
        "variant": cell.variant,
        "split": cell.split_hash,
        "steps": cell.steps,
        "episodes": cell.episodes,
        "before": cell.before,
    }
    for name, value in (wanted or {"family": "one of the protocol"}).items():
        if (found := getattr(score, name)) != value:
            raise MetaRLError(
                f"{file}: {score.family} has {name} {found}, and protocol {VERSION} asks for {value}; score its run "
                "again."
            )
