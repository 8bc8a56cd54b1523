"""The pendulum against Gymnasium's, its hidden sign and target, and what its reference policies earn."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from metarl.envs.pendulum import Pendulum
from metarl.family.policy_returns import policy_returns

GYMNASIUM = {"mass": 1.0, "length": 1.0, "gravity": 10.0}


def state(angle: float, velocity: float) -> dict[str, torch.Tensor]:
    """One pendulum in this state, in double precision."""
    numbers = {"angle": angle, "velocity": velocity, "torque": 0.0}
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in numbers.items()}


def task(**values: float) -> dict[str, torch.Tensor]:
    """A task of one environment."""
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def test_the_default_task_is_gymnasiums_pendulum() -> None:
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    theirs.reset(seed=0)
    theirs.state = np.array([2.0, 0.5])  # type: ignore[attr-defined]
    family, ours, random = Pendulum(), state(2.0, 0.5), np.random.default_rng(0)
    for _ in range(200):
        action = random.uniform(-2.5, 2.5, 1)  # beyond the limits too
        observation, reward, *_ = theirs.step(action)
        ours, earned, terminated = family.step(ours, torch.tensor(action)[None], task(**GYMNASIUM), torch.zeros(1, 0))
        assert float(earned) == pytest.approx(float(reward), abs=1e-9)
        np.testing.assert_allclose(family.observe(ours, {})[0].numpy(), observation, atol=1e-6)
        assert not terminated.any()


def test_where_the_sign_is_reversed_the_motor_turns_the_other_way() -> None:
    family, push, u = Pendulum("reversed"), torch.tensor([[1.5]]), torch.zeros(1, 0)
    right = family.step(state(1.0, 0.0), push, task(gravity=9.0, sign=1.0), u)[0]["velocity"]
    wrong = family.step(state(1.0, 0.0), -push, task(gravity=9.0, sign=-1.0), u)[0]["velocity"]
    assert torch.equal(right, wrong)
    # By hand: .05 s × (3 × 9 / 2 × sin 1 + 3 × 1.5).
    assert float(right) == pytest.approx(0.05 * (13.5 * math.sin(1) + 4.5))


def test_the_cost_is_of_the_shorter_way_to_the_target() -> None:
    reward = Pendulum("target").step(
        state(-3.0, 0.0), torch.zeros(1, 1), task(gravity=2.0, target=3.0), torch.zeros(1, 0)
    )[1]
    assert float(reward) == pytest.approx(-((2 * math.pi - 6) ** 2))


@pytest.mark.parametrize("variant", ["reversed", "target"])
def test_knowing_the_task_is_worth_much_more_than_the_best_that_can_be_done_blindly(variant: str) -> None:
    family = Pendulum(variant)
    tasks = family.splits.test[:40]
    assert family.floor is not None
    assert family.optimum is not None
    floor, optimum = (policy_returns(family, name, tasks).mean() for name in (family.floor, family.optimum))
    assert floor < -500
    assert optimum > -200
