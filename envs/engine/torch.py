"""The torch engine: families as pure functions on batched tensors, on any device."""

import copy
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.random import Domain, step_uniforms, uniforms
from metarl.core.types import State as State  # families import it from here
from metarl.envs.engine.clock import Clock
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Step
from metarl.rollout.streams import Stream
from metarl.tasks import Tasks

TaskTensors = dict[str, Tensor]
_STATE, _TASK, _EXTRA, _UNIFORMS = "state", "task", "extra", "u"  # names of what a pure step reads and gives


class TorchFamily(TaskFamily):
    """A family whose environments are stepped by tensor operations, all at once and on any device.

    A subclass defines ``reset``, ``step`` and ``observe``, all on tensors whose first axis is the environment. It draws
    nothing: the engine hands it uniforms.
    """

    draws: tuple[int, int] = (0, 0)  # uniforms in (0, 1) that a reset and a step need

    @abstractmethod
    def reset(self, task: TaskTensors, u: Tensor) -> State:
        """Return the state at an episode's start, from uniforms ``u`` ``(environment, draws[0])``."""

    @abstractmethod
    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor] | tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        """Return the state, the reward and terminated ``(environment,)`` after an action, and named extras if any.

        Args:
            state: tensors ``(environment, ...)``.
            action: an index ``(environment,)`` or a Box's ``(environment, ...)``; where a Discrete and a Box of d axes
                are mixed, ``(environment, 1 + d)``.
            task: task parameters, ``(environment, ...)`` each.
            u: uniforms in (0, 1), ``(environment, draws[1])``.
        """

    @abstractmethod
    def observe(self, state: State, task: TaskTensors) -> Tensor:
        """Return the observations ``(environment, *shape)`` of a state."""

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "TorchBatch":
        """Make environments with these tasks and random streams, whose tensors lie on ``device``."""
        return TorchBatch(self, tasks, keys, device, dtype)


class TorchBatch:
    """A batch of environments of a ``TorchFamily``, one for each task and key ``(environment, 2)``.

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
        self._resets, self._steps = self._streams()

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return len(self.keys)

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Give the environments where ``rows`` ``(environment,)`` is true that row's task, from their next reset on."""
        new = tasks.tensors(self.device, self.dtype)
        self.task = {name: _where(rows, new[name], value) for name, value in self.task.items()}

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true, and return the observations of all."""
        if self._steps.keys is not self.keys:
            self._resets, self._steps = self._streams()
        if isinstance(episode, int):
            u = self._resets.at(episode, 0)
        else:
            u = uniforms(self.keys, Domain.RESET, episode, 1, self.family.draws[0], dtype=self.dtype)[:, 0]
        fresh = self.family.reset(self.task, u)
        if rows is not None:
            fresh = {name: _where(rows, value, self.state[name]) for name, value in fresh.items()}
        self.state = fresh
        self.clock.restart(episode, rows)
        return self.family.observe(self.state, self.task)

    def step(self, action: Tensor) -> Step:
        """Take a step with actions ``(environment, ...)`` of the action space."""
        result = self.family.step(self.state, action, self.task, self._step_uniforms())
        self.state, reward, terminated = result[0], result[1], result[2]
        extras: dict[str, Tensor] = result[3] if len(result) > 3 else {}
        truncated = self.clock.tick(terminated)
        return Step(self.family.observe(self.state, self.task), reward, terminated, truncated, extras)

    @property
    def pure_step(self) -> "TorchStep":
        """The step as a function of tensors; functions of batches of one family are equal."""
        return TorchStep(self.family)

    def reads(self) -> dict[str, Tensor]:
        """Return what the next step reads beside the actions: states, tasks and uniforms."""
        return {
            **prefixed(_STATE, self.state),
            **prefixed(_TASK, self.task),
            _UNIFORMS: self._step_uniforms(),
        }

    def take(self, new: dict[str, Tensor]) -> Step:
        """Continue from what ``pure_step`` returned."""
        self.state, extras = with_prefix(_STATE, new), with_prefix(_EXTRA, new)
        truncated = self.clock.tick(new["terminated"])
        return Step(new["observation"], new["reward"], new["terminated"], truncated, extras)

    def part(self, rows: slice) -> "TorchBatch":
        """Return some of the environments as a batch of their own with the same random numbers; reset it first."""
        part = copy.copy(self)
        part.keys = self.keys[rows]
        part.task = {name: value[rows] for name, value in self.task.items()}
        part.state, part.clock = {}, Clock(len(part.keys), self.horizon, self.device)
        part._resets, part._steps = part._streams()
        return part

    def _step_uniforms(self) -> Tensor:
        clock, n = self.clock, self.family.draws[1]
        if n == 0:
            return self._steps.at(0, 0)  # nothing, whatever the step
        if isinstance(clock.elapsed, Tensor) or isinstance(clock.episode, Tensor):
            elapsed = clock.each(clock.elapsed)
            return step_uniforms(self.keys, Domain.STEP, clock.each(clock.episode), elapsed, n, self.dtype)
        return self._steps.at(clock.episode, clock.elapsed)

    def _streams(self) -> tuple[Stream, Stream]:
        """Return the random streams of resets and of steps for as long as all environments run in lockstep."""
        n_reset, n_step = self.family.draws
        return (
            Stream(self.keys, Domain.RESET, n_reset, 1, dtype=self.dtype),
            Stream(self.keys, Domain.STEP, n_step, self.horizon, dtype=self.dtype),
        )


@dataclass(frozen=True)
class TorchStep:
    """Computes a family's step and the observation after it, from one flat dict of tensors to another."""

    family: TorchFamily

    def __call__(self, reads: dict[str, Tensor], action: Tensor) -> dict[str, Tensor]:
        task = with_prefix(_TASK, reads)
        result = self.family.step(with_prefix(_STATE, reads), action, task, reads[_UNIFORMS])
        extras: dict[str, Tensor] = result[3] if len(result) > 3 else {}
        return {
            "observation": self.family.observe(result[0], task),
            "reward": result[1],
            "terminated": result[2],
            **prefixed(_STATE, result[0]),
            **prefixed(_EXTRA, extras),
        }


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)
