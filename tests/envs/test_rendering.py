"""The pictures: where things are drawn, and that each family shows its goal and its agent."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from metarl.core.random import stream_keys
from metarl.envs import FAMILIES
from metarl.envs.bandit import BernoulliBandit
from metarl.envs.cartpole import CartPole
from metarl.envs.drawing import AGENT, GOAL, PAPER, SUCCESS, Canvas, Colour, blend
from metarl.envs.engine.torch import TorchFamily
from metarl.envs.gridnavi import GridNavi
from metarl.envs.navigation import PointNavigation
from metarl.envs.semicircle import SparseSemicircle
from metarl.envs.tabular import TabularMDP
from metarl.family import TaskFamily
from metarl.family.registry import family_class
from metarl.family.views.trials import ViewBatch
from metarl.tasks import Tasks

# Those of MuJoCo's models are in test_mujoco_rendering.py.
FLAT = [name for name in FAMILIES if issubclass(family_class(name), TorchFamily)]
CASES = [(name, variant) for name in FLAT for variant in family_class(name).variants()]


def centre(picture: NDArray[np.uint8], colour: Colour) -> tuple[float, float]:
    """Mean (x, y) of the pixels of a colour, from 0 to 1, y upwards."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    assert len(rows), f"nothing is drawn in {colour}"
    return float(columns.mean() / picture.shape[1]), float(1 - rows.mean() / picture.shape[0])


def play(family: TaskFamily, steps: int = 3) -> list[dict[str, NDArray[Any]]]:
    """Snapshots of one environment on the default task, as the views keep them."""
    batch = cast(ViewBatch, family.batch(Tasks.stack([family.default()]), stream_keys(1, "picture")))
    discrete = isinstance(family.action_space, Discrete)
    action = torch.zeros(1, dtype=torch.int64) if discrete else torch.full((1, 2), 0.05)
    batch.reset()
    history = [{key: value[0].numpy() for key, value in batch.state.items()}]
    for _ in range(min(steps, family.horizon)):
        batch.step(action)
        history.append({key: value[0].numpy() for key, value in batch.state.items()})
    return history


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_family_draws_its_start_and_its_way(name: str, variant: str) -> None:
    family = family_class(name)(variant)
    history, task = play(family), family.default()
    pictures = [family.render(history[: i + 1], task) for i in range(len(history))]
    assert all(picture.dtype == np.uint8 and picture.shape == pictures[0].shape for picture in pictures)
    assert pictures[0].shape[2] == 3
    assert not np.array_equal(pictures[0], pictures[-1])
    np.testing.assert_array_equal(pictures[-1], family.render(history, task))


def test_the_canvas_has_y_upwards() -> None:
    canvas = Canvas((0, 10), (0, 10), 100, 100)
    canvas.disc((2, 9), 4, GOAL)
    assert centre(canvas.array(), GOAL) == pytest.approx((0.2, 0.9), abs=0.01)


def test_blend_goes_from_one_colour_to_the_other() -> None:
    assert [blend((0, 0, 0), (10, 20, 30), share) for share in (0, 0.5, 1)] == [(0, 0, 0), (5, 10, 15), (10, 20, 30)]


def test_navigation_shows_goal_and_point() -> None:
    here = [{"position": np.array(p)} for p in ((0.0, 0.0), (-0.35, 0.35))]
    picture = PointNavigation().render(here, {"goal": np.array([0.35, -0.35])})
    assert centre(picture, GOAL) == pytest.approx((0.75, 0.25), abs=0.02)
    x, y = centre(picture, AGENT)
    assert x < 0.4
    assert y > 0.6


def test_navigation_makes_room_for_a_point_that_went_far() -> None:
    away = [{"position": np.array(p)} for p in ((0.0, 0.0), (-9.0, 0.0))]
    assert centre(PointNavigation().render(away, {"goal": np.array([0.3, 0.4])}), AGENT)[0] < 0.3


def test_semicircle_shows_the_goal_on_its_half() -> None:
    start = [{"position": np.zeros(2)}]
    upper, lower = (SparseSemicircle().render(start, {"angle": np.array(a)}) for a in (np.pi / 2, 3 * np.pi / 2))
    assert centre(upper, GOAL)[1] == pytest.approx(0.5 + 1 / 2.7, abs=0.02)
    assert centre(lower, GOAL)[1] == pytest.approx(0.5 - 1 / 2.7, abs=0.02)


def test_bandit_points_at_the_best_arm_and_shows_the_reward() -> None:
    task = {"p": np.array([0.2, 0.9, 0.5, 0.1, 0.3])}
    draw = BernoulliBandit().render
    none, won, lost = (
        draw([{"arm": np.array(arm), "reward": np.array(r)}], task) for arm, r in ((-1, 0), (2, 1), (2, 0))
    )
    arm_1, arm_2 = centre(none, GOAL)[0], centre(won, AGENT)[0]
    assert arm_1 < arm_2
    assert centre(won, SUCCESS)[0] == pytest.approx(arm_2, abs=0.02)
    assert not (none == AGENT).all(-1).any()
    assert not (lost == SUCCESS).all(-1).any()


def test_tabular_marks_the_state_and_the_rewards_collected() -> None:
    family = TabularMDP()
    history = [{"state": np.array(s), "action": np.array(a)} for s, a in ((0, -1), (3, 4))]
    before, after = (family.render(history[:n], family.default()) for n in (1, 2))
    table = 2 * before.shape[1] // 3  # the ring is to its left
    assert centre(before[:, :table], AGENT)[1] > 0.8  # state 0 is at the top of the ring
    assert not (before[:, table:] == AGENT).all(-1).any()
    assert centre(after[:, table:], AGENT)[1] > 0.8  # row 0 of the table


def test_gridnavi_shows_goal_and_walker_in_their_cells() -> None:
    picture = GridNavi().render([{"cell": np.array([4.0, 0.0])}], {"goal": np.array([0.0, 4.0])})
    assert centre(picture, GOAL) == pytest.approx((0.13, 0.82), abs=0.02)
    assert centre(picture, AGENT) == pytest.approx((0.87, 0.12), abs=0.02)


def test_cartpole_leans_and_is_pushed_as_it_is() -> None:
    def draw(lean: float, push: float) -> NDArray[np.uint8]:
        return CartPole().render([{"motion": np.array([0, 0, lean, 0]), "push": np.array(push)}], CartPole().default())

    right, left, still = draw(0.2, 10.0), draw(-0.2, -10.0), draw(0.0, 0.0)
    assert centre(right, AGENT)[0] > 0.505
    assert centre(left, AGENT)[0] < 0.495
    # The arrow and its words lie on either side of the cart; the arrow's head is the widest of them.
    assert (right == GOAL).all(-1)[:, 240:].sum() > (right == GOAL).all(-1)[:, :240].sum()
    assert (left == GOAL).all(-1)[:, :240].sum() > (left == GOAL).all(-1)[:, 240:].sum()
    assert not (still == GOAL).all(-1).any()
    assert (still == PAPER).all(-1).mean() > 0.5
