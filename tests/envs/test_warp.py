"""The warp engine on a CPU: MuJoCo's numbers within a tolerance, worlds that know nothing of each other, training."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.family import make_family
from metarl.family.checks.check import check_family
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks

# Kernels are compiled for each model: about a minute the first time, seconds from warp's cache.
pytestmark = pytest.mark.slow
N = 3
SECOND = torch.tensor([False, True, False])
CHEETAH, HOPPER, ANT = ("metarl/HalfCheetahVel-v0", "metarl/HopperRandParams-v0", "metarl/AntDir-v0")


@pytest.fixture(autouse=True)
def with_warp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    pytest.importorskip("mujoco_warp", reason="the extra warp is not installed")
    monkeypatch.chdir(tmp_path)


def batch_of(name: str, variant: str | None = None, contacts: int | None = None, n: int = N) -> Any:
    family: Any = make_family(name, variant, "warp")
    family.contacts = contacts
    return family.batch(family.tasks.sample(stream_keys(n, "test")), stream_keys(n, "test"))


def actions_for(batch: Any, steps: int) -> torch.Tensor:
    """Small enough for a hopper to stand for some steps."""
    shape = (steps, batch.num_envs, *batch.action_space.shape)
    return 0.4 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.2


def played(batch: Any, actions: torch.Tensor) -> None:
    for action in actions:
        batch.step(action)


def same(one: Any, other: Any, rows: torch.Tensor) -> bool:
    flat = [(*step[:4], *(step.extras[name] for name in sorted(step.extras))) for step in (one, other)]
    return all(torch.equal(a[rows], b[rows]) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize(("name", "variant"), [(CHEETAH, "pearl"), (HOPPER, "pearl"), (ANT, "promp")])
def test_rewards_and_observations_are_mujocos(name: str, variant: str) -> None:
    report = check_family(name, variant, "warp")
    assert report.ok, str(report)
    assert report.checks == ["functions", "engines agree"]
    assert "50 control steps of 8 worlds" in report.measured[0]
    assert "equal numbers" in report.not_promised[0]
    assert "not promised" in str(report)
    assert "measured: 50" in str(report)


def test_worlds_have_the_models_that_their_tasks_say() -> None:
    batch = batch_of(HOPPER)
    batch.reset()
    family, model = batch.family, batch._worlds._model
    tasks = family.tasks.sample(stream_keys(N, "test"))
    for i in range(N):
        alone = mujoco.MjModel.from_xml_string(family.spec().to_xml())
        for name, value in family.physics({name: v[[i]] for name, v in tasks.values.items()}).items():
            getattr(alone, name)[:] = value[0]
        mujoco.mj_setConst(alone, mujoco.MjData(alone))
        varied = ("body_mass", "body_inertia", "geom_friction", "dof_damping")
        for name in (*varied, "body_subtreemass", "body_invweight0", "dof_invweight0"):
            ours = getattr(model, name).numpy()[i]
            np.testing.assert_allclose(ours, getattr(alone, name), rtol=2e-5, atol=1e-6, err_msg=name)
    assert len({float(mass) for mass in model.body_mass.numpy()[:, 1]}) == N


@pytest.mark.parametrize(("name", "variant"), [(HOPPER, "pearl"), (ANT, "promp")])
def test_the_reset_of_a_world_moves_no_other(name: str, variant: str) -> None:
    batch, other = batch_of(name, variant), batch_of(name, variant)
    assert torch.equal(batch.reset(), other.reset())
    actions = actions_for(batch, 6)
    for t in range(3):
        assert same(last := batch.step(actions[t]), other.step(actions[t]), torch.ones(N, dtype=torch.bool))
    new = batch.family.tasks.sample(stream_keys(N, "new"))
    batch.set_tasks(new, SECOND)
    before = {name: value.clone() for name, value in batch._worlds.fields.items()}
    seen = batch.reset(1, SECOND)
    assert torch.equal(seen[~SECOND], last.observation[~SECOND])
    assert not torch.equal(seen[1], last.observation[1])
    assert all(torch.equal(value[~SECOND], before[name][~SECOND]) for name, value in batch._worlds.fields.items())
    for t in range(3, 6):
        ours, theirs = batch.step(actions[t]), other.step(actions[t])
        assert same(ours, theirs, ~SECOND)
        assert not torch.equal(ours.observation[1], theirs.observation[1])
    fresh: Any = batch.family.batch(Tasks.stack([new[1]] * N), batch.keys)
    fresh.reset(1)
    for t in range(3, 6):
        alone = fresh.step(actions[t])
    torch.testing.assert_close(ours.observation[1], alone.observation[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [1e12, float("nan")])
def test_an_unstable_world_ends_its_own_episode_and_moves_no_other(value: float) -> None:
    batch, other = batch_of(CHEETAH), batch_of(CHEETAH)
    batch.reset(), other.reset()
    actions = actions_for(batch, 8)
    for t in range(2):
        last = batch.step(actions[t])
        other.step(actions[t])
    assert not last.extras["unstable"].any()
    batch.state["qvel"][1] = value
    for t in range(2, 5):
        ours, theirs = batch.step(actions[t]), other.step(actions[t])
        assert same(ours, theirs, ~SECOND)
        assert torch.equal(ours.observation[1], last.observation[1])
        assert ours.reward[1] == 0
        assert not ours.extras["velocity"][1].any()
        assert torch.equal(ours.truncated, SECOND & (t == 2))
        assert torch.equal(ours.extras["unstable"], SECOND & (t == 2))
    assert torch.equal(batch.reset(1, SECOND)[1], other.reset(1, SECOND)[1])
    for t in range(5, 8):
        assert same(batch.step(actions[t]), other.step(actions[t]), torch.ones(N, dtype=torch.bool))


def test_an_episode_that_has_ended_waits_for_its_reset() -> None:
    batch = batch_of(HOPPER)
    batch.reset()
    batch.state["qpos"][1, 1] = 0.3  # it has fallen
    first = batch.step(actions_for(batch, 1)[0])
    assert torch.equal(first.terminated, SECOND)
    again = batch.step(actions_for(batch, 2)[1])
    assert torch.equal(again.observation[1], first.observation[1])
    assert (again.reward[1], again.terminated[1]) == (0, True)
    assert not batch.reset(1, SECOND).isnan().any()
    assert not batch.step(actions_for(batch, 1)[0]).terminated[1]


def test_a_vector_environment_restarts_its_worlds_one_by_one() -> None:
    envs = TaskVectorEnv(make_family(HOPPER, engine="warp"), N, evaluation=True)
    seen, _ = envs.reset(seed=0)
    ended = np.zeros(N, dtype=bool)
    for t in range(12):
        was, (seen, rewards, terminated, truncated, _) = (
            ended,
            envs.step(np.full((N, 3), (-1.0, 1.0)[t % 2], np.float32)),
        )
        assert np.isfinite(seen).all()
        assert not rewards[was].any()  # the step that begins anew
        ended = terminated | truncated
        if was.any():
            return
    pytest.fail("no hopper fell")


def test_more_contacts_than_there_is_room_for() -> None:
    batch = batch_of(CHEETAH, contacts=1)
    batch.reset()
    with pytest.raises(MetaRLError, match=r"had more contacts than the 1 a world .* set contacts = 2 in the family"):
        played(batch, actions_for(batch, 20))


def test_rl2_trains_on_it_with_the_shapes_of_the_other_engine() -> None:
    from dataclasses import replace

    from metarl.agents.rl2 import RL2

    shapes = {}
    for engine in ("mujoco", "warp"):
        family = make_family(CHEETAH, "pearl", engine)
        family.horizon = 10
        config = replace(RL2.presets["default"], tasks=N, episodes=2, minibatches=1)
        agent: Any = RL2(family, config, seed=0)
        before = {name: value.clone() for name, value in agent.params.items()}
        agent.learn(2 * N * 2 * family.horizon)
        assert agent.num_timesteps == 2 * N * 2 * family.horizon
        assert any(not torch.equal(value, before[name]) for name, value in agent.params.items())
        batch: Any = family.batch(family.tasks.sample(stream_keys(N, "test")), stream_keys(N, "test"))
        seen, step = batch.reset(), batch.step(actions_for(batch, 1)[0])
        tensors = {"reset": seen, **step._asdict(), **step.extras}
        del tensors["extras"]
        shapes[engine] = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    assert shapes["warp"] == shapes["mujoco"]
