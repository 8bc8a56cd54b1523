"""The one evaluation driver: return by episodes of interaction, for learners that adapt in any of the three ways."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.errors import MetaRLError
from metarl.family.base import TaskFamily
from metarl.learner import MetaLearner, Params, State
from metarl.rollout.random import stream_keys
from metarl.rollout.rollout import rollout
from metarl.rollout.trajectory import Trajectory
from metarl.tasks import Tasks


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one set of parameters earned on a batch of tasks, point by point of its adaptation."""

    episodes: tuple[int, ...]  # of interaction, seen before the scored ones
    adaptations: tuple[int, ...]
    returns: NDArray[np.float64]  # (point, task), exploration noise on
    deterministic: NDArray[np.float64] | None  # (point, task), noise off
    trajectories: tuple[Trajectory, ...]  # the scored ones, on the CPU
    states: tuple[State, ...]  # that they were played from


@torch.no_grad()
def adaptation_curve(
    learner: MetaLearner,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    *,
    points: int,
    lanes: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    deterministic: bool = True,
    purpose: str = "evaluate",
) -> Curve:
    """Adapt to every task and score the episodes of each point.

    Point k scores the ``lanes`` episodes that follow k · ``lanes`` episodes of interaction; they are then what the
    learner adapts to. Scores with the noise off come from extra episodes that are thrown away: they are no interaction,
    and a noiseless policy would give a policy gradient nothing to go by. ``purpose`` and ``seed`` pick the random
    streams.
    """
    if points < 1:
        raise MetaRLError(f"points={points}: a curve has at least one, before any adaptation.")
    batch = family.batch(tasks.repeat(lanes), stream_keys(len(tasks) * lanes, purpose, family.name, seed), device)
    state = learner.initial(params, len(tasks))
    scored, quiet, states = [], [], []
    for point in range(points):
        if deterministic:
            extra, _ = rollout(learner, params, state, batch, lanes=lanes, first_episode=point, deterministic=True)
            quiet.append(extra.returns.mean((1, 2)).double().cpu().numpy())
        trajectory, after = rollout(learner, params, state, batch, lanes=lanes, first_episode=point)
        scored.append(trajectory.to("cpu"))
        states.append(state)
        if point + 1 < points:
            state = after if learner.online else learner.adapt(params, state, trajectory)
    return Curve(
        episodes=tuple(point * lanes for point in range(points)),
        adaptations=tuple(range(points)),
        returns=np.stack([t.returns.mean((1, 2)).double().numpy() for t in scored]),
        deterministic=np.stack(quiet) if quiet else None,
        trajectories=tuple(scored),
        states=tuple(states),
    )
