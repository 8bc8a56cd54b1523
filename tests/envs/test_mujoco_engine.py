"""The MuJoCo engine: single resets, ends, autoreset, threads, copies."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from torch import Tensor

from metarl.core.random import Domain, stream_keys, uniforms
from metarl.envs.engine.mujoco import MujocoBatch
from metarl.family import make_family
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks

N = 3
HOPPER, ANT = "metarl/HopperRandParams-v0", "metarl/AntRandParams-v0"
SECOND = torch.tensor([False, True, False])
MODES = list(AutoresetMode)


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda count: monkeypatch.setattr(torch, "get_num_threads", lambda: count)


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


# Resets.


@pytest.mark.parametrize("name", [HOPPER, ANT])
def test_a_single_reset_leaves_the_others_untouched_bit_for_bit(name: str) -> None:
    batch, other = batch_of(name), batch_of(name)
    batch.reset(), other.reset()
    actions = actions_for(batch, 9)
    for t in range(4):
        batch.step(actions[t]), other.step(actions[t])
    seen = torch.from_numpy(batch._observation.copy())
    fresh = batch.reset(5, SECOND)
    assert torch.equal(fresh[~SECOND], seen[~SECOND])
    expected = batch_of(name).reset(5)
    assert torch.equal(fresh[1], expected[1])
    assert not torch.equal(fresh[1], seen[1])
    for t in range(4, 9):
        assert same(batch.step(actions[t]), other.step(actions[t]), ~SECOND)


def test_a_reset_environment_goes_on_as_in_a_batch_that_was_reset_as_a_whole() -> None:
    batch, other = batch_of(ANT), batch_of(ANT)
    batch.reset(), other.reset(5)
    actions = actions_for(batch, 12)
    for t in range(4):
        batch.step(actions[t])
    batch.reset(5, SECOND)
    for t in range(4, 12):
        assert same(batch.step(actions[t]), other.step(actions[t]), SECOND)


def test_a_task_begins_with_the_next_reset() -> None:
    batch, other = batch_of("metarl/Slope-v0"), batch_of("metarl/Slope-v0")
    batch.reset(), other.reset()
    actions = actions_for(batch, 10)
    tasks = Tasks({"angle": [0.1, 0.15, -0.2]})
    batch.set_tasks(tasks, SECOND)
    for t in range(5):
        assert same(batch.step(actions[t]), other.step(actions[t]))
    batch.reset(1, SECOND)
    fresh = batch.family.batch(tasks, batch.keys, dtype=torch.float64)
    fresh.reset(1)
    for t in range(5, 10):
        ours = batch.step(actions[t])
        assert same(ours, other.step(actions[t]), ~SECOND)
        assert same(ours, fresh.step(actions[t]), SECOND)


def test_the_start_is_a_function_of_key_and_episode() -> None:
    batch = batch_of(HOPPER)
    for episode in (0, 3):
        batch.reset(episode)
        u = uniforms(batch.keys, Domain.RESET, episode, 1, 12, dtype=torch.float64)[:, 0]
        qpos, qvel = batch.family.start(batch.task, u)
        assert torch.equal(batch.state["qpos"], qpos)
        assert torch.equal(batch.state["qvel"], qvel)
    batch.reset(torch.tensor([3, 0, 3]))
    assert torch.equal(batch.state["qpos"][0], qpos[0])
    assert not torch.equal(batch.state["qpos"][1], qpos[1])


def test_an_ended_environment_is_not_stepped_and_repeats_its_last_observation() -> None:
    batch = batch_of(HOPPER, vary=False)
    batch.reset()
    batch._data["qpos"][1, 2] = 0.3  # it leans too far
    actions = actions_for(batch, 6)
    last = batch.step(actions[0])
    assert last.terminated.tolist() == [False, True, False]
    assert not last.truncated.any()
    state = {name: value.clone() for name, value in batch.state.items()}
    for t in range(1, 6):
        step = batch.step(actions[t])
        assert torch.equal(step.observation[1], last.observation[1])
        assert step.reward[1] == 0
        for name, value in batch.state.items():
            assert torch.equal(value[1], state[name][1])
            assert not torch.equal(value[0], state[name][0])


def test_all_end_at_the_horizon() -> None:
    batch = batch_of("metarl/Reacher-v0")
    batch.reset()
    for t in range(200):
        step = batch.step(torch.zeros(N, 2))
        assert step.truncated.tolist() == [t == 199] * N
        assert not step.terminated.any()


def test_each_ends_at_its_own_horizon_once_some_were_reset() -> None:
    family = make_family("metarl/Reacher-v0")
    family.horizon = 6
    batch = family.batch(Tasks.stack([family.default()] * N), stream_keys(N, "test"))
    batch.reset()
    ends = []
    for t in range(8):
        if t == 2:
            batch.reset(1, SECOND)
        ends.append(batch.step(torch.zeros(N, 2)).truncated.tolist())
    assert ends[:5] == [[False] * N] * 5
    assert (ends[5], ends[7]) == ([True, False, True], [True, True, True])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("options", [{}, {"tasks": "train", "episodes_per_trial": 2}], ids=["default", "train"])
def test_autoreset_equals_gymnasiums_vector_of_single_environments(mode: AutoresetMode, options: Any) -> None:
    envs: Any = gymnasium.make_vec(HOPPER, N, autoreset_mode=mode, **options)
    others = gymnasium.make_vec(HOPPER, N, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options)
    assert isinstance(envs, TaskVectorEnv)
    others.action_space.seed(0)
    assert data_equivalence(envs.reset(seed=7), others.reset(seed=7), exact=True)
    ended, done = 0, np.zeros(N, dtype=bool)
    for _ in range(50):
        if mode is AutoresetMode.DISABLED and done.any():
            ours, theirs = (e.reset(options={"reset_mask": done.copy()}) for e in (envs, others))
            assert data_equivalence(ours, theirs, exact=True)
        actions = others.action_space.sample()
        ours, theirs = envs.step(actions), others.step(actions)
        assert data_equivalence(ours, theirs, exact=True)
        done = ours[2] | ours[3]
        ended += int(done.sum())
    assert ended >= 2 * N


# The same numbers, however they are computed.


@pytest.mark.parametrize("name", [HOPPER, ANT])
def test_numbers_depend_neither_on_threads_nor_on_the_number_of_simulations(name: str, threads: Any) -> None:
    batches = []
    for count, n in ((1, 5), (2, 5), (2, 2)):
        threads(count)
        batches.append(batch_of(name, n))
        assert batches[-1]._simulations.nthread == count
    actions, few = actions_for(batches[0], 8), slice(0, 2)
    for batch in batches:
        batch.reset(), batch.reset(1, torch.arange(batch.num_envs) == 1)
    for action in actions:
        one, two, small = (batch.step(action[: batch.num_envs]) for batch in batches)
        assert same(one, two)
        assert same(one, small, few)


@pytest.mark.parametrize("name", [HOPPER, ANT])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))])
def test_a_copy_goes_on_bit_for_bit(name: str, copied: Any) -> None:
    batch = batch_of(name)
    batch.reset()
    actions = actions_for(batch, 16)
    for t in range(3):
        batch.step(actions[t])
    batch.reset(4, SECOND)
    batch._data["qpos"][2, 2] = 1.5  # too high for an ant, and a hopper leans too far
    last = batch.step(actions[3])
    assert last.terminated[2]  # this one waits for its reset
    twin = copied(batch)
    assert not np.shares_memory(twin._simulations.state, batch._simulations.state)
    for t in range(4, 9):
        ours, theirs = batch.step(actions[t]), twin.step(actions[t])
        assert torch.equal(ours.observation, theirs.observation)
        assert torch.equal(ours.reward, theirs.reward)
        assert same(ours, theirs, torch.tensor([True, True, False]))
        assert torch.equal(theirs.observation[2], last.observation[2])
    rows = torch.tensor([False, False, True])
    assert torch.equal(batch.reset(7, rows), twin.reset(7, rows))
    for t in range(9, 16):
        assert same(batch.step(actions[t]), twin.step(actions[t]))


def test_what_a_step_returned_is_not_changed_by_the_next() -> None:
    batch = batch_of(ANT)
    first = batch.reset()
    actions = actions_for(batch, 2)
    step = batch.step(actions[0])
    given = [first, *step[:4], *step.extras.values()]
    kept = [value.clone() for value in given]
    batch.step(actions[1]), batch.reset(1)
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_returns_the_precision_asked_for(dtype: torch.dtype) -> None:
    family = make_family(HOPPER)
    batch = family.batch(Tasks.stack([family.default()] * 2), stream_keys(2, "test"), dtype=dtype)
    assert batch.reset().dtype == dtype
    step = batch.step(torch.zeros(2, 3))
    assert {step.observation.dtype, step.reward.dtype} == {dtype}
    assert {step.terminated.dtype, step.truncated.dtype} == {torch.bool}


def test_a_batch_on_a_gpu_gives_the_cpus_numbers(cuda: str) -> None:
    here, there = (
        make_family(ANT).batch(make_family(ANT).tasks.sample(stream_keys(N, "test")), stream_keys(N, "test"), device)
        for device in ("cpu", cuda)
    )
    assert torch.equal(here.reset(), there.reset().cpu())
    for action in torch.rand(5, N, 8):
        ours, theirs = here.step(action), there.step(action.to(cuda))
        for a, b in zip((*ours[:4], *ours.extras.values()), (*theirs[:4], *theirs.extras.values()), strict=True):
            assert b.device.type == "cuda"
            assert torch.equal(a, b.cpu())
    rows = torch.arange(N) == 1
    assert torch.equal(here.reset(1, rows), there.reset(1, rows.to(cuda)).cpu())
