"""The warp engine: worlds of one MuJoCo model on a GPU, each with a task of its own, beside the policy that acts."""

from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.random import Domain, uniforms
from metarl.envs.engine.clock import Clock
from metarl.envs.engine.model_fields import check_fields
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.task_changes import TaskChanges
from metarl.envs.engine.warp_worlds import Worlds
from metarl.rollout.batch import Step
from metarl.tasks import Tasks

NOT_PROMISED = (
    "equal numbers: warp computes in float32 and may add in another order each time, so it agrees with MuJoCo within "
    "a tolerance over a control step, and with itself too; over many steps contacts make the paths part",
    "resuming a training exactly: --resume is refused",
)


class WarpBatch(TaskChanges):
    """A batch of environments of a ``MujocoFamily`` on mujoco-warp, one for each task and key ``(environment, 2)``.

    Physics runs in float32 where the tensors lie; on a GPU a control step is one CUDA graph, and nothing is read from
    it. Starts have the random numbers of the other engine. As there, an environment whose episode has ended repeats its
    last observation with a reward and extras of 0; one that is unstable is truncated, and the extra ``unstable`` says
    so. Whether contacts had room is looked at after every step on a CPU, and on a GPU when episodes are over.
    """

    def __init__(
        self, family: MujocoDeclaration, tasks: Tasks, keys: Tensor, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        if len(tasks) != len(keys) or not len(keys):
            raise MetaRLError(f"{len(tasks)} tasks for {len(keys)} environments; give one task for each key.")
        if dtype != torch.float32:
            raise MetaRLError(f"dtype={dtype}: the warp engine computes in torch.float32; choose that.")
        self.family, self.dtype, self.device = family, dtype, check_device(device)
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon, n = family.horizon, len(keys)
        self.keys = keys.to(self.device)
        fields = family.physics(tasks.values)
        check_fields(family, fields, n)
        self._worlds = Worlds(family, n, tuple(fields), self.device)
        self._data = self._worlds.fields
        self.task = tasks.tensors(self.device, torch.float64)
        self._task = tasks.tensors(self.device, dtype)
        self._next = {name: np.array(value) for name, value in tasks.values.items()}  # from the next reset on
        self._waiting = np.ones(n, dtype=bool)
        self.clock = Clock(n, self.horizon, self.device)
        self._ended = self._terminated = self.clock.never
        self._observation = torch.zeros(n, *(self.observation_space.shape or ()), device=self.device)
        self._remember()

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return len(self.keys)

    @property
    def state(self) -> dict[str, Tensor]:
        """Positions and velocities, from which pictures are drawn; views that change with the next step."""
        return {name: self._data[name] for name in ("qpos", "qvel")}

    def _begin_tasks(self, rows: Tensor | None) -> None:
        """Begin the tasks that these environments wait for: write the fields of the model that they set."""
        due = self._waiting if rows is None else self._waiting & rows.cpu().numpy()
        ids = np.flatnonzero(due)
        if not len(ids):
            return
        new = {name: value[ids] for name, value in self._next.items()}
        where = torch.from_numpy(ids).to(self.device)
        for name, value in new.items():
            self.task[name][where] = torch.from_numpy(value).to(self.device)
            self._task[name] = self.task[name].to(self.dtype)
        self._worlds.write(self.family.physics(new), where)
        self._waiting[ids] = False

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true, and return the observations of all."""
        rows = None if rows is None else rows.to(self.device)
        self._worlds.check_room()
        self._begin_tasks(rows)
        self.clock.restart(episode.to(self.device) if isinstance(episode, Tensor) else episode, rows)
        keys, n = self.keys.to(self.device), self.family.draws[0]
        u = uniforms(keys, Domain.RESET, self.clock.episode, 1, n, dtype=torch.float64)[:, 0]
        self._worlds.begin(*self.family.start(self.task, u), rows)
        fresh = torch.ones_like(self._ended) if rows is None else rows
        self._ended = self._ended & ~fresh
        self._remember()
        seen = self.family.observe(self._data, self._task).to(self.dtype)
        self._observation = torch.where(fresh[:, None], seen, self._observation)
        return self._observation

    def step(self, action: Tensor) -> Step:
        """Take a control step with actions ``(environment, nu)`` of the action space."""
        worlds, held = self._worlds, self._ended
        if action.shape != worlds.controls.shape:
            expected = tuple(worlds.controls.shape)
            raise MetaRLError(f"Actions have shape {tuple(action.shape)}, they must have {expected}.")
        worlds.controls.copy_(action.detach())
        sound = {name: value.clone() for name, value in worlds.state.items()}
        worlds.advance()
        failed = worlds.unstable() & ~held
        stopped = held | failed
        worlds.put_back(sound, stopped)  # what is held must not run away, nor be without an end
        result = self.family.outcome(self._before, self._data, worlds.controls, self._task)
        seen = self.family.observe(self._data, self._task).to(self.dtype)
        self._observation = torch.where(stopped[:, None], self._observation, seen)
        reward = result[0].to(self.dtype).masked_fill(stopped, 0)
        extras = {name: _without(value, stopped, self.dtype) for name, value in (*result[2:], {})[0].items()}
        self._remember()
        if result[1] is not None:
            self._terminated = torch.where(held, self._terminated, result[1] & ~failed)
        truncated = self.clock.tick(self._terminated) | failed
        self._ended = held | self._terminated | truncated
        together = isinstance(self.clock.elapsed, int)
        if self.device.type == "cpu" or (together and self.clock.elapsed >= self.horizon):
            worlds.check_room()
        return Step(self._observation, reward, self._terminated, truncated, {**extras, "unstable": failed})

    def _remember(self) -> None:
        self._before = {name: self._data[name].clone() for name in self.family.remembers}

    def __getstate__(self) -> NoReturn:
        """Raise: a GPU's memory is not pickled."""
        raise MetaRLError(
            "Environments of the warp engine are not pickled or copied; make them where they are stepped."
        )


def _without(value: Tensor, stopped: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an extra with 0 where an environment is held: what is computed there is not of a step that was taken."""
    value = value.to(dtype) if value.is_floating_point() else value
    return value.masked_fill(stopped.reshape(-1, *[1] * (value.ndim - 1)), 0)
