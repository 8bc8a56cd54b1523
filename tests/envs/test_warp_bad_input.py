"""What the warp engine refuses, each in one line with the remedy; none of this compiles a kernel."""

import pickle
import sys
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.envs import FAMILIES
from metarl.envs.engine.arrays import Array
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.physics import TaskArrays
from metarl.envs.half_cheetah import HalfCheetah
from metarl.family import family_class, make_family
from metarl.tasks import Tasks, TaskSpace, Uniform

CHEETAH = "metarl/HalfCheetahVel-v0"
HUMANOID = "metarl/HumanoidDir-v0"
MUJOCO = [name for name in FAMILIES if issubclass(family_class(name), MujocoFamily) and name != HUMANOID]
N = 2


class Cheetah(HalfCheetah):
    """A cheetah whose model a test makes up."""

    tasks = TaskSpace(x=Uniform(0.5, 2.0))
    default_task = {"x": 1.0}  # noqa: RUF012
    varied: str | None = None
    flags = 0

    def edit(self, spec: mujoco.MjSpec) -> None:
        spec.option.enableflags |= self.flags

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        if self.varied is None:
            return {}
        value = self.constant(self.varied, task["x"])
        return {self.varied: np.stack([value] * len(task["x"]))}


class Inverse(Cheetah):
    """A cheetah whose model compares forward with inverse dynamics."""

    flags = mujoco.mjtEnableBit.mjENBL_FWDINV.value


def warp_batch(family: Any, n: int = N, dtype: torch.dtype = torch.float32) -> Any:
    pytest.importorskip("mujoco_warp", reason="the extra warp is not installed")
    family.use_engine("warp")
    return family.batch(Tasks.stack([family.default()] * n), stream_keys(n, "test"), dtype=dtype)


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(MetaRLError, match=r"no engine 'wrap'; choose mujoco or warp. Did you mean warp"):
        make_family(CHEETAH, engine="wrap")
    with pytest.raises(MetaRLError, match=r"only families of one MuJoCo model .* leave it out"):
        make_family("metarl/GridNavi-v0", engine="warp")


def test_warp_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("metarl.envs.engine.warp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    family = make_family(CHEETAH)
    with pytest.raises(MetaRLError, match=r"pip install 'metarl-suite\[warp\]'"):
        family.use_engine("warp")
    assert family.engine == "mujoco"


def test_a_model_with_what_warp_lacks() -> None:
    with pytest.raises(MetaRLError, match=r"cannot step it \(mjENBL_FWDINV is unsupported.\); use --engine mujoco"):
        warp_batch(Inverse())
    with pytest.raises(MetaRLError, match=r"HumanoidDir.*mjSOL_PGS is unsupported.*use --engine mujoco"):
        warp_batch(make_family(HUMANOID))


@pytest.mark.parametrize("name", ["opt.impratio", "body_contype"])
def test_a_field_that_warp_cannot_vary(name: str) -> None:
    family = Cheetah()
    family.varied = name
    with pytest.raises(MetaRLError, match=rf"Cheetah.*{name}.*use --engine mujoco"):
        warp_batch(family)


def test_a_field_that_warp_has_not() -> None:
    family = Cheetah()
    family.remembers = ("qpos", "geom_xquat")
    with pytest.raises(MetaRLError, match=r"reads 'geom_xquat', which mujoco-warp has not; use --engine mujoco"):
        warp_batch(family)


def test_too_many_worlds_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco_warp", reason="the extra warp is not installed")
    monkeypatch.setattr("metarl.envs.engine.warp_worlds.free_bytes", lambda: 1 << 20)
    with pytest.raises(
        MetaRLError, match=r"^64 worlds of .* take at least .* GiB are free on cpu; make at most \d+ at"
    ):
        warp_batch(make_family(CHEETAH), 64)


def test_numbers_of_tasks_types_and_copies() -> None:
    family = make_family(CHEETAH)
    with pytest.raises(MetaRLError, match=r"computes in torch.float32; choose that"):
        warp_batch(family, dtype=torch.float64)
    with pytest.raises(MetaRLError, match=r"1 tasks for 2 environments"):
        family.batch(Tasks.stack([family.default()]), stream_keys(2, "test"))
    batch = warp_batch(family)
    with pytest.raises(MetaRLError, match=r"must have \(2, 6\)"):
        batch.step(torch.zeros(2, 5))
    with pytest.raises(MetaRLError, match=r"not pickled or copied"):
        pickle.dumps(batch)


def test_fields_are_warps_own_memory_and_only_what_tasks_vary_is_kept_by_world() -> None:
    batch = warp_batch(make_family("metarl/Payload-v0"), 3)
    worlds = batch._worlds
    assert worlds.fields["qpos"].data_ptr() == worlds._data.qpos.ptr
    shapes = {name: getattr(worlds._model, name).shape[0] for name in ("body_mass", "body_invweight0", "geom_friction")}
    assert shapes == {"body_mass": 3, "body_invweight0": 3, "geom_friction": 1}
    sloped = warp_batch(make_family("metarl/Slope-v0"), 3)
    assert sloped._worlds._model.opt.gravity.shape[0] == 3
    assert sloped._worlds._own["opt.gravity"].data_ptr() == sloped._worlds._model.opt.gravity.ptr


@pytest.mark.parametrize("name", MUJOCO)
def test_every_other_family_of_ours_can_be_put_on_it(name: str) -> None:
    batch = warp_batch(make_family(name))
    assert set(batch._worlds.fields) == set(batch.family.fields)
    shapes = {key: value.shape[1:] for key, value in batch._worlds.fields.items()}
    usual = mujoco.MjData(batch.family.model)
    assert shapes == {key: np.shape(getattr(usual, key)) for key in shapes}


def test_a_run_keeps_its_engine_and_is_not_resumed(tmp_path: Path) -> None:
    pytest.importorskip("mujoco_warp", reason="the extra warp is not installed")
    from metarl.algorithm.registry import agent_class
    from metarl.experiments.options import TrainingOptions
    from metarl.experiments.run import Run

    config = agent_class("rl2").presets["default"]
    path, of = tmp_path / "run", ("rl2", CHEETAH, None, config)
    Run.create(path, *of, engine="warp")
    run = Run.open(path)
    assert (run.engine, run.family().engine, run.resumable) == ("warp", "warp", False)
    model: Any = run.new_model(0)
    model.num_timesteps = 5
    with pytest.raises(MetaRLError, match=r"engine warp .* cannot be resumed exactly; .* --init-from"):
        run._train(model, *[None] * 3, TrainingOptions())  # type: ignore[list-item]
    usual = Run.create(tmp_path / "usual", *of)
    assert usual.resumable
    assert "engine" not in (tmp_path / "usual" / "run.json").read_text()
    with pytest.raises(MetaRLError, match=r"not trained with --engine warp; resume it with its own command"):
        Run.create(tmp_path / "usual", *of, resume=True, engine="warp")
