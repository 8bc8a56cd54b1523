"""MAML learns to adapt: tiny families in seconds, point navigation in minutes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metarl.agents.maml import MAML
from metarl.agents.maml.config import MAMLConfig
from metarl.algorithm.algorithm import Algorithm
from metarl.envs.engine.torch import TorchFamily
from metarl.envs.navigation import PointNavigation
from metarl.evaluation.driver import adaptation_curve
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks

Learns = Callable[..., None]
CONFIG = MAMLConfig(tasks=16, episodes=10, hidden=(32,), inner_steps=1, learning_rate=2e-2, total_timesteps=200_000)
TRPO = {"outer": "trpo", "outer_steps": "last", "max_kl": 0.05, "cg_iterations": 5}
TRPO |= {"episodes": 20, "total_timesteps": 24_000}


class ShortNavigation(PointNavigation):
    """Point navigation of a fifth of the steps."""

    horizon = 20


def curve(agent: Algorithm, tasks: Tasks, points: int = 2) -> list[float]:
    """Mean return before any adaptation, after one step, ..."""
    found = adaptation_curve(
        agent.learner, agent.params, agent.family, tasks, points=points, n_envs=agent.n_envs, deterministic=False
    )
    return [float(value) for value in found.returns.mean(1)]


def test_a_gaussian_policy_learns_to_adapt_to_goals(learns: Learns) -> None:
    def score(seed: int) -> dict[str, float]:
        agent = MAML(ShortNavigation(), CONFIG, seed=seed)
        untrained = curve(agent, agent.family.splits.test)
        before, after = curve(agent.learn(), agent.family.splits.test)
        return {"after": after, "gain": after - before, "gain learned": after - before - (untrained[1] - untrained[0])}

    # Standing still earns -7.6.
    learns(score, above={"after": -4.5, "gain": 3, "gain learned": 1.5})


@pytest.mark.parametrize("changes", [{}, {"inner": "dice"}, TRPO], ids=["ppo", "dice", "trpo"])
def test_a_categorical_policy_learns_to_adapt_to_levers(
    levers: TorchFamily, changes: dict[str, Any], learns: Learns
) -> None:
    config = replace(CONFIG, **{"tasks": 12, "hidden": (8,), "total_timesteps": 20_000, **changes})

    def score(seed: int) -> dict[str, float]:
        agent = MAML(levers, config, seed=seed).learn()
        before, after = curve(agent, agent.family.splits.test[np.arange(90) % 3])
        return {"before": before, "after": after}

    # One lever in three pays.
    learns(score, above={"after": 0.65}, below={"before": 0.45})


@pytest.mark.slow
def test_point_navigation_is_learnt_in_minutes(learns: Learns) -> None:
    def score(seed: int) -> dict[str, float]:
        agent = MAML("metarl/PointNavigation-v0", seed=seed)
        # Two thirds of the recipe's budget, on its own schedule.
        agent.learn(callback=lambda local, _: local["self"].num_timesteps < 9_500_000)
        tasks = agent.family.splits.test
        floor, optimum = (
            float(policy_returns(agent.family, str(name), tasks).mean())
            for name in (agent.family.floor, agent.family.optimum)
        )
        closed = [(value - floor) / (optimum - floor) for value in curve(agent, tasks, points=4)]
        return {"before": closed[0], "after one step": closed[1], "after three steps": closed[3]}

    learns(score, above={"after one step": 0.6, "after three steps": 0.85}, below={"before": 0.2})
