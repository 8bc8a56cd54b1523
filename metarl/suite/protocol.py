"""Protocol v1: which tasks, how much training and which trial every agent of the benchmark gets. It is frozen.

What stands here decides on scores, so all of it goes into a hash that every scores file carries. A change is another
version, never an edit.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.evaluation.scores import short_name
from metarl.family import TaskFamily, make_family

VERSION = "v1"
SEEDS = 3  # of a full entry
TIERS = (1, 2)
AGENTS = (
    "maml",
    "rl2",
    "rl2-hypernetwork",
    "varibad",
    "pearl",
    "finetune",
    "multitask",
    "oracle",
)  # of the leaderboard
SCORE = (
    "Floor and optimum replay the starts and the random streams of the scored episodes. The score of a family is (mean "
    "return of the scored episodes of the trial - floor) / (optimum - floor), a ratio of means over tasks, exploration "
    "noise on; the last is that of the last episodes, between two adaptations. Over families: the interquartile mean "
    "over seeds and families, with a bootstrap that resamples the seeds of each family."
)
FLOOR_AGENT, OPTIMUM_AGENT = "multitask", "oracle"  # where a family has no reference policies


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One family of the protocol, with the training and the trial that every agent gets."""

    family: str  # its id, of which the version is a part
    variant: str
    split_hash: str  # of its tasks
    tasks: int  # that are scored
    episodes: int  # of a trial, which is all the interaction with a task
    before: int = 0  # the first of them, which are not scored
    steps: int  # environment steps of training, the same for all agents
    floor: str  # the reference policy that scores 0, or the agent that is trained as one
    optimum: str  # the reference policy that scores 1, or the agent that is trained as one
    tier: int  # 0 of a family of somebody's own, which is no part of the protocol
    needs: str = ""  # the module that has to be installed
    split: str = "test"

    @property
    def name(self) -> str:
        """Return the short name of the family, which its run folder has too."""
        return short_name(self.family)

    @property
    def official(self) -> bool:
        """Return whether the cell is a part of the protocol."""
        return self.tier > 0

    @property
    def by_agents(self) -> bool:
        """Return whether trained agents are floor and optimum, for the family has no policies that could be."""
        return self.floor == FLOOR_AGENT

    def make_family(self) -> TaskFamily:
        """Make the family; raises where its tasks are no longer those of the protocol."""
        family = make_family(self.family, self.variant)
        if family.splits.hash != self.split_hash:
            raise MetaRLError(
                f"{family.name} has split {family.splits.hash}, and protocol {VERSION} is of {self.split_hash}: the "
                "family has changed. Go back to its version."
            )
        return family


def _cell(name: str, variant: str, split_hash: str, **rest: int | str) -> Cell:
    family = f"metarl/{name}" + "-v0" * ("-v" not in name)
    agents = {"floor": FLOOR_AGENT, "optimum": OPTIMUM_AGENT}
    return Cell(family=family, variant=variant, split_hash=split_hash, **{"tasks": 100, **agents, **rest})  # type: ignore[arg-type]


_DIRECT = "straight to the goal"
CELLS: tuple[Cell, ...] = (
    _cell(
        "PointNavigation", "maml", "1a55ca647c25121f",
        episodes=20, steps=4_000_000, floor="stand still", optimum=_DIRECT, tier=1,
    ),
    _cell(
        "SparseSemicircle", "pearl", "efdb72c24bc3cb40",
        tasks=20, episodes=20, steps=2_000_000, floor="best sweep", optimum=_DIRECT, tier=1,
    ),
    _cell(
        "GridNavi", "varibad", "a18709e5c410764b",
        tasks=21, episodes=4, steps=3_000_000, floor="sweep", optimum=_DIRECT, tier=1,
    ),
    _cell(
        "BernoulliBandit", "k5", "8ea82f77cb3e776e",
        tasks=1000, episodes=100, steps=6_000_000, floor="random", optimum="best arm", tier=1,
    ),
    _cell(
        "RuleGrid", "full", "a8fe3a5f6dce33eb",
        episodes=4, steps=5_000_000, floor="random", optimum="knows the rules", tier=1,
    ),
    _cell(
        "Pendulum", "reversed", "3f090eb882be257f",
        episodes=2, steps=1_000_000, floor="swing up as by default", optimum="swing up", tier=1,
    ),
    _cell(
        "TabularMDP", "rl2", "fd8d2dbc4cf78983",
        episodes=10, steps=6_000_000, floor="random", optimum="value iteration", tier=2,
    ),
    _cell("HalfCheetahVel", "pearl", "3d2c1badc0be9348", tasks=30, episodes=4, steps=2_000_000, tier=2),
    _cell("HalfCheetahDir", "pearl", "443d910e323d3145", tasks=2, episodes=4, steps=2_000_000, tier=2),
    _cell("AntDir", "pearl", "a37a560631c541bc", episodes=4, steps=1_000_000, tier=2),
    _cell("Walker2dRandParams", "pearl", "b3277caff11b0a61", tasks=10, episodes=4, steps=1_000_000, tier=2),
    _cell(
        "ML1-reach-v3", "v2", "2ed4862cd90f09ea",
        tasks=50, episodes=12, before=10, steps=500_000, tier=2, needs="metaworld",
    ),
    _cell(
        "ML10-v3", "v2", "67a205b354776bd5",
        tasks=250, episodes=12, before=10, steps=1_000_000, tier=2, needs="metaworld",
    ),
)  # fmt: skip


def protocol_hash() -> str:
    """Return the hash of all that decides on scores."""
    content = {"version": VERSION, "score": SCORE, "cells": [asdict(cell) for cell in CELLS]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def cell_for(family: str) -> Cell | None:
    """Return the protocol's cell of a family by its id, or None where it has none."""
    return next((cell for cell in CELLS if cell.family == family), None)


def tier_cells(tier: int) -> list[Cell]:
    """Return all cells of a tier."""
    return [cell for cell in CELLS if cell.tier == tier]


def chosen_cells(tier: int, names: Sequence[str] = ()) -> list[Cell]:
    """Return the cells of a tier, or of families by name, for which the packages are there.

    Raises where a name is no family's of the protocol, or its package is not installed.
    """
    known = {cell.name: cell for cell in CELLS}
    by_id = {cell.family: cell for cell in CELLS}
    for name in names:
        if name not in known and name not in by_id:
            raise MetaRLError(
                f"{name} is no family of protocol {VERSION}; choose of {', '.join(known)}, or give a family of your "
                f"own as module:id, which is unofficial.{did_you_mean(name, known)}"
            )
    cells = [known.get(name) or by_id[name] for name in names] or tier_cells(tier)
    if tier not in TIERS:
        raise MetaRLError(f"--tier {tier}: protocol {VERSION} has {' and '.join(map(str, TIERS))}.")
    if names and (absent := [cell for cell in cells if cell in missing(cells)]):
        raise MetaRLError(f"{absent[0].family} needs {absent[0].needs}; see docs/meta_world.md.")
    return [cell for cell in cells if cell not in missing(cells)]


def missing(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells whose package is not installed."""
    return [cell for cell in cells if cell.needs and find_spec(cell.needs) is None]


def own_cell(family: str, variant: str | None, steps: int) -> Cell:
    """Return the unofficial cell of a family of somebody's own: its trial and its reference policies, or agents."""
    made = make_family(family, variant)
    policies = made.floor is not None and made.optimum is not None
    return Cell(
        family=family,
        variant=made.variant,
        split_hash=made.splits.hash,
        tasks=len(made.splits.part("test")),
        episodes=made.episodes_per_trial,
        steps=steps,
        floor=str(made.floor) if policies else FLOOR_AGENT,
        optimum=str(made.optimum) if policies else OPTIMUM_AGENT,
        tier=0,
    )


def protocol_table() -> str:
    """Return the protocol as a table in Markdown."""
    heads = ("tier", "family", "variant", "test tasks", "split", "episodes a trial", "not scored", "training steps")
    lines = [f"| {' | '.join((*heads, 'floor', 'optimum'))} |", "|" + " --- |" * (len(heads) + 2)]
    for cell in CELLS:
        ends = [f"the agent `{end}`" if cell.by_agents else end for end in (cell.floor, cell.optimum)]
        facts = (cell.tier, f"`{cell.family}`", cell.variant, cell.tasks, f"`{cell.split_hash}`", cell.episodes)
        lines.append(f"| {' | '.join(map(str, (*facts, cell.before or '–', f'{cell.steps:,}', *ends)))} |")
    return "\n".join([*lines, "", f"Hash of protocol {VERSION}: `{protocol_hash()}`", "", SCORE])
