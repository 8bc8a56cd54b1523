"""Rewards of the MuJoCo families, and where their episodes end, worked out by hand from states of a few numbers."""

from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family import make_family
from metarl.tasks import Tasks


def made(name: str, variant: str | None = None) -> MujocoFamily:
    family = make_family(f"metarl/{name}-v0", variant)
    assert isinstance(family, MujocoFamily)
    return family


def fields(family: MujocoFamily, **given: Any) -> dict[str, Tensor]:
    """All that the family reads, of one environment: what is given, else zeros."""
    data = mujoco.MjData(family.model)
    zero = {name: torch.zeros(1, *np.shape(getattr(data, name)), dtype=torch.float64) for name in family.fields}
    for name, value in given.items():
        for index, number in value.items():
            zero[name][0, *index] = number
    return zero


def reward_of(family: MujocoFamily, before: Any, after: Any, action: list[float], **task: Any) -> float:
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in task.items()}
    given = torch.tensor([action], dtype=torch.float64)
    return float(family.outcome(fields(family, **before), fields(family, **after), given, values)[0])


# Velocities follow from places one control step apart.

FORWARD = ({"qpos": {(0,): 1.0}}, {"qpos": {(0,): 1.1}})  # 2 m/s over .05 s
ACTION = [0.5, -0.5, 1.0, 0.0, 0.0, 0.0]  # of square 1.5
# Torso at body 1: 1 m/s along x, 2 along y. Of the forces two are clipped to 1: their squares sum to 1 + 1 + .25.
STEPPED = (
    {"xpos": {(1, 0): 1.0, (1, 1): -1.0}},
    {
        "xpos": {(1, 0): 1.05, (1, 1): -0.9},
        "cfrc_ext": {(4, 5): 30.0, (7, 0): -7.0, (8, 1): 0.5},
        "qpos": {(2,): 0.5},
    },
)
ANT_ACTION = [1.0, -1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]  # of square 2.5
C = 5e-4 * 2.25


@pytest.mark.parametrize(
    ("name", "variant", "moved", "action", "task", "expected"),
    [
        ("HalfCheetahVel", "pearl", FORWARD, ACTION, {"velocity": 0.5}, -1.5 - 0.075),
        ("HalfCheetahVel", "maml", FORWARD, ACTION, {"velocity": 3.0}, -1.0 - 0.075),
        ("HalfCheetahDir", "pearl", FORWARD, ACTION, {"direction": 1.0}, 2.0 - 0.075),
        ("HalfCheetahDir", "promp", FORWARD, ACTION, {"direction": -1.0}, -2.0 - 0.075),
        ("HalfCheetahRandParams", "default", FORWARD, ACTION, {}, 2.0 - 0.15),
        ("DamagedLimb", "default", FORWARD, ACTION, {}, 2.0 - 0.15),
        ("Payload", "default", FORWARD, ACTION, {}, 2.0 - 0.15),
        ("Slope", "default", FORWARD, ACTION, {}, 2.0 - 0.15),
        ("AntDir", "pearl", STEPPED, ANT_ACTION, {"angle": 0.0}, 1.0 - 1.25 - C + 1),
        ("AntDir", "varibad", STEPPED, ANT_ACTION, {"angle": np.pi / 2}, 2.0 - 1.25 - C + 1),
        ("AntDir", "pearl", STEPPED, ANT_ACTION, {"angle": np.pi / 6}, 3**0.5 / 2 + 1.0 - 1.25 - C + 1),
        ("AntDir", "promp", STEPPED, ANT_ACTION, {"angle": np.pi}, -1.0 - 1.25 - C + 1),
        ("AntDir", "maml", STEPPED, ANT_ACTION, {"angle": np.pi}, -1.0 - 0.0125 - C + 0.05),
        ("AntVel", "maml", STEPPED, ANT_ACTION, {"velocity": 2.5}, 1 - 1.5 - 0.0125 - C + 0.05),
        ("AntGoal", "pearl", STEPPED, ANT_ACTION, {"goal": (3.05, -2.0)}, -(2.0 + 1.1) - 0.25 - C),
        ("AntRandParams", "default", STEPPED, ANT_ACTION, {}, 1.0 - 1.25 - C + 1),
        ("Walker2dRandParams", "pearl", FORWARD, ACTION, {}, 0.1 / 0.02 + 1 - 0.0015),
        ("Walker2dRandParams", "varibad", FORWARD, ACTION, {}, 0.1 / 0.016 + 1 - 0.0015),
        ("HopperRandParams", "pearl", FORWARD, ACTION[:3], {}, 0.1 / 0.016 + 1 - 0.0015),
    ],
)
def test_rewards_worked_out_by_hand(
    name: str, variant: str, moved: Any, action: list[float], task: Any, expected: float
) -> None:
    assert reward_of(made(name, variant), *moved, action, **task) == pytest.approx(expected, abs=1e-9)


def test_the_humanoids_displacement_is_divided_by_the_physics_time_step() -> None:
    family = made("HumanoidDir")
    # All bodies move by 3 cm along x and 6 cm along y: 10 and 20 m/s where that takes a physics step of 3 ms.
    bodies = range(family.model.nbody)
    moved = {"xipos": {(b, axis): 0.03 * (axis + 1) for b in bodies for axis in (0, 1)}}
    action = [0.4] * 10 + [0.0] * 7  # of square 1.6
    soft = {**moved, "cfrc_ext": {(2, 0): 1000.0}}  # .5
    hard = {**moved, "cfrc_ext": {(2, 0): 1e5}}  # 5000, at most 10
    assert reward_of(family, {}, soft, action, angle=0.0) == pytest.approx(2.5 - 0.16 - 0.5 + 5, abs=1e-9)
    assert reward_of(family, {}, soft, action, angle=np.pi / 2) == pytest.approx(5.0 - 0.16 - 0.5 + 5, abs=1e-9)
    assert reward_of(family, {}, hard, action, angle=np.pi) == pytest.approx(-2.5 - 0.16 - 10 + 5, abs=1e-9)


def test_the_arms_pay_for_distances() -> None:
    reacher = made("Reacher")
    fingertip, target = reacher.body("fingertip"), reacher.body("target")
    after = {"xpos": {(fingertip, 0): 0.1, (target, 0): 0.13, (target, 1): 0.04}}
    assert reward_of(reacher, {}, after, [0.5, -1.0]) == pytest.approx(-0.05 - 1.25, abs=1e-9)
    pusher = made("Pusher")
    tip, cylinder, goal = (pusher.body(name) for name in ("tips_arm", "object", "goal"))
    after = {"xpos": {(cylinder, 0): 0.5, (tip, 0): 0.5, (tip, 2): 0.2, (goal, 0): 0.2, (goal, 1): 0.4}}
    assert reward_of(pusher, {}, after, [2.0, -1.0, 0, 0, 0, 0, 0]) == pytest.approx(-0.5 - 0.1 - 0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "variant", "qpos", "ends"),
    [
        ("AntDir", "pearl", {2: 0.19}, True), ("AntDir", "pearl", {2: 0.21}, False),
        ("AntDir", "maml", {2: 0.19}, True),
        ("AntDir", "promp", {2: 0.01}, False), ("AntDir", "promp", {2: -0.01}, True),
        ("AntDir", "promp", {2: 1.01}, True),
        ("AntVel", "maml", {2: 0.19}, True), ("AntVel", "maml", {2: 1.01}, True), ("AntGoal", "pearl", {2: 9.0}, False),
        ("HumanoidDir", "pearl", {2: 0.99}, True), ("HumanoidDir", "pearl", {2: 1.5}, False),
        ("HumanoidDir", "pearl", {2: 2.01}, True), ("HalfCheetahVel", "pearl", {1: -9.0, 2: 9.0}, False),
        ("Walker2dRandParams", "pearl", {1: 0.79}, True), ("Walker2dRandParams", "pearl", {1: 2.0}, True),
        ("Walker2dRandParams", "pearl", {1: 0.81, 2: -0.99}, False),
        ("Walker2dRandParams", "pearl", {1: 1, 2: -1}, True),
        ("HopperRandParams", "pearl", {1: 0.7}, True), ("HopperRandParams", "pearl", {1: 0.71, 2: 0.19}, False),
        ("HopperRandParams", "pearl", {1: 1, 2: -0.2}, True), ("HopperRandParams", "pearl", {1: 200, 5: 99}, False),
        ("HopperRandParams", "pearl", {1: 1, 5: -100}, True),
    ],
)  # fmt: skip
def test_where_episodes_end(name: str, variant: str, qpos: dict[int, float], ends: bool) -> None:
    family = made(name, variant)
    after = fields(family, qpos={(i,): value for i, value in qpos.items()})
    task = Tasks.stack([family.default()]).tensors(dtype=torch.float64)
    action = torch.zeros(1, family.model.nu, dtype=torch.float64)
    terminated = family.outcome(fields(family), after, action, task)[1]
    assert bool(terminated) is ends
