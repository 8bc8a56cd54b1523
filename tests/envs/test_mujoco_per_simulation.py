"""Tasks that set fields of the model: each simulation against a model of its own, compiled for its task alone."""

from collections.abc import Callable
from pathlib import Path

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

N = 3
STEPS = 220
RAND_PARAMS = ("HalfCheetahRandParams", "Walker2dRandParams", "HopperRandParams", "AntRandParams")
Build = Callable[[Task], mujoco.MjModel]
# The cheetah's file sets its total mass, which MuJoCo 4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:compiler attribute 'settotalmass' is deprecated")


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    monkeypatch.chdir(tmp_path)


def spec_of(asset: str) -> mujoco.MjSpec:
    return mujoco.MjSpec.from_file(str(Path(gymnasium.__file__).parent / "envs/mujoco/assets" / asset))


def with_constants(model: mujoco.MjModel) -> mujoco.MjModel:
    """What MuJoCo derives from fields that were changed after compiling."""
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def random_cheetah(task: Task) -> mujoco.MjModel:
    return multiplied(spec_of("half_cheetah.xml"), task)


def random_ant(task: Task) -> mujoco.MjModel:
    return multiplied(spec_of("ant.xml"), task)


def random_walker(task: Task) -> mujoco.MjModel:
    spec = spec_of("walker2d_v5.xml")
    spec.geom("foot_geom").friction[0] = 0.9
    return multiplied(spec, task, literature=True)


def random_hopper(task: Task) -> mujoco.MjModel:
    return multiplied(spec_of("hopper.xml"), task, literature=True)


def multiplied(spec: mujoco.MjSpec, task: Task, literature: bool = False) -> mujoco.MjModel:
    if literature:
        spec.option.timestep, spec.option.integrator = 0.004, mujoco.mjtIntegrator.mjINT_RK4
    model = spec.compile()
    for name in ("body_mass", "body_inertia", "geom_friction", "dof_damping"):
        getattr(model, name)[:] *= task[name]
    return with_constants(model)


def damaged(task: Task) -> mujoco.MjModel:
    spec = spec_of("half_cheetah.xml")
    spec.actuators[int(task["motor"])].gear[0] *= task["strength"]
    return spec.compile()


def loaded(task: Task) -> mujoco.MjModel:
    model = spec_of("half_cheetah.xml").compile()
    torso = model.body("torso")
    torso.mass[:], torso.inertia[:] = torso.mass * task["load"], torso.inertia * task["load"]
    return with_constants(model)


def sloping(task: Task) -> mujoco.MjModel:
    spec = spec_of("half_cheetah.xml")
    spec.option.gravity = -9.81 * np.array([np.sin(task["angle"]), 0.0, np.cos(task["angle"])])
    return spec.compile()


CASES: dict[str, Build] = {
    "HalfCheetahRandParams": random_cheetah,
    "AntRandParams": random_ant,
    "Walker2dRandParams": random_walker,
    "HopperRandParams": random_hopper,
    "DamagedLimb": damaged,
    "Payload": loaded,
    "Slope": sloping,
}


def family_of(name: str) -> MujocoFamily:
    family = make_family(f"metarl/{name}-v0")
    assert isinstance(family, MujocoFamily)
    family.horizon = STEPS + 1
    return family


def actions_for(family: MujocoFamily, steps: int, n: int) -> NDArray[np.float64]:
    low, high = family.model.actuator_ctrlrange.T
    return np.random.default_rng(0).uniform(low, high, (steps, n, len(low)))


@pytest.mark.parametrize("name", CASES)
def test_each_simulation_equals_a_model_of_its_own(name: str) -> None:
    family = family_of(name)
    tasks = family.tasks.sample(stream_keys(N, "test"))
    models = [CASES[name](task) for task in tasks]
    datas = [mujoco.MjData(model) for model in models]
    batch = family.batch(tasks, stream_keys(N, "test"), dtype=torch.float64)
    rows, ours, theirs, largest = torch.ones(N, dtype=torch.bool), [], [], 0.0
    for step, actions in enumerate(actions_for(family, STEPS, N)):
        if rows.any():
            batch.reset(step, None if rows.all() else rows)
        for i in np.flatnonzero(rows):
            mujoco.mj_resetData(models[i], datas[i])
            datas[i].qpos[:], datas[i].qvel[:] = batch.state["qpos"][i], batch.state["qvel"][i]
            mujoco.mj_forward(models[i], datas[i])
        result = batch.step(torch.from_numpy(actions))
        assert not result.extras["unstable"].any()
        for i, (model, data) in enumerate(zip(models, datas, strict=True)):
            data.ctrl[:] = actions[i]
            mujoco.mj_step(model, data, nstep=family.frame_skip)
            mujoco.mj_rnePostConstraint(model, data)
            ours.append(torch.cat([batch.state["qpos"][i], batch.state["qvel"][i]]).numpy().copy())
            theirs.append(np.concatenate([data.qpos, data.qvel]))
            if family.contact_forces:
                np.testing.assert_array_equal(batch._data["cfrc_ext"][i], data.cfrc_ext)
                largest = max(largest, float(np.abs(data.cfrc_ext[1:]).max()))
        rows = result.terminated
    np.testing.assert_allclose(np.array(ours), np.array(theirs), atol=1e-9, rtol=0)
    assert largest > 10 or not family.contact_forces


@pytest.mark.parametrize("name", CASES)
def test_different_tasks_move_differently_from_the_same_start(name: str) -> None:
    family = family_of(name)
    tasks = family.tasks.sample(stream_keys(N, "test"))
    batch = family.batch(tasks, stream_keys(1, "test").expand(N, 2), dtype=torch.float64)
    batch.reset()
    assert (batch.state["qpos"] == batch.state["qpos"][0]).all()
    for actions in actions_for(family, 3, 1):
        batch.step(torch.from_numpy(actions).expand(N, -1))
    assert len(np.unique(batch.state["qvel"].numpy(), axis=0)) == N


@pytest.mark.parametrize("name", RAND_PARAMS)
def test_every_element_of_the_physics_has_a_factor_of_its_own(name: str) -> None:
    family = family_of(name)
    drawn = family.tasks.sample(stream_keys(2000, "test")).values
    assert set(drawn) == {"body_mass", "body_inertia", "geom_friction", "dof_damping"}
    for field, factor in drawn.items():
        assert factor.shape[1:] == getattr(family.model, field).shape
        exponent = np.log(factor) / np.log(1.3 if field == "dof_damping" else 1.5)
        assert np.abs(exponent).max() <= 3 + 1e-9
        assert exponent.min() < -2.9
        assert exponent.max() > 2.9
        np.testing.assert_allclose(exponent.mean(0), 0, atol=0.2)  # four standard errors
        correlation = np.corrcoef(exponent.reshape(2000, -1).T)
        assert np.abs(correlation - np.eye(len(correlation))).max() < 0.12


def test_a_new_task_changes_its_own_simulation_only() -> None:
    family = family_of("AntRandParams")
    tasks = family.tasks.sample(stream_keys(2 * N, "test"))
    batch = family.batch(tasks[:N], stream_keys(N, "test"), dtype=torch.float64)
    batch.reset()
    models = [batch._simulations.get_model(i) for i in range(N)]
    middle = torch.tensor([False, True, False])
    batch.set_tasks(tasks[N:], middle)
    batch.reset(1, middle)
    for i, old in enumerate(models):
        task = tasks[N + i] if i == 1 else tasks[i]
        expected, new = random_ant(task), batch._simulations.get_model(i)
        for field in ("body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_invweight0"):
            np.testing.assert_array_equal(getattr(new, field), getattr(expected, field))
            assert np.array_equal(getattr(new, field), getattr(old, field)) is (i != 1)
    fresh = family.batch(Tasks.stack([tasks[0], tasks[N + 1], tasks[2]]), stream_keys(N, "test"), dtype=torch.float64)
    fresh.reset(1)
    for actions in actions_for(family, 20, N):
        ours, theirs = (b.step(torch.from_numpy(actions)) for b in (batch, fresh))
        assert torch.equal(ours.reward[1], theirs.reward[1])
        assert torch.equal(ours.observation[1], theirs.observation[1])


def test_the_model_of_the_family_is_never_written_to() -> None:
    family = family_of("Payload")
    before = family.model.body_mass.copy()
    batch = family.batch(Tasks({"load": [2.0, 1.5]}), stream_keys(2, "test"))
    batch.reset()
    batch.step(torch.zeros(2, 6))
    np.testing.assert_array_equal(family.model.body_mass, before)
    assert batch._simulations.get_model(0).body("torso").mass == 2 * family.model.body("torso").mass
