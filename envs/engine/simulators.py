"""Environments that others wrote, each on a task of its own, kept in this process or in several."""

import math
import os
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces.utils import flatten
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from metarl.core.errors import MetaRLError, shown
from metarl.envs.engine.gymnasium_spaces import Array, action_size, env_actions, flat_size
from metarl.tasks import Task

Env = gymnasium.Env[Any, Any]
REWARD, TERMINATED, TRUNCATED, EXTRAS = range(4)  # columns of an outcome; from the last on, what info had


class Declaration(Protocol):
    """What the environments of a family are made from."""

    extras: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the family's name in messages."""
        ...

    @property
    def horizon(self) -> int:
        """Return after how many steps an episode is truncated."""
        ...

    @property
    def env_spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """Return the environments' own spaces of observations and actions."""
        ...

    def env_of(self, task: Task, env: Env | None = None) -> Env:
        """Return an environment on a task, made anew or out of ``env``, which was on another."""
        ...


class Simulators:
    """Environments of a family in this process, stepped one after the other.

    An environment whose episode has ended is not stepped until it begins the next: it repeats its last observation,
    with a reward and extras of 0.

    Attributes:
        observation: the last ones, flattened ``(environment, size)``.
        outcome: reward, terminated, truncated and extras of the last step, ``(environment, 3 + extras)``.
        closed: whether they cannot be used any more.
    """

    def __init__(self, family: Declaration, n: int) -> None:
        self.family, self.n, self.closed = family, n, False
        self.envs: list[Env | None] = [None] * n
        self._tasks: list[Task | None] = [None] * n
        self._space, self._action_space = family.env_spaces
        self._is_vector = isinstance(self._space, Box) and len(self._space.shape) == 1
        self.observation = np.zeros((n, flat_size(self._space)), np.float32)
        self.outcome = np.zeros((n, EXTRAS + len(family.extras)))
        self._horizon, self._extras, self._no_extras = family.horizon, family.extras, (0.0,) * len(family.extras)
        self._elapsed, self._over = [0] * n, [True] * n
        self._rows: list[tuple[Any, ...]] = [(0.0, False, False, *self._no_extras)] * n  # of the outcome

    def begin(
        self, ids: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int], played: Sequence[Sequence[Array]] = ()
    ) -> None:
        """Begin an episode in some environments, and play it on where actions of it are given.

        Args:
            ids: of the environments.
            tasks: one for each of them.
            seeds: which their resets get.
            played: the rows of actions that each of them has taken already.
        """
        for k, (i, task, seed) in enumerate(zip(ids, tasks, seeds, strict=True)):
            env = self.envs[i]
            if env is None or not _same(self._tasks[i], task):
                self._tasks[i] = None  # unknown, should it fail
                self.envs[i] = env = self.family.env_of(task, env)
                self._tasks[i] = task
            self._rows[i], self._elapsed[i], self._over[i] = (0.0, False, False, *self._no_extras), 0, False
            try:
                observation = env.reset(seed=seed)[0]
                flat: Any = observation if self._is_vector else flatten(self._space, observation)
                self.observation[i] = flat
            except Exception as error:
                self._tell(error, i, "reset")
                raise
            for row in played[k] if played else ():
                if not self._over[i]:
                    self._advance(i, env_actions(self._action_space, row[None])[0])
        self.outcome[:] = self._rows

    def step(self, actions: Array) -> None:
        """Take a step with rows of actions ``(environment, size)`` wherever an episode is running."""
        over, advance = self._over, self._advance
        for i, action in enumerate(env_actions(self._action_space, actions)):
            if not over[i]:
                advance(i, action)
            else:
                self._rows[i] = (0.0, *self._rows[i][REWARD + 1 : EXTRAS], *self._no_extras)
        self.outcome[:] = self._rows

    def close(self) -> None:
        """Close every environment."""
        self.closed = True
        for env in self.envs:
            if env is not None:
                env.close()

    def _advance(self, i: int, action: Any) -> None:
        try:
            observation, reward, terminated, truncated, info = self.envs[i].step(action)  # type: ignore[union-attr]
            flat: Any = observation if self._is_vector else flatten(self._space, observation)
            self.observation[i] = flat
        except Exception as error:
            self._tell(error, i, "step")
            raise
        elapsed = self._elapsed[i] = self._elapsed[i] + 1
        if terminated or truncated or elapsed >= self._horizon:
            self._over[i] = True
        extras = [info.get(name, 0.0) for name in self._extras] if self._extras else ()
        ended = bool(terminated)
        self._rows[i] = (reward, ended, self._over[i] and not ended, *extras)

    def _tell(self, error: Exception, i: int, where: str) -> None:
        """Note in an environment's own error on which task it arose."""
        error.add_note(f"In {where} of an environment of {self.family.name}, {task_words(self._tasks[i] or {})}.")


class Workers:
    """The same environments in processes of their own, an equal share in each, by Gymnasium's ``AsyncVectorEnv``."""

    def __init__(self, family: Declaration, n: int, workers: int) -> None:
        self.n = n
        self._share = math.ceil(n / workers)  # environments of a process
        firsts = range(0, n, self._share)
        makers = [partial(_Share, family, first, self._share, os.getpid()) for first in firsts]
        self._vector = _Processes(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        size, columns = flat_size(family.env_spaces[0]), EXTRAS + len(family.extras)
        self.observation, self.outcome = np.zeros((n, size), np.float32), np.zeros((n, columns))

    @property
    def closed(self) -> bool:
        """Return whether the processes have ended."""
        return bool(self._vector.closed)

    def begin(
        self, ids: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int], played: Sequence[Sequence[Array]] = ()
    ) -> None:
        """Begin an episode in some environments, as ``Simulators.begin`` does."""
        for found in self._call("begin", list(ids), list(tasks), list(seeds), list(played)):
            if isinstance(found, str):
                raise MetaRLError(found)
            rows, observation, outcome = found
            self.observation[rows], self.outcome[rows] = observation, outcome

    def step(self, actions: Array) -> None:
        """Take a step in all processes at once."""
        padded = np.zeros((self._vector.num_envs, self._share, actions.shape[1]), actions.dtype)
        padded.reshape(-1, actions.shape[1])[: self.n] = actions
        try:
            observation, outcome = self._vector.step(padded)[0]
        except BaseException:  # an interruption too leaves answers in the pipes
            self.close(terminate=True)
            raise
        self.observation[:] = observation.reshape(-1, observation.shape[-1])[: self.n]
        self.outcome[:] = outcome.reshape(-1, outcome.shape[-1])[: self.n]

    def close(self, *, terminate: bool = False) -> None:
        """End the processes, once their environments are closed unless ``terminate``."""
        if not self.closed:
            self._vector.close(terminate=terminate)

    def _call(self, name: str, *arguments: Any) -> Sequence[Any]:
        try:
            return self._vector.call(name, *arguments)
        except BaseException:  # an interruption too leaves answers in the pipes
            self.close(terminate=True)
            raise


class _Processes(AsyncVectorEnv):
    """Gymnasium's vector of processes, which only the process that began them ends.

    A worker of another set begins as a copy of this process, with all that lies there.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._owner = os.getpid()
        super().__init__(*arguments, **options)

    def __del__(self) -> None:
        if os.getpid() == self._owner:
            super().__del__()


class _Share(gymnasium.Env[Any, Any]):
    """The environments of one process, which Gymnasium takes for one environment."""

    def __init__(self, family: Declaration, first: int, n: int, owner: int) -> None:
        if os.getpid() != owner:  # a process of its own, in which the owner's ways to end are not those to end by
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which tells the owner too
        self._envs, self._first = Simulators(family, n), first
        shown_as = ((self._envs.observation, np.float32), (self._envs.outcome, np.float64))
        boxes = [Box(-np.inf, np.inf, array.shape, dtype) for array, dtype in shown_as]
        self.observation_space = gymnasium.spaces.Tuple(boxes)
        self.action_space = Box(-np.inf, np.inf, (n, action_size(family.env_spaces[1])), np.float64)

    def begin(self, ids: list[int], tasks: list[Task], seeds: list[int], played: list[Any]) -> Any:
        """Begin those of the episodes that are this process's; returns an error's message, or rows and numbers."""
        mine = [k for k, i in enumerate(ids) if self._first <= i < self._first + self._envs.n]
        rows = [ids[k] - self._first for k in mine]
        before = [played[k] for k in mine] if played else ()
        try:
            self._envs.begin(rows, [tasks[k] for k in mine], [seeds[k] for k in mine], before)
        except MetaRLError as error:
            return str(error)
        return [ids[k] for k in mine], self._envs.observation[rows], self._envs.outcome[rows]

    def step(self, action: Any) -> Any:
        """Step them all; what they give is the observation, the rest says nothing."""
        self._envs.step(action)
        return (self._envs.observation, self._envs.outcome), 0.0, False, False, {}

    def close(self) -> None:
        """Close them all."""
        self._envs.close()


def task_words(task: Task) -> str:
    """Return a task on one line."""
    return "task " + shown({name: np.asarray(value).tolist() for name, value in task.items()})


def _same(one: Task | None, other: Task) -> bool:
    return one is not None and all(np.array_equal(value, other[name]) for name, value in one.items())
