"""The torch engine: families as pure functions on batched tensors, on any device."""

from abc import abstractmethod

import torch
from torch import Tensor

from metarl.device import check_device
from metarl.envs.engine.clock import Clock
from metarl.errors import MetaRLError
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Step
from metarl.rollout.random import Domain, step_uniforms, uniforms
from metarl.tasks import Tasks

State = dict[str, Tensor]
TaskTensors = dict[str, Tensor]
_BLOCK = 128  # steps whose random numbers are drawn at once; step by step costs 18 times as much


class TorchFamily(TaskFamily):
    """A family of which a batch is stepped by tensor operations. It draws nothing: the engine hands it uniforms.

    A subclass defines ``reset``, ``step`` and ``observe``, all on tensors whose first axis is the environment.
    """

    draws: tuple[int, int] = (0, 0)  # uniforms in (0, 1) that a reset and a step need

    @abstractmethod
    def reset(self, task: TaskTensors, u: Tensor) -> State:
        """The state at the start of an episode; ``u`` is ``(environment, draws[0])``."""

    @abstractmethod
    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor] | tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        """State, reward ``(environment,)`` and terminated ``(environment,)`` after an action of the action space.

        ``u`` is ``(environment, draws[1])``. A fourth element holds named extras ``(environment, ...)``.
        """

    @abstractmethod
    def observe(self, state: State, task: TaskTensors) -> Tensor:
        """Observations ``(environment, *shape)`` of a state."""

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "TorchBatch":
        return TorchBatch(self, tasks, keys, device, dtype)


class TorchBatch:
    """Environments of a ``TorchFamily``, one for each task and key ``(environment, 2)``.

    They run in lockstep after ``reset(episode)``; after ``reset(episode, rows)`` each is at a step of its own, with the
    same numbers as if it were alone.
    """

    def __init__(
        self, family: TorchFamily, tasks: Tasks, keys: Tensor, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        if len(tasks) != len(keys):
            raise MetaRLError(f"{len(tasks)} tasks for {len(keys)} environments; give one task for each key.")
        self.family, self.dtype, self.device = family, dtype, check_device(device)
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon = family.horizon
        self.keys = keys.to(self.device)
        self.task = tasks.tensors(self.device, dtype)
        self.state: State = {}
        self.clock = Clock(len(keys), family.horizon, self.device)
        self._block, self._block_start = torch.empty(0), 0

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return len(self.keys)

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Give the environments where ``rows`` is true the task of that row; takes effect with their next reset."""
        new = tasks.tensors(self.device, self.dtype)
        self.task = {name: _where(rows, new[name], value) for name, value in self.task.items()}

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true; returns observations of all."""
        u = uniforms(self.keys, Domain.RESET, episode, 1, self.family.draws[0], dtype=self.dtype)[:, 0]
        fresh = self.family.reset(self.task, u)
        if rows is not None:
            fresh = {name: _where(rows, value, self.state[name]) for name, value in fresh.items()}
        self.state = fresh
        self.clock.restart(episode, rows)
        self._block_start = -_BLOCK - self.horizon
        return self.family.observe(self.state, self.task)

    def step(self, action: Tensor) -> Step:
        """One step with actions of the action space."""
        result = self.family.step(self.state, action, self.task, self._step_uniforms())
        self.state, reward, terminated = result[0], result[1], result[2]
        extras: dict[str, Tensor] = result[3] if len(result) > 3 else {}
        truncated = self.clock.tick(terminated)
        return Step(self.family.observe(self.state, self.task), reward, terminated, truncated, extras)

    def _step_uniforms(self) -> Tensor:
        n = self.family.draws[1]
        if n == 0:
            return self.keys.new_empty(self.num_envs, 0, dtype=self.dtype)
        clock = self.clock
        if isinstance(clock.elapsed, Tensor):
            return step_uniforms(self.keys, Domain.STEP, clock.each(clock.episode), clock.elapsed, n, self.dtype)
        if not 0 <= clock.elapsed - self._block_start < _BLOCK:
            self._block_start = clock.elapsed
            steps = min(_BLOCK, self.horizon - clock.elapsed)
            block = uniforms(self.keys, Domain.STEP, clock.episode, steps, n, clock.elapsed, self.dtype)
            self._block = block.transpose(0, 1).contiguous()
        return self._block[clock.elapsed - self._block_start]


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)
