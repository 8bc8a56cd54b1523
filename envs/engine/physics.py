"""Declaration of families of MuJoCo models: what varies, is observed and is paid for, on batched arrays."""

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
from metarl.envs.drawing import History
from metarl.envs.engine.arrays import Array, namespace
from metarl.envs.engine.overlays import Camera, Overlay
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Task, Tasks

Data = dict[str, Array]  # fields of MuJoCo's mjData by name, the environment axis first
TaskArrays = dict[str, Array]
StepOutcome = tuple[Array, Array | None] | tuple[Array, Array | None, dict[str, Array]]

_ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
_NOT_COMPUTED = ("cfrc_ext", "cfrc_int", "cacc", "subtree_linvel", "subtree_angmom", "qfrc_inverse")
no_mujoco_log()


class MujocoDeclaration(TaskFamily):
    """The declaration of a ``MujocoFamily``: its model, and functions on arrays, without an engine or random numbers.

    A subclass names its model and defines ``start``, ``observe`` and ``outcome``, and ``physics`` where tasks vary the
    model, all on float64 arrays whose first axis is the environment (see ``metarl.envs.engine.arrays``); on the warp
    engine they are torch's, float32 in ``observe`` and ``outcome``, but in ``physics`` NumPy's. The observation space,
    unbounded, and the action space, the actuators' range, follow.

    Fields of MuJoCo's data are as ``mj_step`` leaves them: ``qpos`` and ``qvel`` at the end of a control step, all that
    is derived from them (``xpos``, ``cinert``, ...) one physics step behind, as in Gymnasium; after a reset all are
    current.
    """

    asset: str  # XML file of the model: one of Gymnasium's MuJoCo assets, or a path
    frame_skip: int = 5  # physics steps in a control step
    reads: tuple[str, ...] = ()  # fields that observe and outcome read, beside qpos and qvel
    remembers: tuple[str, ...] = ("qpos",)  # fields of which outcome is also given the value before the step
    contacts: int | None = None  # for which the warp engine has room in each world, its own number unless given
    contact_forces: bool = False  # whether cfrc_ext, which MuJoCo leaves at zero, is computed after every control step
    draws: tuple[int, int] = (0, 0)  # uniforms in (0, 1) that a reset needs; a step needs none
    camera: Camera = Camera()  # from where pictures are taken

    @abstractmethod
    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        """Return the positions ``(environment, nq)`` and velocities ``(environment, nv)`` at an episode's start.

        Args:
            task: task parameters, ``(environment, ...)`` each.
            u: uniforms in (0, 1), ``(environment, draws[0])``.
        """

    @abstractmethod
    def observe(self, data: Data, task: TaskArrays) -> Array:
        """Return the observations ``(environment, n)`` of the fields ``data``, ``(environment, ...)`` each."""

    @abstractmethod
    def outcome(self, before: Data, data: Data, action: Array, task: TaskArrays) -> StepOutcome:
        """Return the reward and terminated ``(environment,)`` of a control step, and named extras if there are any.

        All are new arrays, no views of the fields; terminated is ``None`` where episodes never terminate.

        Args:
            before: the fields of ``remembers`` as they were before the step.
            data: the fields after the step.
            action: the controls in their physical range, ``(environment, nu)``.
            task: task parameters, ``(environment, ...)`` each.
        """

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        """Return the fields of the model that a task sets, ``(environment, *shape)``: ``{"body_mass": ...}``."""
        return {}

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Change the model before it is compiled, where the literature's differs from the file."""

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model; engines copy it, and nobody writes to it."""
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
        """Read the model from its file, and edit it as the family has it."""
        try:
            spec = mujoco.MjSpec.from_file(str(self._path))
            self.edit(spec)
        except (ValueError, OSError) as error:
            raise MetaRLError(f"{self.name}: {self._path} is no MuJoCo model: {error}") from error
        return spec

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        """Return a random policy and one that stands still; neither is the best that a task-blind policy can do."""
        still = FunctionPolicy(
            lambda observation, task, step: observation.new_zeros(*observation.shape[:2], self.model.nu)
        )
        return {"random": RandomPolicy(self.action_space), "stand still": still}

    def constant(self, name: str, like: Array) -> Array:
        """Return a field of the compiled model, ``opt.NAME`` for an option, as an array of the kind of ``like``."""
        owner, field = (self.model.opt, name[4:]) if name.startswith("opt.") else (self.model, name)
        if not hasattr(owner, field):
            raise MetaRLError(f"{self.name}: MuJoCo models have no field {name!r}; see mujoco.MjModel for their names.")
        return namespace(like).asarray(np.array(getattr(owner, field)), dtype=like.dtype, device=like.device)

    def body(self, name: str) -> int:
        """Return the index of a body by its name."""
        if name not in self._bodies:
            self._bodies[name] = int(self.model.body(name).id)
        return self._bodies[name]

    @cached_property
    def _bodies(self) -> dict[str, int]:
        """Indices looked up so far: MuJoCo takes as long for a name as NumPy for ten operations."""
        return {}

    @cached_property
    def dt(self) -> float:
        """Duration of a control step, in seconds."""
        return float(self.model.opt.timestep * self.frame_skip)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Return the control ranges of the model's actuators."""
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        return Box(low, high, dtype=np.float32)

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Return the space of what the family observes at the initial state of its model."""
        self._check_fields()
        data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, data)
        fields = {name: np.array(getattr(data, name))[None] for name in self.fields}
        size = self.observe(fields, Tasks.stack([self.default()]).values).shape[1:]
        return Box(-np.inf, np.inf, tuple(size), np.float32)

    def _check_fields(self) -> None:
        for name in self.fields:
            if name not in DATA_FIELDS:
                hint = closest(name, DATA_FIELDS, "mujoco.batch.DATA_FIELDS")
                raise MetaRLError(f"{self.name} reads {name!r}, which is no field of MuJoCo's data; {hint}")
            if name in _NOT_COMPUTED and not (name == "cfrc_ext" and self.contact_forces):
                hint = "set contact_forces = True." if name == "cfrc_ext" else "compute it from others."
                raise MetaRLError(f"{self.name} reads {name!r}, which a step of MuJoCo does not compute; {hint}")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that ``observe`` and ``outcome`` read."""
        forces = ("cfrc_ext",) if self.contact_forces else ()
        return tuple(dict.fromkeys(("qpos", "qvel", *self.reads, *self.remembers, *forces)))

    @property
    def render_fps(self) -> int:  # type: ignore[override]
        """Pictures a second in a video: one for each control step."""
        return round(1 / self.dt)

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        """Return what pictures show of the task beside the model."""
        return ()

    def caption(self, history: History, task: Task) -> str:
        """Return the words in a picture's corner, in one line or several."""
        return f"step {len(history) - 1}"

    def speed(self, history: History) -> float:
        """Return the mean forward velocity over the last half second in m/s; that of one step would flicker."""
        past = history[-1 - round(0.5 / self.dt) :] if len(history) > 0.5 / self.dt else history
        moved = float(past[-1]["qpos"][0] - past[0]["qpos"][0])
        return moved / (self.dt * max(1, len(past) - 1))

    def around_start(self, u: Array, position: float, velocity: float, normal: bool = False) -> tuple[Array, Array]:
        """Return the model's own start with noise added, ``qpos (environment, nq)`` and ``qvel (environment, nv)``.

        Args:
            u: uniforms in (0, 1), ``(environment, nq + nv)``.
            position: half width of the uniform noise of positions, in m or rad.
            velocity: half width of the noise of velocities, or its standard deviation, in m/s or rad/s.
            normal: whether the noise of velocities is normal rather than uniform.
        """
        nq = self.model.nq
        qpos = self.constant("qpos0", u) + position * (2 * u[:, :nq] - 1)
        noise = namespace(u).asarray(to_normal(torch.as_tensor(u[:, nq:]))) if normal else 2 * u[:, nq:] - 1
        return qpos, velocity * noise


def closest(name: str, known: Sequence[str], listed: str) -> str:
    """Return a hint for an unknown name: the one of ``known`` that is most like it, or where they are ``listed``."""
    close = difflib.get_close_matches(name, known, 1)
    return f"do you mean {close[0]!r}?" if close else f"see {listed} for those that there are."
