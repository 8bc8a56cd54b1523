"""Families of MuJoCo models: what varies, what is observed and what is paid for, on batched arrays of any engine."""

import difflib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.spaces import Box
from mujoco.batch import DATA_FIELDS

from metarl.core.errors import MetaRLError
from metarl.core.process import no_mujoco_log
from metarl.core.random import to_normal
from metarl.envs.engine.arrays import Array, namespace
from metarl.envs.engine.overlays import History, Mark, View
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Task, Tasks

Data = dict[str, Array]  # fields of MuJoCo's mjData by name, the environment axis first
TaskArrays = dict[str, Array]
Outcome = tuple[Array, Array | None] | tuple[Array, Array | None, dict[str, Array]]

_ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
_NOT_COMPUTED = ("cfrc_ext", "cfrc_int", "cacc", "subtree_linvel", "subtree_angmom", "qfrc_inverse")
_compiled: dict[tuple[type, str], mujoco.MjModel] = {}
no_mujoco_log()


class MujocoDeclaration(TaskFamily):
    """What a ``MujocoFamily`` declares. It draws no random numbers and knows no engine.

    A subclass names its model and defines ``start``, ``observe`` and ``outcome``, and ``physics`` where tasks vary the
    model, all on float64 arrays whose first axis is the environment (``arrays.py`` says which kinds there are). The
    observation space, unbounded, and the action space, the actuators' range, follow.

    Fields are as they are after ``mj_step``: ``qpos`` and ``qvel`` at the end of a control step, all that is derived
    from them (``xpos``, ``cinert``, ...) one physics step behind, as in Gymnasium; after a reset all are current.
    """

    asset: str  # the model: a file of Gymnasium's MuJoCo assets, or a path
    frame_skip: int = 5  # physics steps in a control step
    reads: tuple[str, ...] = ()  # fields that observe and outcome read, beside qpos and qvel
    remembers: tuple[str, ...] = ("qpos",)  # fields of which outcome is also given the value before the step
    contact_forces: bool = False  # whether cfrc_ext, which MuJoCo leaves at zero, is computed after every control step
    draws: tuple[int, int] = (0, 0)  # uniforms in (0, 1) that a reset needs; a step needs none
    view: View = View()  # from where pictures are taken

    @abstractmethod
    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        """``qpos (environment, nq)`` and ``qvel (environment, nv)`` at the start; ``u`` ``(environment, draws[0])``."""

    @abstractmethod
    def observe(self, data: Data, task: TaskArrays) -> Array:
        """Observations ``(environment, n)``."""

    @abstractmethod
    def outcome(self, before: Data, data: Data, action: Array, task: TaskArrays) -> Outcome:
        """Reward and terminated ``(environment,)`` of a control step, and named extras if there are any.

        All are new arrays, no views of the fields; terminated is ``None`` where episodes never terminate.
        ``before`` holds the fields of ``remembers`` as they were, ``action`` ``(environment, nu)`` the controls.
        """

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        """Fields of the model that the task sets, ``(environment, *shape of the field)``: ``{"body_mass": ...}``."""
        return {}

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Change the model before it is compiled, where the literature's differs."""

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model, one for all instances of a variant. Engines copy it; nobody writes to it."""
        key = (type(self), self.variant)
        if key not in _compiled:
            _compiled[key] = self._compile()
        return _compiled[key]

    def _compile(self) -> mujoco.MjModel:
        spec = self.spec()
        try:
            # MuJoCo 4 warns of this attribute and asks for these two calls in its place.
            total, spec.compiler.settotalmass = spec.compiler.settotalmass, -1
            model = spec.compile()
        except (ValueError, OSError) as error:
            raise MetaRLError(f"{self.name}: {self._path} does not compile: {error}") from error
        if total > 0:
            mujoco.mj_setTotalmass(model, total)
            mujoco.mj_setConst(model, mujoco.MjData(model))
        return model

    @property
    def _path(self) -> Path:
        return Path(self.asset) if Path(self.asset).is_absolute() else _ASSETS / self.asset

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled, edited as the family has it."""
        try:
            spec = mujoco.MjSpec.from_file(str(self._path))
            self.edit(spec)
        except (ValueError, OSError) as error:
            raise MetaRLError(f"{self.name}: {self._path} is no MuJoCo model: {error}") from error
        return spec

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        """For comparison only: neither is the best that a reference policy can do who does not know the task."""
        still = FunctionPolicy(
            lambda observation, task, step: observation.new_zeros(*observation.shape[:2], self.model.nu)
        )
        return {"random": RandomPolicy(self.action_space), "stand still": still}

    def constant(self, name: str, like: Array) -> Array:
        """A field of the compiled model, as an array of the kind of ``like``."""
        owner, field = (self.model.opt, name[4:]) if name.startswith("opt.") else (self.model, name)
        if not hasattr(owner, field):
            raise MetaRLError(f"{self.name}: MuJoCo models have no field {name!r}; see mujoco.MjModel for their names.")
        return namespace(like).asarray(np.array(getattr(owner, field)), dtype=like.dtype, device=like.device)

    def body(self, name: str) -> int:
        """Index of a body by its name."""
        if name not in self._bodies:
            self._bodies[name] = int(self.model.body(name).id)
        return self._bodies[name]

    @cached_property
    def _bodies(self) -> dict[str, int]:
        """Those that were asked for: MuJoCo takes as long for a name as NumPy for ten operations."""
        return {}

    @cached_property
    def dt(self) -> float:
        """Seconds of a control step."""
        return float(self.model.opt.timestep * self.frame_skip)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        return Box(low, high, dtype=np.float32)

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        self._check_fields()
        data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, data)
        fields = {name: np.array(getattr(data, name))[None] for name in self.fields}
        size = self.observe(fields, Tasks.stack([self.default()]).values).shape[1:]
        return Box(-np.inf, np.inf, tuple(size), np.float32)

    def _check_fields(self) -> None:
        for name in self.fields:
            if name not in DATA_FIELDS:
                close = difflib.get_close_matches(name, DATA_FIELDS, 1)
                hint = (
                    f"do you mean {close[0]!r}?" if close else "see mujoco.batch.DATA_FIELDS for those that there are."
                )
                raise MetaRLError(f"{self.name} reads {name!r}, which is no field of MuJoCo's data; {hint}")
            if name in _NOT_COMPUTED and not (name == "cfrc_ext" and self.contact_forces):
                hint = "set contact_forces = True." if name == "cfrc_ext" else "compute it from others."
                raise MetaRLError(f"{self.name} reads {name!r}, which a step of MuJoCo does not compute; {hint}")

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that the functions read."""
        forces = ("cfrc_ext",) if self.contact_forces else ()
        return tuple(dict.fromkeys(("qpos", "qvel", *self.reads, *self.remembers, *forces)))

    @property
    def render_fps(self) -> int:  # type: ignore[override]
        """One picture for each control step."""
        return round(1 / self.dt)

    def marks(self, history: History, task: Task) -> Sequence[Mark]:
        """What pictures show of the task beside the model."""
        return ()

    def caption(self, history: History, task: Task) -> str:
        """Words in the pictures' corner, in one line or several."""
        return f"step {len(history) - 1}"

    def speed(self, history: History) -> float:
        """Mean of the first velocity over the last half second, for captions: of one step it is too restless."""
        past = history[-1 - round(0.5 / self.dt) :] if len(history) > 0.5 / self.dt else history
        moved = float(past[-1]["qpos"][0] - past[0]["qpos"][0])
        return moved / (self.dt * max(1, len(past) - 1))

    def around_start(self, u: Array, position: float, velocity: float, normal: bool = False) -> tuple[Array, Array]:
        """The model's own start with noise: positions uniform in ± ``position``, velocities uniform in ± ``velocity``
        or normal with that standard deviation. ``u`` has a number for each."""
        nq = self.model.nq
        qpos = self.constant("qpos0", u) + position * (2 * u[:, :nq] - 1)
        noise = namespace(u).asarray(to_normal(torch.as_tensor(u[:, nq:]))) if normal else 2 * u[:, nq:] - 1
        return qpos, velocity * noise
