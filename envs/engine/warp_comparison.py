"""How far the warp engine is from MuJoCo's own: one control step at a time, and left to itself."""

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.warp import WarpBatch
from metarl.family.base import EngineComparison
from metarl.rollout.batch import Step
from metarl.tasks import Tasks

_STEPS = 50  # control steps
_FREE = (1, 10, _STEPS)  # after which the engines, left to themselves, are compared
_TOLERANCE = 1e-3  # of float32


def compare_with_mujoco(family: MujocoDeclaration, tasks: Tasks, keys: Tensor, actions: Tensor) -> EngineComparison:
    """Compare rewards and observations over 50 control steps, both engines put to the same state before each.

    An episode that ends is followed by the next one. How far apart the engines are where each goes on from its own
    states is measured too, and not judged: contacts make rounding grow.

    Args:
        family: on whichever engine.
        tasks: one for each environment.
        keys: random streams ``(environment, 2)``.
        actions: ``(step, environment, nu)``, gone through again where there are too few, on the worlds' device.
    """
    usual = MujocoBatch(family, tasks, keys, "cpu", torch.float32)
    warp = WarpBatch(family, tasks, keys, actions.device, torch.float32)
    start = float(distances(usual.reset(), warp.reset().cpu()).max())
    paths = _free(usual, warp, actions)
    largest = {"observation": start, "reward": 0.0}
    usual.reset(1), warp.reset(1)
    episodes, differ, beyond, clock = 0, 0, 0, 1
    for t in range(_STEPS):
        put_to_state_of(usual, warp)
        one, other = _both(usual, warp, actions[t % len(actions)])
        gaps = {name: distances(getattr(one, name), getattr(other, name)) for name in largest}
        largest = {name: max(value, float(gaps[name].max())) for name, value in largest.items()}
        beyond += int(torch.stack(list(gaps.values())).gt(_TOLERANCE).any(0).sum())
        ends = [step.terminated | step.truncated for step in (one, other)]
        over, clock = ends[0] | ends[1], clock + 1
        episodes, differ = episodes + int(over.sum()), differ + int((ends[0] ^ ends[1]).sum())
        if over.any():
            usual.reset(clock, over), warp.reset(clock, over.to(warp.device))
    told = (
        f"{_STEPS} control steps of {len(tasks)} worlds, each from MuJoCo's own state before it: "
        + ", ".join(f"{name} within {value:.1e}" for name, value in largest.items())
        + f"; {beyond} of {_STEPS * len(tasks)} beyond {_TOLERANCE:g}"
        + f" ({episodes} episodes ended, {differ} of them in one engine alone)",
        "left to themselves from the same starts, the largest distance of an observation: "
        + ", ".join(f"{gap:.1e} after {t}" for t, gap in paths.items()),
    )
    return EngineComparison(largest, _TOLERANCE, paths, told)


def put_to_state_of(usual: MujocoBatch, warp: WarpBatch) -> None:
    """Put worlds to the positions, velocities and remembered fields of MuJoCo's simulations."""
    places = (("qpos", "qvel"), usual._data, warp._data), (usual._before, usual._before, warp._before)
    for names, there, here in places:
        for name in names:
            here[name].copy_(torch.from_numpy(there[name]))


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Return each world's largest distance, relative where numbers are above 1; infinite where one is no number."""
    gap = (one.double() - other.double()).abs() / one.abs().double().clamp(min=1.0)
    return gap.nan_to_num(nan=np.inf).reshape(len(gap), -1).amax(1)


def _free(usual: MujocoBatch, warp: WarpBatch, actions: Tensor) -> dict[int, float]:
    """Return how far observations are apart after some steps, among the episodes that go on in both."""
    found, on = {}, torch.ones(usual.num_envs, dtype=torch.bool)
    for t in range(_STEPS):
        one, other = _both(usual, warp, actions[t % len(actions)])
        on &= ~(one.terminated | one.truncated | other.terminated | other.truncated)
        if not on.any():
            break
        if t + 1 in _FREE:
            found[t + 1] = float(distances(one.observation, other.observation)[on].max())
    return found


def _both(usual: MujocoBatch, warp: WarpBatch, action: Tensor) -> tuple[Step, Step]:
    """Take a step in both, and return both outcomes on the CPU."""
    outcome: Step = tree_map(lambda value: value.cpu(), warp.step(action))
    return usual.step(action), outcome
