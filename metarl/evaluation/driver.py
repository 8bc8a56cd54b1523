"""The one evaluation driver: return by episodes of interaction, for learners that adapt in any of the three ways."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.parallel import TaskParallel
from metarl.core.random import env_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Batch
from metarl.rollout.blocks import tensors_of, trajectories_of
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks

CHUNK = 2000  # tasks played at once
KEPT = 1000  # tasks whose trajectories and states are kept
ABLATIONS = ("wiped", "shuffled")
_ARRAYS = ("returns", "deterministic", "beliefs")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The returns of one set of parameters on a batch of tasks, point by point of its adaptation."""

    episodes: tuple[int, ...]  # of interaction, seen before the scored ones
    adaptations: tuple[int, ...]
    returns: NDArray[np.float64]  # (point, task), exploration noise on
    deterministic: NDArray[np.float64] | None  # (point, task), noise off
    # Of the first KEPT tasks only, for those of 100,000 fill no memory:
    trajectories: tuple[Trajectory, ...]  # the scored ones, on the CPU
    states: tuple[State, ...]  # that they were played from
    beliefs: NDArray[np.float32] | None = None  # (point + 1, task, d), before every point and after the last


def evaluation_keys(family: TaskFamily, part: str, n_tasks: int, n_envs: int = 1) -> Tensor:
    """Return the keys ``(task * env, 2)`` of the random streams that the first tasks of a split's part are scored on.

    They depend on the family, its variant, the part and the number of the task and env alone, so every agent, every
    training seed and every reference policy meets the same starts, environment noise and exploration noise.
    """
    return env_keys(n_tasks, n_envs, "evaluate", family.name, part)


def chunk_of(family: TaskFamily, n_envs: int) -> int:
    """Return how many tasks are played at once: as many environments as the family says, and of light ones many."""
    return CHUNK if family.most_envs is None else min(CHUNK, max(1, family.most_envs // n_envs))


@torch.no_grad()
def adaptation_curve(
    learner: MetaLearner,
    params: Params | Callable[[Tasks], Params],
    family: TaskFamily,
    tasks: Tasks,
    *,
    points: int,
    n_envs: int = 1,
    part: str = "test",
    keys: Tensor | None = None,
    device: torch.device | str = "cpu",
    deterministic: bool = True,
    ablation: str | None = None,
    chunk: int | None = None,
    context: RolloutContext | None = None,
    report: Callable[[int, str], None] | None = None,
    parallel: TaskParallel | None = None,
) -> Curve:
    """Adapt to every task and score the episodes of each point.

    Point k scores the ``envs`` episodes that follow k · ``envs`` episodes of interaction; they are then what the
    learner adapts to. Scores with the noise off come from extra episodes that are thrown away: they are no interaction,
    and a noiseless policy would give a policy gradient nothing to go by.

    Args:
        params: or a function of the tasks that gives them, such as ``privileged_params`` for policies that know it.
        part: of the split, which the tasks are the first of; it picks the random streams (``evaluation_keys``).
        keys: other random streams ``(task * env, 2)``, for what is no evaluation of a part.
        ablation: "wiped": an online learner's state goes back to ``initial`` before every episode. "shuffled": any
            other adapts to the episodes of another task: that half of the chunk away, for neighbours may be alike.
        chunk: tasks played at once, ``chunk_of`` unless given. Every task has random streams of its own, so it bounds
            memory and changes nothing but which tasks are shuffled.
        context: an agent's own; one for this curve unless given.
        report: is called after each point of each chunk with how many there were, and the mean return in words.
        parallel: shares the chunks among processes, each of which returns the whole curve; one process unless given.
    """
    if points < 1:
        raise MetaRLError(f"points={points}: a curve has at least one, before any adaptation.")
    chunk = chunk_of(family, n_envs) if chunk is None else chunk
    if chunk < 1:
        raise MetaRLError(f"chunk={chunk}: play at least one task at a time.")
    _check_ablation(ablation, learner, [min(chunk, len(tasks) - first) for first in range(0, len(tasks), chunk)])
    if keys is None:
        keys = evaluation_keys(family, part, len(tasks), n_envs)
    if len(keys) != len(tasks) * n_envs:
        raise MetaRLError(f"{len(keys)} keys for {len(tasks)} tasks of {n_envs} envs; give one for each environment.")
    kept, shared = RolloutContext() if context is None else context, parallel or TaskParallel()
    firsts, parts = range(0, len(tasks), chunk), []
    own = [first for chunks in shared.rows(len(firsts)) for first in firsts[chunks]]
    for done, first in zip(count(0, points), own, strict=False):
        rows = slice(first, first + chunk)
        some = tasks[rows]
        batch = family.batch(some.repeat(n_envs), keys[first * n_envs : (first + chunk) * n_envs], device)
        mine = params(some) if callable(params) else params
        play = _Play(learner, mine, batch, len(some), n_envs, deterministic, ablation, kept, done, report)
        parts.append(play.curve(points, max(0, KEPT - first)))
        del batch, play  # before the next part is made, which can have the same simulators then
    if shared.world > 1:
        parts = [_curve(tensors, points, n_envs) for tensors in shared.gather([_tensors(x) for x in parts], "curves")]
    return parts[0] if len(parts) == 1 else _joined(parts)


@dataclass
class _Play:
    """One chunk of tasks, from the first point to the last."""

    learner: MetaLearner
    params: Params
    batch: Batch
    n_tasks: int
    n_envs: int
    deterministic: bool
    ablation: str | None
    context: RolloutContext
    done: int  # points of the chunks before
    report: Callable[[int, str], None] | None

    def curve(self, points: int, kept: int) -> Curve:
        """Return the curve of the chunk's tasks, with trajectories, states and beliefs of the first ``kept``."""
        state = self.learner.initial(self.params, self.n_tasks)
        before = state
        returns, quiet, trajectories, states = [], [], [], []
        beliefs = [] if self.ablation else self._belief(state, kept)
        for point in range(points):
            if self.ablation == "wiped":
                state = before
            if self.deterministic:
                quiet.append(mean_returns(self._rollout(state, point, deterministic=True)[0].returns))
            trajectory, after = self._rollout(state, point)
            returns.append(mean_returns(trajectory.returns))
            if self.report is not None:
                self.report(self.done + point + 1, f"return {returns[-1].mean():.1f}")
            if kept:
                all_kept = kept >= self.n_tasks
                trajectories.append((trajectory if all_kept else trajectory.tasks(slice(0, kept))).to("cpu"))
                # A slice would hold on to the whole.
                states.append(state if all_kept else {name: value[:kept].clone() for name, value in state.items()})
            if self.learner.online:
                state = after
            elif point + 1 < points or beliefs:
                if self.ablation == "shuffled":
                    trajectory = trajectory.tasks(torch.arange(self.n_tasks).roll(self.n_tasks // 2))
                state = self.learner.adapt(self.params, state, trajectory)
            if beliefs:
                beliefs += self._belief(state, kept)
        return Curve(
            episodes=tuple(point * self.n_envs for point in range(points)),
            adaptations=tuple(range(points)),
            returns=np.stack(returns),
            deterministic=np.stack(quiet) if quiet else None,
            trajectories=tuple(trajectories),
            states=tuple(states),
            beliefs=np.stack(beliefs) if beliefs else None,
        )

    def _rollout(self, state: State, point: int, deterministic: bool = False) -> tuple[Trajectory, State]:
        return rollout(
            self.learner,
            self.params,
            state,
            self.batch,
            n_envs=self.n_envs,
            first_episode=point,
            deterministic=deterministic,
            context=self.context,
        )

    def _belief(self, state: State, kept: int) -> list[NDArray[np.float32]]:
        """Return one belief ``(task, d)``, or none where the learner has none or nothing is kept."""
        belief: Tensor | None = self.learner.belief(self.params, state) if kept else None
        return [] if belief is None else [belief[:kept].float().cpu().numpy().copy()]


def _check_ablation(ablation: str | None, learner: MetaLearner, chunks: list[int]) -> None:
    name = type(learner).__name__
    if ablation not in (None, *ABLATIONS):
        raise MetaRLError(f"ablation={ablation!r}; allowed are {', '.join(ABLATIONS)}.")
    if ablation == "wiped" and not learner.online:
        raise MetaRLError(
            f"{name} has no memory to wipe: it does not take data in while acting. Only an online learner can be "
            "scored so."
        )
    if ablation == "shuffled" and learner.online:
        raise MetaRLError(
            f"{name} takes data in while acting, not by a support that could be another task's. Only a learner that "
            "adapts between episodes can be scored so."
        )
    if ablation == "shuffled" and min(chunks) < 2:
        raise MetaRLError(f"chunks of {chunks} tasks: one task alone has no other's episodes; score another number.")


def mean_returns(returns: Tensor) -> NDArray[np.float64]:
    """Return the mean of each task's returns ``(task, env, episode)``: ``(task,)``."""
    return np.asarray(returns.mean((1, 2)).double().cpu().numpy())


def _tensors(curve: Curve) -> dict[str, Tensor]:
    """Return all that a chunk's curve holds, as tensors by names."""
    arrays = {name: getattr(curve, name) for name in _ARRAYS}
    found = {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}
    states = {f"state.{point}.{k}": x for point, state in enumerate(curve.states) for k, x in state.items()}
    return found | states | prefixed("trajectory", tensors_of(curve.trajectories))


def _curve(tensors: dict[str, Tensor], points: int, n_envs: int) -> Curve:
    """Return the curve that such tensors make."""
    arrays: dict[str, Any] = {name: tensors[name].cpu().numpy() if name in tensors else None for name in _ARRAYS}
    states = [with_prefix(f"state.{point}", tensors) for point in range(points)]
    trajectories = trajectories_of(with_prefix("trajectory", tensors))
    return Curve(
        episodes=tuple(point * n_envs for point in range(points)),
        adaptations=tuple(range(points)),
        trajectories=tuple(trajectories),
        states=tuple(states) if trajectories else (),
        **arrays,
    )


def _joined(parts: list[Curve]) -> Curve:
    """Join the curves of chunks of tasks, in their order."""
    kept = [part for part in parts if part.states]
    quiet = [part.deterministic for part in parts if part.deterministic is not None]
    beliefs = [part.beliefs for part in kept if part.beliefs is not None]
    states = zip(*(part.states for part in kept), strict=True)
    return Curve(
        episodes=parts[0].episodes,
        adaptations=parts[0].adaptations,
        returns=np.concatenate([part.returns for part in parts], axis=1),
        deterministic=np.concatenate(quiet, axis=1) if quiet else None,
        trajectories=tuple(
            Trajectory.concatenate(of_point, axis="task")
            for of_point in zip(*(part.trajectories for part in kept), strict=True)
        ),
        states=tuple({name: torch.cat([s[name] for s in of_point]) for name in of_point[0]} for of_point in states),
        beliefs=np.concatenate(beliefs, axis=1) if beliefs else None,
    )
