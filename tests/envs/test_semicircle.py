"""Sparse semicircle: rewards by hand, and the reference figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from metarl.envs.semicircle import SparseSemicircle
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks

ANGLES = Tasks({"angle": (np.arange(1000) + 0.5) / 1000 * np.pi})
NO_DRAW = torch.empty(1, 0)


def of_horizon(horizon: int) -> SparseSemicircle:
    family = SparseSemicircle("varibad")
    family.horizon = horizon
    return family


def test_sparse_and_dense_rewards_by_hand() -> None:
    family = SparseSemicircle("pearl")
    position = torch.tensor([[0.0, 0.85], [0.7, 0.1]], dtype=torch.float64)
    action = torch.tensor([[0.0, 0.05], [0.0, -0.1]], dtype=torch.float64)
    task = {"angle": torch.tensor([np.pi / 2, 0.0], dtype=torch.float64)}
    state, reward, terminated, extras = family.step({"position": position}, action, task, NO_DRAW)
    torch.testing.assert_close(state["position"], position + action)
    torch.testing.assert_close(extras["dense_reward"], torch.tensor([-0.1, -0.3], dtype=torch.float64))
    torch.testing.assert_close(reward, torch.tensor([0.9, 0.0], dtype=torch.float64))
    assert not terminated.any()


@pytest.mark.parametrize(("distance", "expected"), [(0.19, 0.81), (0.21, 0.0)])
def test_reward_is_paid_within_the_radius(distance: float, expected: float) -> None:
    state = {"position": torch.tensor([[1 - distance, 0.0]])}
    reward = SparseSemicircle().step(state, torch.zeros(1, 2), {"angle": torch.zeros(1)}, NO_DRAW)[1]
    assert float(reward) == pytest.approx(expected, abs=1e-6)


def test_starts_at_the_centre() -> None:
    assert not SparseSemicircle().reset({"angle": torch.ones(4)}, NO_DRAW)["position"].any()


def test_pearl_cuts_a_hundred_angles_eighty_to_twenty() -> None:
    split = SparseSemicircle("pearl").splits
    angles = np.concatenate([split.part("train").values["angle"], split.part("test").values["angle"]])
    assert (len(split.part("train")), len(split.part("test"))) == (80, 20)
    np.testing.assert_allclose(np.sort(angles), np.linspace(0, np.pi, 100))


def test_ood_goals_lie_on_the_other_half() -> None:
    for variant in SparseSemicircle.variants():
        family = SparseSemicircle(variant)
        assert (family.goals(family.splits.part("ood"))[:, 1] < 0).all()


@pytest.mark.parametrize(("horizon", "optimum", "sweep"), [(20, 13.38, 3.6), (60, 53.38, 40.9), (100, 93.38, 80.9)])
def test_reference_figures(horizon: int, optimum: float, sweep: float, mean_return: Callable[..., float]) -> None:
    family = of_horizon(horizon)
    assert mean_return(family, "straight to the goal", ANGLES) == pytest.approx(optimum, abs=0.005)
    assert mean_return(family, "sweep", ANGLES) == pytest.approx(sweep, abs=0.05)


def test_optimum_on_the_hundred_angles(mean_return: Callable[..., float]) -> None:
    family = SparseSemicircle("pearl")
    # 13.36 where rounding puts the goals at both ends just outside the radius after eight steps, else 13.375.
    assert mean_return(family, family.optimum, family.tasks.enumerate()) == pytest.approx(13.36, abs=0.02)


@pytest.mark.parametrize(("variant", "figure"), [("pearl", 5.35), ("varibad", 81.6)])
def test_the_floor_is_the_best_sweep(variant: str, figure: float, mean_return: Callable[..., float]) -> None:
    family = SparseSemicircle(variant)
    tasks = family.tasks.enumerate() if variant == "pearl" else ANGLES
    assert mean_return(family, "best sweep", tasks) == pytest.approx(figure, abs=0.05)
    assert mean_return(family, "sweep", tasks) < mean_return(family, family.floor, tasks)


def test_the_sweep_remembers_nothing_of_earlier_episodes() -> None:
    returns = policy_returns(SparseSemicircle("varibad"), "sweep", ANGLES, episodes=2)
    np.testing.assert_array_equal(returns[:, 0], returns[:, 1])
