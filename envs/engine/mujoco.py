"""The MuJoCo engine for CPUs: simulations of one model on a pool of threads, each with a task of its own."""

from typing import Any

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch as Simulations
from mujoco.batch import SimulationError
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.random import Domain, uniforms
from metarl.envs.engine.clock import Clock
from metarl.envs.engine.model_fields import check_fits_memory, write_fields
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.task_changes import TaskChanges
from metarl.rollout.batch import Step
from metarl.tasks import Tasks

_NO_STAGE = mujoco.mjtStage.mjSTAGE_NONE.value
# Counters of MuJoCo's warnings of positions, velocities and accelerations that are huge or no numbers. It has then put
# the simulation back to the model's start.
_UNSTABLE = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADQACC.value + 1)

# What is made anew rather than pickled.
_MUJOCOS = ("_simulations", "_data", "_controls", "_warnings", "_scratch", "_forces")


class MujocoBatch(TaskChanges):
    """A batch of environments of a ``MujocoFamily``, one for each task and key ``(environment, 2)``.

    Physics runs in float64 on the CPU, on as many threads as torch has; what a step returns has ``dtype`` and lies on
    ``device``. An environment whose episode has ended is not stepped until it is reset: it repeats its last
    observation, with a reward and extras of 0. One that MuJoCo reports as unstable is truncated, with a reward and
    extras of 0 and the last sound observation, and the extra ``unstable`` says so.
    """

    def __init__(
        self, family: MujocoDeclaration, tasks: Tasks, keys: Tensor, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        if len(tasks) != len(keys) or not len(keys):
            raise MetaRLError(f"{len(tasks)} tasks for {len(keys)} environments; give one task for each key.")
        self.family, self.dtype, self.device = family, dtype, check_device(device)
        check_fits_memory(family, len(keys))
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon = family.horizon
        self.keys = keys.to(self.device)
        self.task = {name: np.array(value) for name, value in tasks.values.items()}
        if dtype not in (torch.float32, torch.float64):
            raise MetaRLError(f"dtype={dtype}: a MujocoBatch returns torch.float32 or torch.float64; choose one.")
        self._number = torch.empty(0, dtype=dtype).numpy().dtype
        self.clock = Clock(len(keys), family.horizon, torch.device("cpu"))
        self._ended = np.zeros(len(keys), dtype=bool)
        self._terminated = self._ended.copy()  # at the last step
        self._observation = np.empty(0)
        self._next = {name: value.copy() for name, value in self.task.items()}  # from the next reset on
        self._waiting = np.zeros(len(keys), dtype=bool)
        self._make()
        self.set_tasks(tasks, torch.ones(len(keys), dtype=torch.bool))

    def _make(self) -> None:
        family, n = self.family, len(self.keys)
        # With one MjData for each simulation its contacts are still there after the step, and their forces can be had.
        self.threads = min(n, torch.get_num_threads())
        self._simulations = Simulations(family.model, n, self.threads, persistent=family.contact_forces)
        self._data = {name: self._simulations.bind(name) for name in family.fields if name != "cfrc_ext"}
        if family.contact_forces:
            self._scratch = mujoco.MjData(family.model)
            self._forces = self._data["cfrc_ext"] = np.zeros((n, family.model.nbody, 6))
        self._controls = self._simulations.bind("ctrl")
        self._warnings = self._simulations.warning[:, _UNSTABLE, 1]  # counts, until they are cleared
        self._before = {name: np.array(self._data[name]) for name in family.remembers}

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return len(self.keys)

    @property
    def state(self) -> dict[str, Tensor]:
        """Positions and velocities, from which pictures are drawn; views that change with the next step."""
        return {name: torch.from_numpy(self._data[name]) for name in ("qpos", "qvel")}

    def _begin_tasks(self, ids: NDArray[np.int64]) -> None:
        """Begin the tasks that these environments wait for: write the fields of the model that they set."""
        ids = ids[self._waiting[ids]]
        if not len(ids):
            return
        for name, value in self.task.items():
            value[ids] = self._next[name][ids]
        write_fields(self._simulations, self.family.physics({name: v[ids] for name, v in self.task.items()}), ids)
        self._waiting[ids] = False

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true, and return the observations of all."""
        if rows is not None:
            rows = rows.cpu()
        ids = np.arange(self.num_envs) if rows is None else np.flatnonzero(rows.numpy())
        self._begin_tasks(ids)
        self.clock.restart(episode.cpu() if isinstance(episode, Tensor) else episode, rows)
        number = self.clock.episode[ids] if isinstance(self.clock.episode, Tensor) else self.clock.episode
        keys, n = self.keys.cpu()[ids], self.family.draws[0]
        u = uniforms(keys, Domain.RESET, number, 1, n, dtype=torch.float64)[:, 0].numpy()
        qpos, qvel = self.family.start({name: value[ids] for name, value in self.task.items()}, u)
        self._simulations.reset(ids, stage=_NO_STAGE)
        self._data["qpos"][ids], self._data["qvel"][ids] = qpos, qvel
        self._simulations.forward(ids)
        self._simulations.warning[ids] = 0
        if self.family.contact_forces:
            self._forces[ids] = 0.0  # as in Gymnasium: forces are known only after a step
        for name, value in self._before.items():
            value[ids] = self._data[name][ids]
        self._ended[ids] = False
        fresh = self.family.observe(self._data, self.task).astype(self._number)
        if rows is not None:
            fresh = np.where(rows.numpy()[:, None], fresh, self._observation)
        self._observation = fresh
        return torch.from_numpy(fresh).to(self.device)

    def step(self, action: Tensor) -> Step:
        """Take a control step with actions ``(environment, nu)`` of the action space."""
        if action.shape != self._controls.shape:
            raise MetaRLError(f"Actions have shape {tuple(action.shape)}, they must have {self._controls.shape}.")
        np.copyto(self._controls, action.detach().cpu().numpy())
        held = self._ended.copy() if self._ended.any() else None  # what repeats its last observation
        failed = self._advance(held)
        result = self.family.outcome(self._before, self._data, self._controls, self.task)
        # Copies, even where the numbers have the right type already: no views of MuJoCo's fields.
        observation = self.family.observe(self._data, self.task).astype(self._number)
        reward, ended = result[0].astype(self._number), result[1]
        extras = {name: self._extra(value) for name, value in result[2].items()} if len(result) > 2 else {}
        if failed is not None:
            held = failed if held is None else held | failed
            ended = None if ended is None else ended & ~failed
        if held is not None:
            observation = np.where(held[:, None], self._observation, observation)
            reward = np.where(held, self._number.type(0), reward)
            extras = {name: _without(value, held) for name, value in extras.items()}
            ended = None if ended is None else np.where(self._ended, self._terminated, ended)
        for name, value in self._before.items():
            np.copyto(value, self._data[name])
        self._observation = observation
        terminated = self.clock.never if ended is None else torch.from_numpy(ended)
        truncated = self.clock.tick(terminated)
        extras["unstable"] = self.clock.never
        if failed is not None:
            extras["unstable"] = torch.from_numpy(failed)
            truncated = truncated | extras["unstable"]
        if ended is not None or truncated is not self.clock.never:
            self._terminated = terminated.numpy().copy()
            self._ended |= (terminated | truncated).numpy()
        step = Step(torch.from_numpy(observation), torch.from_numpy(reward), terminated, truncated, extras)
        return step if self.device.type == "cpu" else tree_map(lambda value: value.to(self.device), step)

    def _extra(self, value: NDArray[Any]) -> Tensor:
        return torch.from_numpy(value.astype(self._number) if value.dtype.kind == "f" else value)

    def _advance(self, held: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Step all environments but those that are held, and return which have failed, if any."""
        ids = None if held is None else np.flatnonzero(~held)
        if ids is not None and not len(ids):
            return None
        failed = None
        try:
            self._simulations.step(ids, self.family.frame_skip)
        except SimulationError as error:  # these have kept their state, and all others were stepped
            failed = np.zeros(self.num_envs, dtype=bool)
            failed[error.ids] = True
        if self._warnings.any():
            unstable = self._warnings.any(1)
            failed = unstable if failed is None else failed | unstable
            self._warnings[:] = 0
        if self.family.contact_forces:
            # Of the model these forces need only what no task varies: which bodies the contacts are between.
            get_data, post_constraint = self._simulations.get_data, mujoco.mj_rnePostConstraint
            model, scratch = self.family.model, self._scratch
            for i in range(self.num_envs) if ids is None else ids.tolist():
                get_data(i, scratch)
                post_constraint(model, scratch)
                self._forces[i] = scratch.cfrc_ext
        return failed

    def __getstate__(self) -> dict[str, Any]:
        """Leave out MuJoCo's own objects, which are made anew from the rows that they keep."""
        kept = {name: value for name, value in self.__dict__.items() if name not in _MUJOCOS}
        return {**kept, "rows": np.array(self._simulations.state)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        rows, before = kept.pop("rows"), kept.pop("_before")
        self.__dict__.update(kept)
        self._make()
        write_fields(self._simulations, self.family.physics(self.task), np.arange(self.num_envs))
        self._simulations.state[:] = rows
        for name, value in before.items():
            np.copyto(self._before[name], value)


def _without(value: Tensor, held: NDArray[np.bool_]) -> Tensor:
    """Set an extra to 0 where an environment is held: what is computed there is not of a step that was taken."""
    return value.masked_fill(torch.from_numpy(held).reshape(-1, *[1] * (value.ndim - 1)), 0)
