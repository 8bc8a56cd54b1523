"""Bandits: rewards by hand, floor and optimum."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from metarl.envs.bandit import BernoulliBandit
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks


def total(family: BernoulliBandit, reference: str | None, tasks: Tasks, pulls: int) -> NDArray[np.float64]:
    """Total reward of a trial, for each task."""
    assert reference is not None
    return np.asarray(policy_returns(family, reference, tasks, episodes=pulls).sum(1))


def test_reward_is_one_below_the_arms_probability() -> None:
    family = BernoulliBandit("k5")
    task = {"p": torch.tensor([[0.1, 0.3, 0.5, 0.7, 0.9]]).repeat(4, 1)}
    arm = torch.tensor([1, 1, 4, 0])
    state = family.reset(task, torch.empty(4, 0))
    _, reward, terminated = family.step(state, arm, task, torch.tensor([[0.29], [0.31], [0.89], [0.11]]))
    assert reward.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert terminated.all()


def test_reward_frequency_is_the_probability() -> None:
    family = BernoulliBandit("k5")
    u = ((torch.arange(1000) + 0.5) / 1000)[:, None]
    task = {"p": torch.full((1000, 5), 0.37)}
    reward = family.step(family.reset(task, u[:, :0]), torch.zeros(1000).long(), task, u)[1]
    assert float(reward.mean()) == pytest.approx(0.37)


@pytest.mark.parametrize(("variant", "k"), [("k5", 5), ("k10", 10), ("k50", 50)])
def test_variants(variant: str, k: int) -> None:
    family = BernoulliBandit(variant)
    assert (family.action_space, family.default()["p"].shape) == (Discrete(k), (k,))
    assert (family.horizon, family.episodes_per_trial) == (1, 100)


def test_the_observation_tells_nothing() -> None:
    family = BernoulliBandit("k5")
    task = {"p": torch.rand(3, 5, generator=torch.Generator().manual_seed(0))}
    state = family.step(family.reset(task, torch.empty(3, 0)), torch.arange(3), task, torch.full((3, 1), 0.01))[0]
    assert not family.observe(state, task).any()


def test_floor_and_optimum(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = BernoulliBandit("k10")
    tasks = sample(family, 5000)
    assert within(total(family, family.floor, tasks, 10), 5.0, 0)
    assert within(total(family, family.optimum, tasks, 10), 100 / 11, 0)
    best = np.take_along_axis(tasks.values["p"], tasks.values["p"].argmax(1)[:, None], 1)[:, 0]
    assert within(total(family, family.optimum, tasks, 10) / 10 - best, 0.0, 0)
