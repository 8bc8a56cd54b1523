"""GridNavi: moves, walls and rewards by hand, and the reference figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from metarl.envs.gridnavi import GridNavi
from metarl.family.policy_returns import policy_returns

Cell = tuple[float, float]
NO_DRAW = torch.empty(1, 0)


def move(cell: Cell, action: int, goal: Cell = (4.0, 4.0)) -> tuple[Cell, float]:
    state, reward, terminated = GridNavi().step(
        {"cell": torch.tensor([cell])}, torch.tensor([action]), {"goal": torch.tensor([goal])}, NO_DRAW
    )
    assert not terminated.any()
    x, y = state["cell"][0].tolist()
    return (x, y), float(reward)


@pytest.mark.parametrize(
    ("action", "after"), [(0, (2.0, 2.0)), (1, (2.0, 3.0)), (2, (3.0, 2.0)), (3, (2.0, 1.0)), (4, (1.0, 2.0))]
)
def test_moves(action: int, after: tuple[float, float]) -> None:
    assert move((2.0, 2.0), action)[0] == after


@pytest.mark.parametrize(("cell", "action"), [((4.0, 4.0), 1), ((4.0, 4.0), 2), ((0.0, 0.0), 3), ((0.0, 0.0), 4)])
def test_walls_hold(cell: tuple[float, float], action: int) -> None:
    assert move(cell, action)[0] == cell


def test_rewards() -> None:
    assert move((3.0, 4.0), 2)[1] == 1.0  # onto the goal
    assert move((4.0, 4.0), 0)[1] == 1.0  # staying there
    assert move((4.0, 4.0), 4)[1] == pytest.approx(-0.1)  # leaving it
    assert move((2.0, 2.0), 0)[1] == pytest.approx(-0.1)


def test_twenty_one_goals_outside_the_corner_of_the_start_train_and_test_alike() -> None:
    family = GridNavi()
    goals = {tuple(goal) for goal in family.tasks.enumerate().values["goal"].tolist()}
    every = {(float(x), float(y)) for x in range(5) for y in range(5)}
    assert goals == every - {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}
    assert family.splits.label == "same tasks"
    assert (family.horizon, family.episodes_per_trial) == (15, 4)


def test_reference_figures(mean_return: Callable[..., float]) -> None:
    family = GridNavi()
    goals = family.tasks.enumerate()
    assert mean_return(family, "straight to the goal", goals) == pytest.approx(11.0714, abs=1e-4)
    assert mean_return(family, "sweep", goals) == pytest.approx(4.0, abs=1e-4)


def test_no_first_episode_can_earn_more_than_the_sweep() -> None:
    # A goal is at least two steps away, and each step visits at most one new cell, where the rest of the steps pays.
    bound = sum(1.1 * (15 - step + 1) for step in range(2, 16)) / 21 - 1.5
    assert bound == pytest.approx(4.0)


def test_random_reference_figure(within: Callable[..., bool]) -> None:
    # Exactly, by the chain of the walker's place: each axis takes either way with probability 1/5.
    axis = 0.2 * (np.eye(5, k=1) + np.eye(5, k=-1))
    axis[0, 0] = axis[4, 4] = 0.2
    chain = np.kron(axis, np.eye(5)) + np.kron(np.eye(5), axis) + 0.2 * np.eye(25)
    goal_cells = [5 * x + y for x in range(5) for y in range(5) if x > 1 or y > 1]
    visits = sum(np.linalg.matrix_power(chain, step)[0, goal_cells] for step in range(1, 16))
    exact = float(np.mean(1.1 * visits - 1.5))
    assert exact == pytest.approx(-1.17, abs=0.005)
    family = GridNavi()
    played = policy_returns(family, "random", family.tasks.enumerate().repeat(200))[:, 0]
    assert within(played, exact, 0)


def test_the_sweep_remembers_nothing_of_earlier_episodes() -> None:
    family = GridNavi()
    returns = policy_returns(family, "sweep", family.tasks.enumerate(), episodes=3)
    np.testing.assert_allclose(returns[:, 0], returns[:, 2])
