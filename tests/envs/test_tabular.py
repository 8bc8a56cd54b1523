"""Tabular processes: draws by hand, value iteration, and the reference figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from metarl.envs.tabular import TabularMDP, plan
from metarl.family.players import player_returns
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


def test_value_iteration_equals_a_plain_recursion() -> None:
    family = TabularMDP()
    task = task_of(family)
    p, r = task["transition"][0].numpy(), task["mean_reward"][0].numpy()

    def value(state: int, steps: int) -> float:
        if steps == 0:
            return 0.0
        following = [value(t, steps - 1) for t in range(10)]
        return max(float(r[state, a] + p[state, a] @ following) for a in range(5))

    actions, values = plan(task, 3)
    np.testing.assert_allclose(values[0].numpy(), [value(s, 3) for s in range(10)])
    assert actions.shape == (1, 3, 10)


def test_the_plan_knows_how_many_steps_are_left() -> None:
    # Action 0 pays 1 and stays; action 1 pays nothing and leads to state 1, where every step pays 10.
    task = {"transition": torch.zeros(1, 10, 5, 10), "mean_reward": torch.zeros(1, 10, 5)}
    task["transition"][..., 0] = 1
    task["transition"][0, 0, 1] = task["transition"][0, 1] = torch.eye(10)[1]
    task["mean_reward"][0, 0, 0], task["mean_reward"][0, 1] = 1, 10
    actions, values = plan(task, 4)
    assert actions[0, :, 0].tolist() == [1, 1, 1, 0]
    assert values[0, :2].tolist() == [30, 40]


def test_the_planner_earns_what_it_plans(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = TabularMDP()
    tasks = sample(family, 1000)
    returns = player_returns(family, "value iteration", tasks, episodes=4).mean(1)
    assert within(returns - plan(tasks.tensors(), 10)[1][:, 0].numpy(), 0.0, 0)


def test_reference_figures(sample: Callable[..., Tasks], within: Callable[..., bool]) -> None:
    family = TabularMDP()
    tasks = sample(family, 2000)
    # 219 is of some thousand tasks; 60,000 gave 218.25 ± .1.
    assert within(10 * plan(tasks.tensors(), 10)[1][:, 0].double().numpy(), 218.25, 0.1)
    assert within(player_returns(family, "random", tasks, episodes=10).sum(1), 100, 0)


def test_every_process_has_probabilities_that_sum_to_one(sample: Callable[..., Tasks]) -> None:
    tasks = sample(TabularMDP(), 50)
    np.testing.assert_allclose(tasks.values["transition"].sum(-1), 1)
    assert tasks.values["mean_reward"].mean() == pytest.approx(1.0, abs=4 / 2500**0.5)
