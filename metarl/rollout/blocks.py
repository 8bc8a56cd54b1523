"""Rollouts in blocks of task rows, each played by one of several processes, which then all hold the whole."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory

_NAMED = ("record", "extras")


def in_blocks(parallel: TaskParallel, n_tasks: int, play: Callable[[slice], Sequence[Trajectory]]) -> list[Trajectory]:
    """Return trajectories of all task rows, of which this process plays its blocks.

    Every process gets all of them, so that what is computed from the whole is the same everywhere.

    Args:
        parallel: says which blocks are whose.
        n_tasks: number of task rows.
        play: gives the trajectories of a block of rows, as many of every block.
    """
    own = [play(rows) for rows in parallel.rows(n_tasks)]
    if parallel.blocks > 1:
        sent = [tensors_of(parts) for parts in own]
        own = [trajectories_of(tensors) for tensors in parallel.gather(sent, "trajectories")]
    if len(own) == 1:
        return list(own[0])
    return [Trajectory.concatenate(parts, axis="task") for parts in zip(*own, strict=True)]


def tensors_of(trajectories: Sequence[Trajectory]) -> dict[str, Tensor]:
    """Return the tensors of trajectories by names that say of which each is."""
    flat: dict[str, Tensor] = {}
    for i, each in enumerate(trajectories):
        for field in fields(Trajectory):
            value = getattr(each, field.name)
            flat |= prefixed(f"{i}.{field.name}", value) if field.name in _NAMED else {f"{i}.{field.name}": value}
    return flat


def trajectories_of(tensors: dict[str, Tensor]) -> list[Trajectory]:
    """Return the trajectories whose tensors have such names."""
    n = len({name.partition(".")[0] for name in tensors})
    parts = [with_prefix(str(i), tensors) for i in range(n)]
    plain: list[dict[str, Any]] = [{name: value for name, value in part.items() if "." not in name} for part in parts]
    named: list[dict[str, Any]] = [{name: with_prefix(name, part) for name in _NAMED} for part in parts]
    return [Trajectory(**tensors, **dicts) for tensors, dicts in zip(plain, named, strict=True)]
