"""The grid of hidden rules: keys, the door, the order of the targets, what is seen, and the optimum."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch

from metarl.core.random import stream_keys
from metarl.envs.rule_grid import RuleGrid, _arranged
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks

UP, RIGHT, DOWN, LEFT, TAKE = range(5)
# The door is at the height of the start; the first target is 0, the second 2.
TASK = {"key": 1.0, "order": 1.0, "door": 2.0, "keys": 100.0, "targets": 100.0}


def play(actions: list[int], variant: str = "full", **changes: float) -> list[tuple[np.ndarray, float, bool]]:
    """Observation, reward and end of every step on ``TASK``, with changes."""
    family = RuleGrid(variant)
    batch = family.batch(Tasks({k: np.array([v]) for k, v in {**TASK, **changes}.items()}), stream_keys(1, "test"))
    batch.reset()
    steps = [batch.step(torch.tensor([action])) for action in actions]
    return [(s.observation[0].numpy(), float(s.reward[0]), bool(s.terminated[0])) for s in steps]


def test_every_number_is_another_arrangement_of_three_different_cells() -> None:
    cells = _arranged(torch.arange(15 * 14 * 13).double())
    seen = {tuple((3 * y + x) for x, y in row) for row in cells.int().tolist()}
    assert seen == set(permutations(range(15), 3))


def layout(number: float) -> list[list[int]]:
    return [[int(x) for x in cell] for cell in _arranged(torch.tensor([number]).double())[0]]


def way(start: list[int], end: list[int]) -> list[int]:
    """Upwards first, then sideways."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return [UP if dy > 0 else DOWN] * abs(dy) + [RIGHT if dx > 0 else LEFT] * abs(dx)


def through(key: int) -> list[int]:
    """From the start over a key to the cell behind the door, if it opens."""
    there = layout(TASK["keys"])[key]
    return [*way([0, 2], there), TAKE, *way(there, [2, 2]), RIGHT, RIGHT]


@pytest.mark.parametrize(("key", "opens"), [(0, False), (1, True), (2, False)])
def test_only_the_right_key_opens_the_door(key: int, opens: bool) -> None:
    observation = play(through(key))[-1][0]
    assert observation[-1] == opens
    assert observation[0] == pytest.approx((4 if opens else 2) / 6)
    assert observation[16 + key] == 1


def test_the_door_stays_shut_without_a_key() -> None:
    assert play([RIGHT] * 4)[-1][0][0] == pytest.approx(2 / 6)


def test_targets_count_in_their_order_only_and_the_second_ends_the_episode() -> None:
    targets = [[x + 4, y] for x, y in layout(TASK["targets"])]
    begin = through(1)
    right = begin + way([4, 2], targets[0]) + way(targets[0], targets[2])
    steps = play(right)
    assert sum(reward for _, reward, _ in steps) == pytest.approx(2 - 0.02 * len(steps))
    assert [end for *_, end in steps].index(True) == len(steps) - 1
    # With the other order target 2 is worth nothing before target 0.
    wrong = play(right, order=4.0)
    assert sum(reward for _, reward, _ in wrong) == pytest.approx(1 - 0.02 * len(wrong))
    assert not any(end for *_, end in wrong)


def test_the_partial_variant_sees_two_cells_far() -> None:
    observation = play([UP, DOWN], "partial")[-1][0]
    view = observation[:200].reshape(5, 5, 8)  # sideways, upwards, what is there
    assert view[0, :, 0].all()  # x = -2 lies outside
    assert view[1, :, 0].all()
    assert not view[2:, :, 0].any()  # the left room, as high as it is
    keys = layout(TASK["keys"])
    for i, (x, y) in enumerate(keys):
        assert view[..., 2 + i].sum() == (x <= 2 and 0 <= y <= 4)
        assert view[x + 2, y, 2 + i] == 1
    assert not view[..., 5:].any()  # targets are in the other room


def test_knowing_the_rules_earns_more_and_takes_the_shortest_way() -> None:
    family = RuleGrid()
    tasks = family.splits.test[:50]
    blind, known = (policy_returns(family, name, tasks)[:, 0] for name in ("try in turn", "knows the rules"))
    assert (known >= blind - 1e-9).all()
    assert known.mean() > blind.mean() + 0.15
    for i, task in enumerate(tasks):
        cells = [layout(float(task["keys"])), layout(float(task["targets"]))]
        first, second = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))[int(task["order"])]
        key = cells[0][int(task["key"])]
        one, two = ([x + 4, y] for x, y in (cells[1][first], cells[1][second]))
        door = [3, int(task["door"])]
        stops = [[0, 2], key, door, one, two]
        length = 1 + sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(stops))
        assert known[i] == pytest.approx(2 - 0.02 * length, abs=1e-5)
