"""Simulations that MuJoCo reports as unstable end their own episodes, and no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.random import stream_keys
from metarl.envs.engine.arrays import Array
from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.physics import TaskArrays
from metarl.envs.half_cheetah import HalfCheetahVel
from metarl.family import make_family
from metarl.family.reference_policies import FunctionPolicy
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.rollout.rollout import rollout
from metarl.tasks import Task, Tasks, TaskSpace, Uniform

N = 3
SECOND = torch.tensor([False, True, False])


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    monkeypatch.chdir(tmp_path)


class Exploding(HalfCheetahVel):
    """A cheetah whose motors are so strong, where the task says so, that its simulation breaks down."""

    tasks = TaskSpace(strength=Uniform(1.0, 1e15))
    default_task = {"strength": 1.0}  # noqa: RUF012
    presets = {}  # noqa: RUF012
    horizon = 12
    ood = None

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        gear = self.constant("actuator_gear", task["strength"])
        return {"actuator_gear": gear * task["strength"][:, None, None]}

    def pay(self, velocity: Array, task: TaskArrays) -> Array:
        return velocity


def batch_of(family: str, n: int = N, vary: bool = True) -> MujocoBatch:
    made = make_family(family)
    tasks = made.tasks.sample(stream_keys(n, "test")) if vary else Tasks.stack([made.default()] * n)
    batch = made.batch(tasks, stream_keys(n, "test"), dtype=torch.float64)
    assert isinstance(batch, MujocoBatch)
    return batch


def actions_for(batch: MujocoBatch, steps: int) -> Tensor:
    """Small enough for a hopper to stand for some steps."""
    n, shape = batch.num_envs, batch.action_space.shape
    return 0.4 * torch.rand(steps, n, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.2  # type: ignore[misc]


def same(one: Any, other: Any, rows: slice | Tensor = slice(None)) -> bool:
    """Whether two steps are equal to the last bit."""
    flat = [(*step[:4], *(step.extras[name] for name in sorted(step.extras))) for step in (one, other)]
    return all(torch.equal(a[rows], b[rows]) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("value", [1e12, np.nan])
@pytest.mark.parametrize("name", ["metarl/HalfCheetahVel-v0", "metarl/AntRandParams-v0"])
def test_an_unstable_simulation_ends_its_own_episode_and_no_other(name: str, value: float) -> None:
    batch, other = batch_of(name), batch_of(name)
    batch.reset(), other.reset()
    actions = actions_for(batch, 12)
    for t in range(3):
        last = batch.step(actions[t])
        other.step(actions[t])
    assert not last.extras["unstable"].any()
    batch._data["qvel"][1] = value
    for t in range(3, 6):
        ours, theirs = batch.step(actions[t]), other.step(actions[t])
        assert same(ours, theirs, ~SECOND)
        assert torch.equal(ours.observation[1], last.observation[1])
        assert ours.reward[1] == 0
        assert torch.isfinite(ours.extras["velocity"]).all()
        assert not ours.extras["velocity"][1].any()  # MuJoCo has put it back to the start: that is no motion
        if t == 3:
            assert torch.equal(ours.truncated, SECOND)
            assert not ours.terminated.any()
        assert torch.equal(ours.extras["unstable"], SECOND & (t == 3))
    first = torch.tensor([True, False, False])
    waiting = batch.reset(1, first)  # of another
    assert torch.equal(waiting[0], other.reset(1, first)[0])
    assert torch.equal(waiting[1], last.observation[1])
    assert torch.equal(batch.reset(1, SECOND)[1], other.reset(1, SECOND)[1])
    for t in range(6, 12):
        ours = batch.step(actions[t])
        assert same(ours, other.step(actions[t]))
        assert not ours.extras["unstable"].any()


def test_unstable_episodes_reach_single_and_vector_environments() -> None:
    strong: Task = {"strength": np.array(1e14)}
    env = TaskEnv(Exploding())
    env.reset(seed=0, options={"task": strong})
    observation, reward, terminated, truncated, info = env.step(np.ones(6, np.float32))
    assert (reward, terminated, truncated, info["unstable"]) == (0.0, False, True, True)
    assert np.isfinite(observation).all()
    env.reset(options={"task": {"strength": 1.0}})
    assert not env.step(np.ones(6, np.float32))[4]["unstable"]
    envs = TaskVectorEnv(Exploding(), N)
    envs.reset(seed=0, options={"task": Tasks({"strength": [1.0, 1e14, 1.0]})})
    _, rewards, _, truncations, infos = envs.step(np.ones((N, 6), np.float32))
    assert truncations.tolist() == infos["unstable"].tolist() == SECOND.tolist()
    assert rewards[1] == 0
    _, rewards, _, truncations, infos = envs.step(np.ones((N, 6), np.float32))  # the second begins anew
    assert not truncations.any()
    assert infos["_unstable"].tolist() == [True, False, True]


def test_a_rollout_cuts_an_unstable_episode_off() -> None:
    family = Exploding()
    batch = family.batch(Tasks({"strength": [1.0, 1e14, 1.0]}), stream_keys(N, "test"))
    reference = FunctionPolicy(lambda observation, task, step: torch.ones(N, 1, 6))
    trajectory, _ = rollout(reference, {}, reference.initial({}, N), batch, n_envs=1, episodes=2)
    assert trajectory.lengths[:, 0].tolist() == [[12, 12], [1, 1], [12, 12]]
    assert trajectory.truncated[1, 0, 0].tolist() == [True] + [False] * 11
    assert trajectory.extras["unstable"].sum() == 2
    assert trajectory.reward[1].abs().sum() == 0
