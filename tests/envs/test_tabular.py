"""Tabular processes: draws by hand, and the floor."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from metarl.envs.tabular import TabularMDP
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks


def task_of(family: TabularMDP, n: int = 1) -> dict[str, torch.Tensor]:
    """The default task n times, in float64."""
    return {name: torch.from_numpy(np.stack([value] * n)) for name, value in family.default().items()}


def test_next_state_by_the_inverse_distribution_function() -> None:
    family = TabularMDP()
    task = task_of(family, 3)
    task["transition"][:, 4, 2] = torch.tensor([0.5, 0, 0, 0.3, 0, 0, 0, 0, 0, 0.2])
    state = {"state": torch.full((3,), 4), "action": torch.full((3,), 0)}
    u = torch.tensor([[0.49, 0.5], [0.79, 0.5], [1 - 2**-24, 0.5]], dtype=torch.float64)
    after, reward, terminated = family.step(state, torch.full((3,), 2), task, u)
    assert after["state"].tolist() == [0, 3, 9]
    torch.testing.assert_close(reward, task["mean_reward"][:, 4, 2])  # u = 1/2 is the median
    assert not terminated.any()


def test_next_state_frequencies_are_the_transition_probabilities() -> None:
    family, n = TabularMDP(), 2000
    task = task_of(family, n)
    u = torch.stack([(torch.arange(n) + 0.5) / n, torch.full((n,), 0.5)], -1).double()
    after = family.step(family.reset(task, u[:, :0]), torch.full((n,), 3), task, u)[0]["state"]
    frequency = torch.bincount(after, minlength=10) / n
    torch.testing.assert_close(frequency.double(), task["transition"][0, 0, 3], atol=1.5 / n, rtol=0)


def test_rewards_have_standard_deviation_one() -> None:
    family = TabularMDP()
    task = task_of(family, 2)
    u = torch.tensor([[0.5, 0.8413447460685429], [0.5, 0.15865525393145707]], dtype=torch.float64)
    reward = family.step(family.reset(task, u[:, :0]), torch.full((2,), 1), task, u)[1]
    noise = reward - task["mean_reward"][:, 0, 1]
    torch.testing.assert_close(noise, torch.tensor([1.0, -1.0], dtype=torch.float64))


def test_observation_is_the_one_hot_state_and_episodes_start_in_state_0() -> None:
    family = TabularMDP()
    task = task_of(family, 2)
    observation = family.observe(family.reset(task, torch.empty(2, 0)), task)
    assert observation.tolist() == [[1.0] + [0.0] * 9] * 2
    later = family.observe({"state": torch.tensor([7, 2])}, task)
    assert later.argmax(-1).tolist() == [7, 2]


def test_random_reference_figure(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = TabularMDP()
    assert within(policy_returns(family, "random", sample(family, 2000), episodes=10).sum(1), 100, 0)


def test_every_process_has_probabilities_that_sum_to_one(sample: Callable[..., Tasks]) -> None:
    tasks = sample(TabularMDP(), 50)
    np.testing.assert_allclose(tasks.values["transition"].sum(-1), 1)
    assert tasks.values["mean_reward"].mean() == pytest.approx(1.0, abs=4 / 2500**0.5)
