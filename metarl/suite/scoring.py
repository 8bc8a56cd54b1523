"""Scoring runs by the protocol: the trial of its cell, between its floor and its optimum, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.evaluation.agent import held_out, score_agents
from metarl.evaluation.driver import adaptation_curve
from metarl.evaluation.protocol import episodes_at_once
from metarl.evaluation.published import PublishedRun, open_run
from metarl.evaluation.scores import Evaluation, normalised_score
from metarl.evaluation.statistics import Array
from metarl.experiments.run import Run
from metarl.suite.protocol import FLOOR_AGENT, OPTIMUM_AGENT, VERSION, Cell, cell_for, own_cell
from metarl.suite.running import is_done
from metarl.tasks import Tasks


@dataclass(frozen=True, kw_only=True)
class CellScore:
    """What an agent scored on one family, seed by seed; floor is 0, optimum 1."""

    family: str
    variant: str
    split: str  # its hash
    official: bool  # whether the family is a part of the protocol
    steps: int  # of training
    episodes: int  # of a trial
    before: int  # of them are not scored
    seeds: tuple[int, ...]
    mean: tuple[float, ...]  # (seed,) over the scored episodes of the trial
    last: tuple[float, ...]  # (seed,) of the last episodes
    interval: tuple[float, float]  # of the mean, the wider of both 95% intervals over seeds and tasks
    seen: tuple[int, ...]  # (point,) episodes of interaction before each point of the curve
    curve: tuple[float, ...]  # (point,) mean over seeds
    wall_seconds: float  # of training, mean over seeds

    def __post_init__(self) -> None:
        for name in ("seeds", "mean", "last", "interval", "seen", "curve"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


def cell_of(run: Run, *, unofficial: bool = False) -> Cell:
    """Return the cell that a run is of; raises where the protocol has none such, saying what differs.

    Args:
        run: of an agent, its own or a published one.
        unofficial: whether a family that is no part of the protocol has a cell too.
    """
    cell = cell_for(run.family_name)
    if cell is None and unofficial:
        cell = own_cell(run.family_name, run.variant, run.budget)
    if cell is None:
        raise MetaRLError(
            f"{run.path} is of {run.family_name}, which is not in protocol {VERSION}; score it with --unofficial."
        )
    asked = {"variant": (run.variant, cell.variant), "training steps": (run.budget, cell.steps)}
    asked |= {"initial weights": (getattr(run, "init_from", "") or "none", "none")}
    for what, (found, wanted) in asked.items():
        if found != wanted:
            raise MetaRLError(
                f"{run.path} has {what} {found}, and protocol {VERSION} asks for {wanted} on {cell.name}; train it by "
                "metarl suite run."
            )
    cell.make_family()
    return cell


def score_run(
    run: Run, cell: Cell, *, more: PublishedRun | None = None, quiet: bool = True
) -> tuple[CellScore, Evaluation]:
    """Score the seeds of a run that are trained to their end; raises where there are none.

    Args:
        run: of an agent, its own or a published one.
        cell: that it is of.
        more: a published result of the same config, whose other seeds are scored with them.
        quiet: whether no progress is shown.
    """
    seeds = done_seeds(run)
    if not seeds:
        raise MetaRLError(f"{run.path} has no seed that is trained to its {cell.steps:,} steps; resume it.")
    held = dict.fromkeys(more.seeds, more) if more is not None else {}
    holders: dict[int, Run] = {**held, **dict.fromkeys(seeds, run)}
    agents = [holder.trained(seed) for seed, holder in sorted(holders.items())]
    run = replace(run, seeds=seeds)
    n = episodes_at_once(agents[0], gcd(cell.episodes, cell.before))
    tasks = held_out(run.family(), cell.split)
    points = cell.episodes // n
    evaluation, _ = score_agents(
        agents,
        tasks,
        cell.split,
        points=points,
        n_envs=n,
        ends=None if cell.by_agents else (cell.floor, cell.optimum),
        deterministic=False,
        made_of=run.fingerprint(),
        quiet=quiet,
    )
    if cell.by_agents:
        ends = [_played(run, name, tasks, cell, points, n) for name in (FLOOR_AGENT, OPTIMUM_AGENT)]
        evaluation = replace(evaluation, floor=ends[0], optimum=ends[1])
    return _cell_score(evaluation, cell, cell.before // n), evaluation


def _cell_score(evaluation: Evaluation, cell: Cell, first: int) -> CellScore:
    """Return the scores of an evaluation, whose points count from ``first`` on."""
    known = evaluation.references
    assert known is not None  # every cell has both
    end = len(evaluation.episodes) - 1
    scored, last = slice(first, None), slice(end, None)
    whole = evaluation.mean_of(first, end).normalised
    if whole is None:
        raise MetaRLError(f"On {cell.name} {cell.optimum} earns no more than {cell.floor}; train it again.")
    return CellScore(
        family=cell.family,
        variant=cell.variant,
        split=cell.split_hash,
        official=cell.official,
        steps=cell.steps,
        episodes=cell.episodes,
        before=cell.before,
        seeds=evaluation.seeds,
        mean=_by_seed(evaluation.returns, *known, scored),
        last=_by_seed(evaluation.returns, *known, last),
        interval=whole.interval,
        seen=evaluation.episodes,
        curve=tuple(map(float, normalised_score(evaluation.returns.swapaxes(0, 1), *known))),
        wall_seconds=evaluation.wall_seconds,
    )


def done_seeds(run: Run) -> tuple[int, ...]:
    """Return the seeds that are trained to their end, as all that are published are."""
    return tuple(seed for seed in run.seeds if isinstance(run, PublishedRun) or is_done(run, seed))


def _by_seed(returns: Array, floor: Array, optimum: Array, points: slice) -> tuple[float, ...]:
    """Return the normalised score of each seed over some points."""
    ends = [array[points].mean(axis=0) for array in (floor, optimum)]
    return tuple(float(normalised_score(each[points].mean(axis=0)[None], *ends)) for each in returns)


def _played(run: Run, name: str, tasks: Tasks, cell: Cell, points: int, n_envs: int) -> Array:
    """Return what an agent that is floor or optimum earns on the same episodes, ``(point, task)``, over its seeds."""
    path = run.path.parent.parent / name / run.path.name
    if not path.is_dir():
        raise MetaRLError(
            f"{cell.name} is scored between {FLOOR_AGENT} and {OPTIMUM_AGENT}, and there is no {path}; first metarl "
            f"suite run {name} --family {cell.name}."
        )
    reference = open_run(path, family=run.family_name)
    cell_of(reference, unofficial=True)
    agents = [reference.trained(seed) for seed in done_seeds(reference)]
    if not agents:
        raise MetaRLError(f"{path} is not trained to its end; go on with metarl suite run {name}.")
    curves = [
        adaptation_curve(
            agent.learner,
            agent.params,
            agent.family,
            tasks,
            points=points,
            n_envs=n_envs,
            part=cell.split,
            deterministic=False,
            context=agent.rollouts,
        )
        for agent in agents
    ]
    return np.asarray(np.mean([curve.returns for curve in curves], axis=0))


def runs_at(paths: Sequence[Path], **named: Any) -> list[Run]:
    """Open the runs or published results in folders; a folder that is none stands for those in it."""
    folders = [found for path in paths for found in ([path] if _holds_run(path) else _within(path))]
    return [open_run(folder, **named) for folder in folders]


def finished(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that have a seed trained to its end, and those that have none; raises where all are such."""
    done = [run for run in runs if done_seeds(run)]
    if not done:
        raise MetaRLError(f"{runs[0].path} has no seed that is trained to its end; go on with {runs[0].command}.")
    return done, [run for run in runs if run not in done]


def _within(path: Path) -> list[Path]:
    found = sorted(each for each in (path.iterdir() if path.is_dir() else ()) if each.is_dir() and _holds_run(each))
    if not found:
        raise MetaRLError(f"{path} holds no runs; first metarl suite run AGENT.")
    return found


def _holds_run(path: Path) -> bool:
    return (path / Run.about_file).is_file() or (path / PublishedRun.about_file).is_file()
