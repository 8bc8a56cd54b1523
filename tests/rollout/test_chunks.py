"""Rollouts that do not fit into memory are played in parts, with the same numbers and one message."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.agents.maml import MAML
from metarl.agents.rl2 import RL2
from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.envs.engine.torch import TorchBatch
from metarl.rollout.batch import Step
from metarl.rollout.chunks import Chunked, in_chunks
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

Sizes = list[int]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Sizes]:
    """``room(n)``: a memory for n environments, which runs out at the second step; the list tells who was reset."""

    def limited(most: int) -> Sizes:
        played: Sizes = []
        step, reset = TorchBatch.step, TorchBatch.reset

        def limited_step(self: TorchBatch, action: Tensor) -> Step:
            if len(action) > most and self.clock.elapsed == 1:
                raise torch.OutOfMemoryError("full")
            return step(self, action)

        def counted(self: TorchBatch, *arguments: int) -> Tensor:
            played.append(self.num_envs)
            return reset(self, *arguments)

        monkeypatch.setattr(TorchBatch, "step", limited_step)
        monkeypatch.setattr(TorchBatch, "reset", counted)
        return played

    return limited


def make(online: bool) -> Algorithm:
    if online:
        return RL2("metarl/GridNavi-v0", replace(RL2.config_class(), tasks=7, width=8))
    return MAML("metarl/PointNavigation-v0", MAML.config_class(tasks=7, episodes=2, hidden=(8,)), variant="pearl")


def play(agent: Algorithm, episodes: int = 1) -> tuple[Trajectory, dict[str, Tensor]]:
    n_envs = agent.n_envs
    tasks, keys = agent.family.tasks.sample(stream_keys(7, 0)).repeat(n_envs), stream_keys(7 * n_envs, 1)
    # Not alike, so that a task with another's parameters would show.
    state = {
        name: value + torch.arange(7).reshape(-1, *[1] * (value.ndim - 1)) / 10 if value.is_floating_point() else value
        for name, value in agent.learner.initial(agent.params, 7).items()
    }
    batch = agent.family.batch(tasks, keys)
    return rollout(agent.learner, agent.params, state, batch, n_envs=n_envs, episodes=episodes, context=agent.rollouts)


@pytest.mark.parametrize("online", [False, True])
def test_a_rollout_in_parts_is_the_rollout(online: bool, room: Callable[[int], Sizes]) -> None:
    agent = make(online)
    n_envs = agent.n_envs
    whole, state = play(agent, episodes=2)
    played = room(4 * n_envs)
    with pytest.warns(Chunked, match=rf"{7 * n_envs} environments does not fit .* of cpu; it is played in parts of "
                      rf"{4 * n_envs}, which gives the same numbers") as said:  # fmt: skip
        parts, after = play(agent, episodes=2)
    assert len(said) == 1
    assert played == [7 * n_envs, 4 * n_envs, 4 * n_envs, 3 * n_envs, 3 * n_envs]
    assert torch.equal(parts.lengths, whole.lengths)
    for name in ("observation", "action", "reward", "final_observation", "episode_noise"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-5)
    assert state.keys() == after.keys()
    for name, value in state.items():
        torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-5)


def test_what_was_played_is_kept_and_halves_are_halved_on(room: Callable[[int], Sizes]) -> None:
    played = room(2)
    with pytest.warns(Chunked) as said:
        play(make(True))
    assert [str(each.message).partition("parts of ")[2][0] for each in said] == ["4", "2"]
    assert played == [7, 4, 2, 2, 2, 1]


def test_the_next_rollout_of_a_learner_need_not_try(room: Callable[[int], Sizes]) -> None:
    agent, played = make(True), room(4)
    with pytest.warns(Chunked):
        play(agent)
    played.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(agent)
    assert played == [4, 3]


def test_one_task_that_does_not_fit_is_an_error(room: Callable[[int], Sizes]) -> None:
    room(1)
    with pytest.warns(Chunked), pytest.raises(MetaRLError, match="rollout of 2 environments does not fit into the mem"):
        play(make(False))


def test_a_batch_that_has_no_parts_is_an_error() -> None:
    class Whole:
        num_envs, device = 6, torch.device("cpu")

    def play(*_: object) -> tuple[Trajectory, dict[str, Tensor]]:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(MetaRLError, match="rollout of 6 environments does not fit"):
        in_chunks(play, RolloutContext(), {}, Whole(), 1)  # type: ignore[arg-type]


def test_a_real_gpu_that_is_full(cuda: str) -> None:
    agent = make(False)
    agent.params = {name: value.to(cuda) for name, value in agent.params.items()}
    n, n_envs = 4000, agent.n_envs
    batch = agent.family.batch(
        agent.family.tasks.sample(stream_keys(n, 0)).repeat(n_envs), stream_keys(n * n_envs, 1), cuda
    )
    state = agent.learner.initial(agent.params, n)
    whole = rollout(agent.learner, agent.params, state, batch, n_envs=n_envs)[0]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    rollout(agent.learner, agent.params, state, batch, n_envs=n_envs)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.8 * torch.cuda.max_memory_allocated() / total)
    try:
        with pytest.warns(Chunked):
            parts = rollout(agent.learner, agent.params, state, batch, n_envs=n_envs)[0]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(parts.reward, whole.reward)
