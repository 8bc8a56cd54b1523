"""A rollout in as many parts as the memory asks for: tasks know nothing of each other, so the numbers are the same."""

import gc
import warnings
from collections.abc import Callable

import torch

from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.core.types import State
from metarl.rollout.batch import Batch, PureBatch
from metarl.rollout.context import RolloutContext

Played = tuple[Trajectory, State]
Play = Callable[[Batch, State], Played]


class Chunked(UserWarning):
    """A rollout did not fit into the device's memory and is played in parts."""


def in_chunks(play: Play, context: RolloutContext, state: State, batch: Batch, n_envs: int) -> Played:
    """Return ``play(batch, state)``, played part by part where memory runs short.

    Parts are halved until they fit, and the next rollout begins with what fitted. Raises where one task alone does not.
    """
    n_tasks = batch.num_envs // n_envs
    size = min(n_tasks, max(1, (context.fitting or batch.num_envs) // n_envs))
    parts: list[Played] = []
    start = 0
    while start < n_tasks:
        played = _attempt(play, state, batch, slice(start, min(start + size, n_tasks)), n_envs)
        if played is not None:
            parts.append(played)
            start += size
        elif size == 1 or not isinstance(batch, PureBatch):
            raise MetaRLError(
                f"A rollout of {size * n_envs} environments does not fit into the memory of {batch.device}; take fewer "
                "episodes or envs, or another device."
            )
        else:
            size = (size + 1) // 2
            context.fitting = size * n_envs
            warnings.warn(
                f"A rollout of {batch.num_envs:,} environments does not fit into the memory of {batch.device}; it is "
                f"played in parts of {size * n_envs:,}, which gives the same numbers and takes longer.",
                Chunked,
                stacklevel=3,
            )
    return parts[0] if len(parts) == 1 else _joined(parts)


def _attempt(play: Play, state: State, batch: Batch, tasks: slice, n_envs: int) -> Played | None:
    """The rollout of some tasks; None where the memory runs out."""
    try:
        if (tasks.start, tasks.stop * n_envs) == (0, batch.num_envs):
            return play(batch, state)
        assert isinstance(batch, PureBatch)  # only such are played in parts
        part = batch.part(slice(tasks.start * n_envs, tasks.stop * n_envs))
        return play(part, {name: value[tasks] for name, value in state.items()})
    except torch.OutOfMemoryError:
        pass
    # Not before the error has gone, which holds on to all that had been recorded.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _joined(parts: list[Played]) -> Played:
    trajectory = Trajectory.concatenate([part for part, _ in parts], axis="task")
    states = [state for _, state in parts]
    return trajectory, {name: torch.cat([state[name] for state in states]) for name in states[0]}
