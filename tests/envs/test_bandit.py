"""Bandits: rewards by hand, the players' memory, and the reference figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from metarl.envs.bandit import BernoulliBandit, Greedy, Thompson
from metarl.family.players import Player, player_returns
from metarl.learner import Transition
from metarl.tasks import Tasks


def total(family: BernoulliBandit, player: str | None, tasks: Tasks, pulls: int) -> NDArray[np.float64]:
    """Total reward of a trial, for each task."""
    assert player is not None
    return np.asarray(player_returns(family, player, tasks, episodes=pulls).sum(1))


def pull(player: Player, state: dict[str, torch.Tensor], arm: int, reward: float) -> dict[str, torch.Tensor]:
    """The state after one pull."""
    none, zero = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 1, 1)
    step = Transition(zero, torch.tensor([[arm]]), torch.tensor([[reward]]), ~none, none, zero)
    return player.observe({}, state, step)


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


def test_greedy_pulls_the_highest_posterior_mean() -> None:
    player = Greedy(3)
    state = player.initial({}, 1)
    for arm, reward in ((0, 1.0), (0, 0.0), (1, 1.0), (2, 0.0)):  # posterior means 1/2, 2/3, 1/3
        state = pull(player, state, arm, reward)
    assert player.act({}, state, torch.zeros(1, 1, 1), torch.full((1, 1, 3), 0.5))[0].tolist() == [[1]]


def test_greedy_breaks_ties_by_its_noise() -> None:
    player = Greedy(3)
    state = pull(player, player.initial({}, 1), 0, 0.0)  # arms 1 and 2 share the highest mean
    for noise, arm in (([0.9, 0.6, 0.3], 1), ([0.9, 0.3, 0.6], 2)):
        assert player.act({}, state, torch.zeros(1, 1, 1), torch.tensor([[noise]]))[0].tolist() == [[arm]]


def test_players_keep_their_counts_from_pull_to_pull() -> None:
    for player in (Greedy(2), Thompson(2)):
        state = pull(player, player.initial({}, 1), 1, 1.0)
        state = player.begin_episode({}, state, torch.empty(1, 0))
        state = pull(player, state, 1, 0.0)
        assert (state["wins"].tolist(), state["losses"].tolist()) == ([[1, 2]], [[1, 2]])


def test_thompson_draws_from_the_posterior() -> None:
    player, n = Thompson(2), 4000
    state = {"step": torch.zeros(n).long(), "wins": torch.tensor([[3.0, 1.0]]), "losses": torch.tensor([[1.0, 1.0]])}
    state = {name: value.expand(n, -1) if value.ndim == 2 else value for name, value in state.items()}
    noise = torch.rand(n, 1, 2, generator=torch.Generator().manual_seed(0))
    arms = player.act({}, state, torch.zeros(n, 1, 1), noise)[0]
    # P(Beta(3, 1) > U) = E[Beta(3, 1)] = 3/4.
    assert float((arms == 0).float().mean()) == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / n) ** 0.5)


def test_greedy_reference_figures(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = BernoulliBandit("k5")
    tasks = sample(family, 20_000)
    assert within(total(family, "greedy", tasks, 10), 6.63, 0.005)
    assert within(total(family, "greedy", tasks, 100), 75.7, 0.1)  # its own error


def test_thompson_reference_figure(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = BernoulliBandit("k5")
    # The reference says 74.9; NumPy's own Beta draws gave 75.05 ± .05 over 100,000 trials.
    assert within(total(family, "thompson", sample(family, 4000), 100), 75.0, 0.1)


def test_floor_and_optimum(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = BernoulliBandit("k10")
    tasks = sample(family, 5000)
    assert within(total(family, family.floor, tasks, 10), 5.0, 0)
    assert within(total(family, family.optimum, tasks, 10), 100 / 11, 0)
    best = np.take_along_axis(tasks.values["p"], tasks.values["p"].argmax(1)[:, None], 1)[:, 0]
    assert within(total(family, family.optimum, tasks, 10) / 10 - best, 0.0, 0)
