"""What the MuJoCo families declare: presets, splits, starts, hidden goals, and rewards worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from metarl.core.random import Domain, stream_keys, uniforms
from metarl.envs import FAMILIES
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family import family_class, make_family
from metarl.tasks import Tasks

# Family and preset: size of the observation, horizon, seconds of a control step, physics steps in it, split, how many
# tasks to train on and to test.
CHEETAH, ANT = (0.05, 5), (0.05, 5)
PRESETS: dict[tuple[str, str], tuple[int, int, float, int, str, int | None, int]] = {
    ("HalfCheetahVel", "pearl"): (20, 200, *CHEETAH, "disjoint", 100, 30),
    ("HalfCheetahVel", "varibad"): (20, 200, *CHEETAH, "fresh", None, 100),
    ("HalfCheetahVel", "promp"): (17, 200, *CHEETAH, "fresh", None, 100),
    ("HalfCheetahVel", "maml"): (20, 100, *CHEETAH, "fresh", None, 100),
    ("HalfCheetahDir", "pearl"): (20, 200, *CHEETAH, "closed", 2, 2),
    ("HalfCheetahDir", "varibad"): (20, 200, *CHEETAH, "closed", 2, 2),
    ("HalfCheetahDir", "promp"): (17, 200, *CHEETAH, "closed", 2, 2),
    ("HalfCheetahDir", "maml"): (20, 100, *CHEETAH, "closed", 2, 2),
    ("AntDir", "pearl"): (27, 200, *ANT, "fresh", None, 100),
    ("AntDir", "varibad"): (27, 200, *ANT, "fresh", None, 100),
    ("AntDir", "promp"): (111, 200, *ANT, "closed", 2, 2),
    ("AntDir", "promp-2d"): (111, 200, *ANT, "fresh", None, 100),
    ("AntDir", "maml"): (123, 200, *ANT, "closed", 2, 2),
    ("AntDir", "half"): (27, 200, *ANT, "fresh", None, 100),
    ("AntVel", "maml"): (123, 200, *ANT, "fresh", None, 100),
    ("AntGoal", "pearl"): (113, 200, *ANT, "disjoint", 150, 30),
    ("AntGoal", "promp"): (113, 200, *ANT, "fresh", None, 100),
    ("AntGoal", "varibad"): (113, 200, *ANT, "fresh", None, 100),
    ("HumanoidDir", "pearl"): (376, 200, 0.015, 5, "disjoint", 100, 30),
    ("HumanoidDir", "promp"): (376, 200, 0.015, 5, "fresh", None, 100),
    ("HumanoidDir", "varibad"): (376, 200, 0.015, 5, "fresh", None, 100),
    ("HumanoidDir", "half"): (376, 200, 0.015, 5, "fresh", None, 100),
    ("Walker2dRandParams", "pearl"): (17, 200, 0.02, 5, "disjoint", 40, 10),
    ("Walker2dRandParams", "varibad"): (17, 200, 0.016, 4, "fresh", None, 100),
    ("HopperRandParams", "pearl"): (11, 200, 0.016, 4, "disjoint", 40, 10),
    ("HopperRandParams", "varibad"): (11, 200, 0.016, 4, "fresh", None, 100),
    ("HalfCheetahRandParams", "default"): (17, 200, *CHEETAH, "fresh", None, 100),
    ("AntRandParams", "default"): (27, 200, *ANT, "fresh", None, 100),
    ("DamagedLimb", "default"): (17, 200, *CHEETAH, "fresh", None, 100),
    ("Payload", "default"): (17, 200, *CHEETAH, "fresh", None, 100),
    ("Slope", "default"): (17, 200, *CHEETAH, "fresh", None, 100),
    ("Reacher", "default"): (6, 200, 0.02, 2, "fresh", None, 100),
    ("Pusher", "default"): (20, 200, 0.05, 5, "fresh", None, 100),
}
# What tasks are: of each preset the lowest and highest value of a parameter, in training and in ood.
RANGES: list[tuple[str, str, str, tuple[float, float], tuple[float, float] | None]] = [
    *(("HalfCheetahVel", v, "velocity", (0, 3), (3, 4)) for v in ("pearl", "varibad", "promp")),
    ("HalfCheetahVel", "maml", "velocity", (0, 2), (2, 3)),
    ("HalfCheetahDir", "pearl", "direction", (-1, 1), None),
    *((f, v, "angle", (0, 2 * np.pi), None) for f in ("AntDir", "HumanoidDir") for v in ("pearl", "varibad")),
    *(("AntDir", v, "angle", (0, np.pi), (0, 2 * np.pi)) for v in ("promp", "maml", "half")),
    ("HumanoidDir", "half", "angle", (0, np.pi), (np.pi, 2 * np.pi)),
    ("AntVel", "maml", "velocity", (0, 3), (3, 4)),
    ("DamagedLimb", "default", "strength", (0, 0.5), (-0.5, 0)),
    ("Payload", "default", "load", (1, 2), (2, 3)),
    ("Slope", "default", "angle", (-0.2, 0.2), (-0.35, 0.35)),
    ("Reacher", "default", "goal", (0, 0.15), (0.15, 0.2)),
    ("AntGoal", "pearl", "goal", (0, 3), (3, 4.5)),
]  # fmt: skip


def made(name: str, variant: str | None = None) -> MujocoFamily:
    family = make_family(f"metarl/{name}-v0", variant)
    assert isinstance(family, MujocoFamily)
    return family


def test_the_table_has_every_preset_of_every_mujoco_family() -> None:
    families = [name for name in FAMILIES if issubclass(family_class(name), MujocoFamily)]
    assert {(f"metarl/{name}-v0", v) for name, v in PRESETS} == {
        (name, v) for name in families for v in family_class(name).variants()
    }


@pytest.mark.parametrize(("name", "variant"), PRESETS)
def test_presets_are_the_literatures(name: str, variant: str) -> None:
    family, expected = made(name, variant), PRESETS[name, variant]
    split = family.splits
    train = None if split.train_set is None else len(split.train_set)
    size = family.observation_space.shape
    assert size == (expected[0],)
    assert (family.horizon, family.frame_skip, split.kind) == (expected[1], expected[3], expected[4])
    assert family.dt == pytest.approx(expected[2], rel=1e-12)
    assert (train, len(split.test)) == expected[5:]
    assert family.episodes_per_trial == 1


@pytest.mark.parametrize(("name", "variant", "parameter", "training", "ood"), RANGES)
def test_tasks_fill_their_range_and_ood_lies_outside(
    name: str, variant: str, parameter: str, training: tuple[float, float], ood: tuple[float, float] | None
) -> None:
    family = made(name, variant)

    def ends(tasks: Tasks) -> tuple[float, float]:
        value = tasks.values[parameter]
        value = np.linalg.norm(value, axis=-1) if parameter == "goal" else value
        return float(value.min()), float(value.max())

    low, high = ends(family.tasks.sample(stream_keys(2000, "test")))
    margin = 0.05 * (training[1] - training[0])
    assert training[0] - 1e-6 <= low < training[0] + margin
    assert training[1] - margin < high <= training[1] + 1e-6
    if ood is None:
        assert family.ood is None
        return
    outside = family.splits.part("ood")
    assert ood[0] <= ends(outside)[0]
    assert ends(outside)[1] <= ood[1]
    for task in outside:
        assert not family.tasks.parameters[parameter].contains(task[parameter])


def test_goals_on_the_table_move_by_a_tenth_of_a_metre_and_ood_ones_further() -> None:
    family = made("Pusher")
    goals = np.abs(family.tasks.sample(stream_keys(500, "test")).values["goal"])
    assert 0.095 < goals.max() <= 0.1
    beyond = np.abs(family.splits.part("ood").values["goal"])
    assert (beyond.max(1) > 0.1).all()
    assert beyond.max() <= 0.2


@pytest.mark.parametrize("family", ["HalfCheetahVel", "AntDir", "HumanoidDir", "Walker2dRandParams", "Reacher"])
def test_all_published_seeds_share_one_set_of_tasks(family: str) -> None:
    assert made(family).splits.hash == made(family).splits.hash


# Starts.


@pytest.mark.parametrize(
    ("name", "position", "velocity", "normal"),
    [("HalfCheetahVel", 0.1, 0.1, True), ("AntGoal", 0.1, 0.1, True), ("HumanoidDir", 0.01, 0.01, False),
     ("Walker2dRandParams", 0.005, 0.005, False), ("HopperRandParams", 0.005, 0.005, False)],
)  # fmt: skip
def test_starts_are_the_models_own_with_uniform_or_normal_noise(
    name: str, position: float, velocity: float, normal: bool
) -> None:
    family = made(name)
    model = family.model
    assert family.draws == (model.nq + model.nv, 0)
    u = uniforms(stream_keys(3000, "test"), Domain.RESET, 0, 1, family.draws[0], dtype=torch.float64)[:, 0]
    qpos, qvel = (value.numpy() for value in family.start({}, u))
    noise = qpos - model.qpos0
    uniform = stats.uniform(-1, 2).cdf
    for column in noise.T / position:
        assert stats.kstest(column, uniform).pvalue > 1e-4
    for column in qvel.T / velocity:
        assert stats.kstest(column, "norm" if normal else uniform).pvalue > 1e-4
    both = np.concatenate([noise, qvel], 1)
    assert np.abs(np.corrcoef(both.T) - np.eye(both.shape[1])).max() < 0.1


def test_the_reacher_starts_folded_out_with_the_goal_where_the_task_has_it() -> None:
    family = made("Reacher")
    u = uniforms(stream_keys(3000, "test"), Domain.RESET, 0, 1, 4, dtype=torch.float64)[:, 0]
    goal = torch.tensor([0.05, -0.1], dtype=torch.float64).expand(3000, 2)
    qpos, qvel = family.start({"goal": goal}, u)
    assert torch.equal(qpos[:, 2:], goal)
    assert not qvel[:, 2:].any()
    uniform = stats.uniform(-1, 2).cdf
    for column in (*(qpos[:, :2] / 0.1).T, *(qvel[:, :2] / 0.005).T):
        assert stats.kstest(column.numpy(), uniform).pvalue > 1e-4


@pytest.mark.parametrize("goal", [(0.0, 0.0), (-0.1, 0.1), (-0.2, -0.2)])
def test_the_pushers_cylinder_starts_where_gymnasiums_does_away_from_the_goal(goal: tuple[float, float]) -> None:
    family, n = made("Pusher"), 4000
    u = uniforms(stream_keys(n, "test"), Domain.RESET, 0, 1, family.draws[0], dtype=torch.float64)[:, 0]
    place = torch.tensor(goal, dtype=torch.float64).expand(n, 2)
    qpos, qvel = family.start({"goal": place}, u)
    assert not qpos[:, :7].any()
    assert torch.equal(qpos[:, 9:], place)
    assert not qvel[:, 7:].any()
    assert stats.kstest((qvel[:, 0] / 0.005).numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    cylinder = qpos[:, 7:9].numpy()
    assert (np.linalg.norm(cylinder - goal, axis=1) > 0.17).all()
    assert ((cylinder >= (-0.3, -0.2)) & (cylinder <= (0, 0.2))).all()
    # Uniform over what is left of the rectangle, as when Gymnasium draws again until it is far enough.
    reference = np.random.default_rng(0).uniform((-0.3, -0.2), (0, 0.2), (40000, 2))
    reference = reference[np.linalg.norm(reference - goal, axis=1) > 0.17]
    for axis in (0, 1):
        assert stats.ks_2samp(cylinder[:, axis], reference[:, axis]).pvalue > 1e-4


# Goals are hidden.


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("HalfCheetahVel", {"velocity": 0.5}, {"velocity": 2.5}),
        ("HalfCheetahDir", {"direction": -1.0}, {"direction": 1.0}),
        ("AntDir", {"angle": 0.5}, {"angle": 2.5}),
        ("AntVel", {"velocity": 0.5}, {"velocity": 2.5}),
        ("AntGoal", {"goal": (1.0, 0.0)}, {"goal": (0.0, 2.0)}),
        ("HumanoidDir", {"angle": 0.5}, {"angle": 2.5}),
        ("Reacher", {"goal": (0.1, 0.0)}, {"goal": (0.0, -0.1)}),
        ("Pusher", {"goal": (-0.01, 0.01)}, {"goal": (0.01, -0.02)}),
    ],
)
def test_another_goal_changes_rewards_and_not_observations(name: str, one: Any, other: Any) -> None:
    family, key = made(name), stream_keys(1, "test").expand(2, 2)
    batch = family.batch(Tasks.stack([family.validate(task) for task in (one, other)]), key)
    seen = [batch.reset()]
    for action in 0.1 * torch.ones(3, 1, *family.action_space.shape):  # type: ignore[misc]
        step = batch.step(action.expand(2, -1))
        assert step.reward[0] != step.reward[1]
        seen.append(step.observation)
    for observation in seen:
        assert torch.equal(observation[0], observation[1])
