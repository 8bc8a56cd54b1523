"""MuJoCo families against Gymnasium's single environments and against MuJoCo's own loop: every step of every number.

What is observed, paid and ended on is written out here again, in NumPy and from the single environment's own data.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metarl.core.random import stream_keys
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family import make_family
from metarl.tasks import Task, Tasks

Array = NDArray[np.float64]
Observe = Callable[[mujoco.MjData], list[Array]]
Outcome = Callable[[SimpleNamespace, mujoco.MjData, Array, Task], tuple[float, bool]]
Definition = tuple[Observe, Outcome]


ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
N = 3
STEPS = 1000  # of each of the simulations


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    monkeypatch.chdir(tmp_path)


class Single:
    """One environment of Gymnasium's, or one simulation of a model of the test's own."""

    def __init__(self, model: mujoco.MjModel, frame_skip: int = 5, env: Any = None) -> None:
        self.model, self.frame_skip, self.env = model, frame_skip, env
        self.data = env.data if env is not None else mujoco.MjData(model)

    def restart(self, qpos: Array, qvel: Array) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Array) -> float | None:
        """The reward, where Gymnasium has one."""
        if self.env is not None:
            return float(self.env.step(action)[1])
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, nstep=self.frame_skip)
        mujoco.mj_rnePostConstraint(self.model, self.data)
        return None

    def before(self) -> SimpleNamespace:
        return SimpleNamespace(**{name: getattr(self.data, name).copy() for name in ("qpos", "xpos", "xipos")})


def gymnasiums(name: str) -> Single:
    env = gymnasium.make(name).unwrapped
    env.reset(seed=0)
    return Single(env.model, env=env)  # type: ignore[attr-defined]


def rand_param(asset: str, gear: float, frame_skip: int) -> Single:
    """rand_param_envs' walker or hopper, from Gymnasium's bodies: nothing but the numbers of its own files."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / asset))
    spec.option.timestep, spec.option.integrator = 0.004, mujoco.mjtIntegrator.mjINT_RK4
    for geom in spec.geoms:
        if geom.name != "floor":
            geom.friction[0] = 1.9 if geom.name == "foot_left_geom" else 0.9
    if asset == "hopper.xml":
        spec.geom("foot_geom").friction[0] = 2.0
    for motor in spec.actuators:
        motor.gear[0], motor.ctrlrange = gear, (-1.0, 1.0)
    return Single(spec.compile(), frame_skip)


def with_weak_motor(single: Single) -> Single:
    """Its first motor has half of its strength, as on the default task of DamagedLimb."""
    single.model.actuator_gear[0] *= 0.5
    return single


SINGLES: dict[str, Callable[[], Single]] = {
    **{name: lambda name=name: gymnasiums(f"{name}-v5") for name in ("HalfCheetah", "Ant", "Humanoid")},  # type: ignore[misc]
    **{name: lambda name=name: gymnasiums(f"{name}-v5") for name in ("Reacher", "Pusher")},  # type: ignore[misc]
    "HalfCheetah, first motor at half": lambda: with_weak_motor(gymnasiums("HalfCheetah-v5")),
    "walker 5": lambda: rand_param("walker2d_v5.xml", 100, 5),
    "walker 4": lambda: rand_param("walker2d_v5.xml", 100, 4),
    "hopper 4": lambda: rand_param("hopper.xml", 200, 4),
}


# The definitions: what is seen, and reward and end.


def cheetah(pay: Callable[[float, Task], float], cost: float, torso: bool) -> Definition:
    def observe(data: mujoco.MjData) -> list[Array]:
        return [data.qpos[1:], data.qvel, *([data.body("torso").xpos] if torso else [])]

    def outcome(before: SimpleNamespace, data: mujoco.MjData, a: Array, task: Task) -> tuple[float, bool]:
        return pay((data.qpos[0] - before.qpos[0]) / 0.05, task) - cost * (a**2).sum(), False

    return observe, outcome


def ant(pay: Callable[[Array, Array, Task], Any], cost: float, alive: float, seen: str, low: float = 0.2) -> Definition:
    def observe(data: mujoco.MjData) -> list[Array]:
        parts = [data.qpos if "place" in seen else data.qpos[2:], data.qvel]
        parts += [np.clip(data.cfrc_ext, -1, 1)] if "forces" in seen else []
        return parts + ([data.body("torso").xmat, data.body("torso").xpos] if "torso" in seen else [])

    def outcome(before: SimpleNamespace, data: mujoco.MjData, a: Array, task: Task) -> tuple[float, bool]:
        place = data.body("torso").xpos[:2]
        forces = 5e-4 * (np.clip(data.cfrc_ext, -1, 1) ** 2).sum()
        reward = pay((place - before.xpos[1, :2]) / 0.05, place, task) - cost * (a**2).sum() - forces + alive
        return reward, "place" not in seen and not low <= data.qpos[2] <= 1

    return observe, outcome


def humanoid() -> Definition:
    def observe(data: mujoco.MjData) -> list[Array]:
        return [data.qpos[2:], data.qvel, data.cinert, data.cvel, data.qfrc_actuator, data.cfrc_ext]

    def outcome(before: SimpleNamespace, data: mujoco.MjData, a: Array, task: Task) -> tuple[float, bool]:
        mass = data.model.body_mass
        centres = [(mass[:, None] * xipos).sum(0) / mass.sum() for xipos in (before.xipos, data.xipos)]
        along = (centres[1] - centres[0])[:2] @ (np.cos(task["angle"]), np.sin(task["angle"]))
        impact = min(5e-7 * (data.cfrc_ext**2).sum(), 10)
        return 0.25 * along / 0.003 - 0.1 * (a**2).sum() - impact + 5, not 1 <= data.qpos[2] <= 2

    return observe, outcome


def walking(dt: float, fallen: Callable[[Array, Array], bool]) -> Definition:
    return (
        lambda data: [data.qpos[1:], np.clip(data.qvel, -10, 10)],
        lambda before, data, a, task: (
            (data.qpos[0] - before.qpos[0]) / dt + 1 - 1e-3 * (a**2).sum(),
            fallen(data.qpos, data.qvel),
        ),
    )


def hopper_falls(q: Array, v: Array) -> bool:
    return not (q[1] > 0.7 and abs(q[2]) < 0.2 and (np.abs(np.concatenate([q, v])[2:]) < 100).all())


def distance(data: mujoco.MjData, one: str, other: str) -> float:
    return float(np.linalg.norm(data.body(one).xpos - data.body(other).xpos))


WALKER_5, WALKER_4 = (walking(dt, lambda q, v: not (0.8 < q[1] < 2 and abs(q[2]) < 1)) for dt in (0.02, 0.016))
REACHER: Definition = (
    lambda data: [np.cos(data.qpos[:2]), np.sin(data.qpos[:2]), data.qvel[:2]],
    lambda before, data, a, task: (-distance(data, "fingertip", "target") - (a**2).sum(), False),
)
PUSHER: Definition = (
    lambda data: [data.qpos[:7], data.qvel[:7], data.body("tips_arm").xpos, data.body("object").xpos],
    lambda before, data, a, task: (
        -distance(data, "object", "goal") - 0.5 * distance(data, "object", "tips_arm") - 0.1 * (a**2).sum(),
        False,
    ),
)
AT_VELOCITY = cheetah(lambda v, task: -abs(v - task["velocity"]), 0.05, True)
ALONG = lambda v, place, task: v @ (np.cos(task["angle"]), np.sin(task["angle"]))  # noqa: E731
ANT_VEL = ant(lambda v, place, task: 1 - abs(v[0] - task["velocity"]), 0.005, 0.05, "forces torso")
ANT_GOAL = ant(lambda v, place, task: -np.abs(place - task["goal"]).sum(), 0.1, 0, "place forces")

CASES: list[tuple[str, str, str, Definition]] = [
    ("HalfCheetahVel", "pearl", "HalfCheetah", AT_VELOCITY),
    ("HalfCheetahVel", "promp", "HalfCheetah", (cheetah(lambda v, t: 0, 0, False)[0], AT_VELOCITY[1])),
    ("HalfCheetahDir", "maml", "HalfCheetah", cheetah(lambda v, t: t["direction"] * v, 0.05, True)),
    ("HalfCheetahDir", "promp", "HalfCheetah", cheetah(lambda v, t: t["direction"] * v, 0.05, False)),
    ("HalfCheetahRandParams", "default", "HalfCheetah", cheetah(lambda v, t: v, 0.1, False)),
    ("Payload", "default", "HalfCheetah", cheetah(lambda v, t: v, 0.1, False)),
    ("Slope", "default", "HalfCheetah", cheetah(lambda v, t: v, 0.1, False)),
    ("DamagedLimb", "default", "HalfCheetah, first motor at half", cheetah(lambda v, t: v, 0.1, False)),
    ("AntDir", "pearl", "Ant", ant(ALONG, 0.5, 1, "")),
    ("AntDir", "promp", "Ant", ant(ALONG, 0.5, 1, "forces", 0.0)),
    ("AntDir", "maml", "Ant", ant(ALONG, 0.005, 0.05, "forces torso")),
    ("AntVel", "maml", "Ant", ANT_VEL),
    ("AntGoal", "pearl", "Ant", ANT_GOAL),
    ("AntRandParams", "default", "Ant", ant(lambda v, place, task: v[0], 0.5, 1, "")),
    ("HumanoidDir", "pearl", "Humanoid", humanoid()),
    ("Walker2dRandParams", "pearl", "walker 5", WALKER_5),
    ("Walker2dRandParams", "varibad", "walker 4", WALKER_4),
    ("HopperRandParams", "pearl", "hopper 4", walking(0.016, hopper_falls)),
    ("Reacher", "default", "Reacher", REACHER),
    ("Pusher", "default", "Pusher", PUSHER),
]
NEVER_END = ("HalfCheetah", "Payload", "Slope", "DamagedLimb", "AntGoal", "Reacher", "Pusher")
# Those of ours that pay what Gymnasium's environment pays.
AS_GYMNASIUM = ("HalfCheetahRandParams", "Payload", "Slope", "DamagedLimb", "AntRandParams", "Reacher", "Pusher")


def check(family: MujocoFamily, singles: list[Single], definition: Definition, as_gymnasium: bool) -> int:
    """Step both with the same actions, each simulation anew where it ends, and compare; returns how often one ended."""
    (observe, outcome), task = definition, family.default()
    family.horizon = STEPS + 1
    batch = family.batch(Tasks.stack([task] * N), stream_keys(N, "test"), dtype=torch.float64)
    rng, ends, rows = np.random.default_rng(0), 0, torch.ones(N, dtype=torch.bool)
    low, high = family.action_space.low, family.action_space.high  # type: ignore[attr-defined]
    ours, theirs = [], []
    for _ in range(STEPS):
        if rows.any():
            seen = batch.reset(ends, None if rows.all() else rows)
            for i in torch.nonzero(rows)[:, 0].tolist():
                singles[i].restart(batch.state["qpos"][i].numpy(), batch.state["qvel"][i].numpy())
                ours.append(seen[i].numpy().copy())
                theirs.append(np.concatenate([part.flatten() for part in observe(singles[i].data)]))
        actions = rng.uniform(low, high, (N, len(low)))
        result = batch.step(torch.from_numpy(actions))
        for i, single in enumerate(singles):
            before = single.before()
            paid = single.step(actions[i])
            data = single.data
            reward, ended = outcome(before, data, actions[i], task)
            assert bool(result.terminated[i]) is bool(ended)
            assert not result.truncated[i]
            state = [batch.state["qpos"][i], batch.state["qvel"][i], result.observation[i], result.reward[i : i + 1]]
            ours.append(torch.cat(state).numpy())
            numbers = [data.qpos, data.qvel, *(part.flatten() for part in observe(data)), [reward]]
            theirs.append(np.concatenate(numbers))
            if as_gymnasium and not ended:
                np.testing.assert_allclose(reward, paid, atol=1e-9, rtol=0)
        rows = result.terminated
        ends += int(rows.any())
    assert [one.shape for one in ours] == [one.shape for one in theirs]
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(theirs), atol=1e-9, rtol=0)
    return ends


@pytest.mark.parametrize(("name", "variant", "single", "definition"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_a_batch_equals_single_environments(name: str, variant: str, single: str, definition: Definition) -> None:
    family = make_family(f"metarl/{name}-v0", variant)
    assert isinstance(family, MujocoFamily)
    ends = check(family, [SINGLES[single]() for _ in range(N)], definition, name in AS_GYMNASIUM)
    assert (ends == 0) is name.startswith(NEVER_END)


@pytest.mark.parametrize("name", ["AntGoal", "HumanoidDir"])
def test_contact_forces_are_mujocos_to_the_last_bit_and_zero_after_a_reset(name: str) -> None:
    family = make_family(f"metarl/{name}-v0")
    batch = family.batch(Tasks.stack([family.default()] * N), stream_keys(N, "test"), dtype=torch.float64)
    single, rng, largest = SINGLES["Ant" if name == "AntGoal" else "Humanoid"](), np.random.default_rng(0), 0.0
    batch.reset()
    assert not batch._data["cfrc_ext"].any()  # type: ignore[attr-defined]
    single.restart(*(batch.state[key][1].numpy() for key in ("qpos", "qvel")))  # type: ignore[attr-defined]
    low, high = family.action_space.low, family.action_space.high  # type: ignore[attr-defined]
    for step in range(100):
        actions = rng.uniform(low, high, (N, len(low)))
        single.step(actions[1])
        assert not batch.step(torch.from_numpy(actions)).terminated[1]
        np.testing.assert_array_equal(batch._data["cfrc_ext"][1], single.data.cfrc_ext)  # type: ignore[attr-defined]
        largest = max(largest, float(np.abs(single.data.cfrc_ext[1:]).max()))
        if step >= 8 and largest > 10 and single.data.cfrc_ext.any():
            break
    assert largest > 10  # N; the world's own row is left out
    assert batch._data["cfrc_ext"][1].any()  # type: ignore[attr-defined]
    others = batch._data["cfrc_ext"][[0, 2]].copy()  # type: ignore[attr-defined]
    batch.reset(1, torch.tensor([False, True, False]))
    assert not batch._data["cfrc_ext"][1].any()  # type: ignore[attr-defined]
    assert np.array_equal(batch._data["cfrc_ext"][[0, 2]], others)  # type: ignore[attr-defined]
