"""What the MuJoCo engine refuses: models, fields, tasks, devices and sizes; each error says what to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.envs.ant import Ant
from metarl.envs.engine.arrays import Array
from metarl.envs.engine.model_fields import check_fits_memory
from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.physics import TaskArrays
from metarl.envs.half_cheetah import HalfCheetah
from metarl.envs.random_dynamics import AntRandParams
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks, TaskSpace, Uniform

N = 2
Physics = Callable[[MujocoFamily, Array], dict[str, Array]]


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo writes what it warns of into the working folder."""
    monkeypatch.chdir(tmp_path)


class Cheetah(HalfCheetah):
    """A cheetah whose physics a test makes up from one number of the task."""

    tasks = TaskSpace(x=Uniform(-5, 5))
    default_task = {"x": 1.0}  # noqa: RUF012
    made_up: Physics | None = None

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        return {} if self.made_up is None else self.made_up(self, task["x"])


class LongTasks(Tasks):
    """A thousand million tasks that take no memory."""

    def __len__(self) -> int:
        return 10**9

    values: dict[str, Any] = {}  # noqa: RUF012


def batch_of(made_up: Any, x: tuple[float, ...] = (1.0, 1.0)) -> MujocoBatch:
    family = Cheetah()
    family.made_up = made_up
    batch = family.batch(Tasks({"x": list(x)}), stream_keys(N, "test"), dtype=torch.float64)
    assert isinstance(batch, MujocoBatch)
    return batch


def times(name: str) -> Physics:
    """The model's own values, all times x."""

    def physics(family: MujocoFamily, x: Array) -> dict[str, Array]:
        field = family.constant(name, x)
        return {name: field * x.reshape(-1, *[1] * field.ndim)}

    return physics


def only(name: str, *shape: int) -> Physics:
    return lambda family, x: {name: np.ones(shape)}


@pytest.mark.parametrize(
    ("made_up", "x", "message"),
    [
        (only("body_mas", N, 8), (1, 1), r"'body_mas', which is no field .* do you mean 'body_mass'\?"),
        (only("gravity", N, 3), (1, 1), r"do you mean 'opt.gravity'\?"),
        (only("nothing_like_it", N), (1, 1), "no field .* see mujoco.batch.MODEL_FIELDS"),
        (only("mesh_vert", N, 3), (1, 1), "'mesh_vert', which is no field of the model that can vary"),
        (only("qpos", N, 9), (1, 1), "'qpos', which is no field of the model that can vary"),
        (only("nbody", N), (1, 1), "'nbody', which is no field of the model that can vary"),
        (only("body_mass", N), (1, 1), r"'body_mass' with shape \(2,\); return one \(8,\) for each of 2 .*\(2, 8\)"),
        (only("body_mass", 8), (1, 1), r"'body_mass' with shape \(8,\)"),
        (only("opt.gravity", N), (1, 1), r"'opt.gravity' with shape \(2,\); return one \(3,\)"),
        (
            times("body_mass"),
            (1, -1),
            r"'body_mass' to -6.* \(environment 1, element .*1.*\); masses and inertias must",
        ),
        (times("body_mass"), (0, 1), r"'body_mass' to 0 \(environment 0"),
        (times("body_inertia"), (1, 0), r"'body_inertia' to 0 \(environment 1"),
        (times("body_mass"), (1, np.nan), "'body_mass' to numbers that are not finite"),
        (times("geom_friction"), (np.inf, 1), "'geom_friction' to numbers that are not finite"),
        (lambda family, x: {"body_mass": family.constant("body_mas", x)}, (1, 1), "have no field 'body_mas'"),
        (lambda family, x: {"opt.gravity": family.constant("opt.gravty", x)}, (1, 1), "have no field 'opt.gravty'"),
    ],
)
def test_fields_that_cannot_be_set_are_refused_before_anything_is_stepped(
    made_up: Any, x: tuple[float, float], message: str
) -> None:
    with pytest.raises(MetaRLError, match=rf"Cheetah:default: .*{message}" if "have no" not in message else message):
        batch_of(made_up, x)


def test_zero_masses_of_the_models_own_are_no_mistake() -> None:
    batch = batch_of(times("body_mass"), (1.0, 2.0))  # the world's is zero
    assert batch._simulations.get_model(1).body_mass[0] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        times("dof_damping"),  # with x not finite
        lambda family, x: {"dof_damping": family.constant("dof_damping", x)},  # of the wrong shape
        lambda family, x: {"dof_dampin": x},
    ],
)
def test_where_one_field_is_wrong_none_is_written(wrong: Physics) -> None:
    def made_up(family: MujocoFamily, x: Array) -> dict[str, Array]:
        good = times("body_mass")(family, np.nan_to_num(x, nan=3.0))
        if np.isfinite(x).all():
            return {**good, **times("dof_damping")(family, x)}
        return {**good, **wrong(family, x), **times("geom_friction")(family, np.nan_to_num(x, nan=3.0))}

    batch = batch_of(made_up, (1.0, 2.0))
    names = ("body_mass", "dof_damping", "geom_friction", "dof_invweight0")
    before = [getattr(batch._simulations.get_model(i), name).copy() for i in range(N) for name in names]
    with pytest.raises(MetaRLError):
        batch.set_tasks(Tasks({"x": [np.nan, np.nan]}), torch.tensor([False, True]))
    after = [getattr(batch._simulations.get_model(i), name) for i in range(N) for name in names]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no MuJoCo model"),
        ("<mujoco><worldbody><body></mujoco>", "is no MuJoCo model"),
        ('<mujoco><worldbody><geom size="-1"/></worldbody></mujoco>', "does not compile"),
    ],
    ids=["missing", "broken", "senseless"],
)
def test_a_model_that_cannot_be_read_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    if text is not None:
        path.write_text(text)

    class Lost(Cheetah):
        asset = str(path)

    with pytest.raises(MetaRLError, match=rf"Lost:default: .*model\.xml {message}: .+"):
        Lost()


def test_a_name_is_looked_for_among_gymnasiums_assets() -> None:
    class Misspelt(Cheetah):
        asset = "half_cheeta.xml"

    with pytest.raises(MetaRLError, match=r"assets/half_cheeta\.xml is no MuJoCo model"):
        Misspelt()


@pytest.mark.parametrize(("family", "least"), [(HalfCheetah, 300), (Ant, 20_000), (AntRandParams, 20_000)])
def test_more_simulations_than_fit_into_memory_are_refused_before_any_is_made(
    family: type[MujocoFamily], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr("metarl.envs.engine.mujoco.Simulations", lambda *args, **options: made.append(1))

    class One(family):  # type: ignore[valid-type,misc]
        tasks = getattr(family, "tasks", TaskSpace(x=Uniform(0, 1)))

    with pytest.raises(MetaRLError, match=r"1,000,000,000 simulations of .*:default take .* GiB.*at most [\d,]+ at"):
        check_fits_memory(One(), 10**9)
    keys = torch.zeros(1, 2, dtype=torch.int64).expand(10**9, 2)  # takes no memory itself
    tasks = object.__new__(LongTasks)
    with pytest.raises(MetaRLError, match="1,000,000,000 simulations"):
        One().batch(tasks, keys)
    assert not made
    check_fits_memory(One(), 10)
    # A batch that needs more than the machine has is refused: at least that many bytes are counted for each.
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with pytest.raises(MetaRLError):
        check_fits_memory(One(), there // least)


def test_tasks_and_keys_must_be_as_many() -> None:
    family = Cheetah()
    tasks = Tasks.stack([family.default()] * 3)
    with pytest.raises(MetaRLError, match="3 tasks for 2 environments; give one task for each key"):
        family.batch(tasks, stream_keys(2, "test"))


@pytest.mark.parametrize(
    ("device", "message"), [("tpu", "Device 'tpu' is unknown"), ("meta", "Device 'meta' is not supported")]
)
def test_devices_that_are_not_there_are_refused(device: str, message: str) -> None:
    family = Cheetah()
    with pytest.raises(MetaRLError, match=message):
        family.batch(Tasks.stack([family.default()] * N), stream_keys(N, "test"), device)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qpoz", r"reads 'qpoz', which is no field of MuJoCo's data; do you mean 'qpos'\?"),
        ("cfrc_ext", "does not compute; set contact_forces = True"),
        ("subtree_linvel", "reads 'subtree_linvel', which a step of MuJoCo does not compute"),
    ],
)
def test_fields_that_a_step_does_not_give_are_refused(name: str, message: str) -> None:
    class Reads(Cheetah):
        reads = (name,)

    with pytest.raises(MetaRLError, match=message):
        Reads()


def test_a_mistake_in_observe_is_shown_as_what_it_is() -> None:
    class Misspelt(Cheetah):
        def observe(self, data: Any, task: TaskArrays) -> Array:
            return self.jion(data["qpos"])  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="jion"):
        Misspelt()


def test_a_task_that_cannot_be_leaves_a_view_on_the_one_it_had() -> None:
    class Light(Cheetah):
        def physics(self, task: TaskArrays) -> dict[str, Array]:
            mass = self.constant("body_mass", task["x"])
            return {"body_mass": mass * task["x"][:, None]}

    family = Light()
    single, vector = TaskEnv(family), TaskVectorEnv(family, 2)
    for env in (single, vector):
        env.reset(seed=0)
        with pytest.raises(MetaRLError, match="masses and inertias must be positive"):
            env.reset(options={"task": {"x": -1.0}})
        env.reset()
    assert single.task["x"] == 1.0
    observation, _, _, _, info = vector.step(np.zeros((2, 6), np.float32))
    assert info["task"]["x"].tolist() == [1.0, 1.0]
    assert np.isfinite(observation).all()


def test_half_precision_is_refused() -> None:
    family = Cheetah()
    with pytest.raises(MetaRLError, match=r"dtype=torch.bfloat16: .* choose one"):
        family.batch(Tasks.stack([family.default()]), stream_keys(1, "test"), dtype=torch.bfloat16)
