"""Choosing among adapted policies by the return of episodes on a task."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.adapt.selection import selected
from metarl.agents.maml import MAML, MAMLConfig
from metarl.agents.rl2 import RL2, RL2Config
from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.algorithm.policy_selection import select_policy
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.types import Outputs, Params, State
from metarl.family import make_family

ID, GOAL = "metarl/PointNavigation-v0", (0.25, -0.125)


class Towards(MetaLearner):
    """A learner whose policy goes a step of a length towards the goal, or away from it."""

    def __init__(self, length: float) -> None:
        self.length = length

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"nothing": torch.zeros(n_tasks)}

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return (self.length * (torch.tensor(GOAL) - observation) * 10).clamp(-1, 1), {}


def make_env() -> "gymnasium.Env[Any, Any]":
    return gymnasium.make(ID, task={"goal": GOAL})


def policy(length: float) -> AdaptedPolicy:
    learner = Towards(length)
    return AdaptedPolicy(learner, {}, learner.initial({}, 1), make_family(ID))


def test_the_policy_that_earns_most_is_chosen() -> None:
    policies = [policy(length) for length in (-1.0, 0.0, 1.0, 0.1)]
    found = select_policy(policies, make_env(), episodes=2)
    assert (found.index, found.returns.shape) == (2, (4, 2))
    assert found.policy is policies[2]
    assert found.returns[2].mean() > found.returns[3].mean() > found.returns[1].mean() > found.returns[0].mean()


def test_a_return_is_the_sum_of_an_episodes_rewards() -> None:
    env, total, over = make_env(), 0.0, False
    observation, _ = env.reset(seed=3)
    mine = policy(1.0)
    while not over:
        observation, reward, terminated, truncated, _ = env.step(mine.predict(observation, deterministic=True)[0])
        total, over = total + float(reward), terminated or truncated
    assert select_policy([mine], make_env(), episodes=1, seed=3).returns[0, 0] == pytest.approx(total)


def test_agents_of_several_kinds_are_compared_on_a_bandit() -> None:
    env = gymnasium.make("metarl/BernoulliBandit-v0", max_episode_steps=20)
    agents = [
        MAML("metarl/BernoulliBandit-v0", MAMLConfig(tasks=2, episodes=2, hidden=(4,), epochs=1)),
        RL2("metarl/BernoulliBandit-v0", RL2Config(tasks=4, width=4, epochs=1, minibatches=1)),
    ]
    found = select_policy([agents[0].adapt(env), agents[1].policy()], env, episodes=3)
    assert found.returns.shape == (2, 3)
    assert found.index == int(found.returns.mean(1).argmax())
    again = select_policy([agents[0].policy(), agents[1].policy()], env, episodes=3).returns[1]
    np.testing.assert_array_equal(found.returns[1], again)  # it begins as it was given


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(MetaRLError, match="0 policies and episodes=5"):
        select_policy([], make_env())
    with pytest.raises(MetaRLError, match="does not fit"):
        select_policy([policy(1.0)], gymnasium.make("metarl/BernoulliBandit-v0"))
    with pytest.raises(MetaRLError, match=r"shape \(2, 0\)"):
        selected(np.zeros((2, 0)))
    with pytest.raises(MetaRLError, match="1 of them not finite"):
        selected(np.array([[0.0], [np.nan]]))
