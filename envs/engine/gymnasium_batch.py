"""The batch of environments that others wrote, each reset with a seed of its own at every episode."""

import weakref
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.random import Domain, random_words
from metarl.envs.engine.gymnasium_spaces import Array, action_size
from metarl.envs.engine.simulators import EXTRAS, REWARD, TERMINATED, TRUNCATED, Declaration, Simulators, Workers
from metarl.rollout.batch import Step
from metarl.tasks import Task, Tasks


class Lender(Declaration, Protocol):
    """A family that lends environments to its batches."""

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Return the space of flattened observations."""
        ...

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """Return the space that policies act in."""
        ...

    def simulators(self, n: int) -> Simulators | Workers:
        """Return n environments."""
        ...

    def keep(self, envs: Simulators | Workers) -> None:
        """Take them back."""
        ...


class EnvsBatch:
    """A batch of environments of a ``GymnasiumFamily``, one for each task and key ``(environment, 2)``.

    Each is reset with a seed of its own at every episode. Observations are float32 before they become ``dtype``.
    """

    def __init__(
        self, family: Lender, tasks: Tasks, keys: Tensor, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        if len(tasks) != len(keys) or not len(keys):
            raise MetaRLError(f"{len(tasks)} tasks for {len(keys)} environments; give one task for each key.")
        self.family, self.device = family, check_device(device)
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon, self.keys = family.horizon, keys.to(self.device)
        if dtype not in (torch.float32, torch.float64):
            raise MetaRLError(f"dtype={dtype}: an EnvsBatch returns torch.float32 or torch.float64; choose one.")
        self._number = torch.empty(0, dtype=dtype).numpy().dtype
        self._shape = len(keys), *(self.observation_space.shape or ())
        self._next = list(tasks)  # from the next reset on
        self._task: list[Task] = list(tasks)
        self._seeds = [-1] * len(keys)
        self._action = np.zeros((len(keys), action_size(family.env_spaces[1])))
        self._taken: list[Array] = []  # the actions of all environments, step by step
        self._began = [0] * len(keys)  # the step of ``_taken`` with which the running episode began
        self._on_cpu = self.device.type == "cpu"
        self._make()

    def _make(self) -> None:
        self._envs = self.family.simulators(self.num_envs)
        weakref.finalize(self, self.family.keep, self._envs).atexit = False

    @property
    def num_envs(self) -> int:
        """Return the number of environments."""
        return len(self.keys)

    @property
    def state(self) -> dict[str, Tensor]:
        """Return the episode's seed and the last action, from which the episode is played again for a picture."""
        return {"seed": torch.tensor(self._seeds), "action": torch.from_numpy(self._action.copy())}

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Give the environments where ``rows`` is true the task of that row, from their next reset on."""
        for i in np.flatnonzero(rows.cpu().numpy()).tolist():
            self._next[i] = tasks[i]

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true, and return the observations of all."""
        ids = list(range(self.num_envs)) if rows is None else np.flatnonzero(rows.cpu().numpy()).tolist()
        numbers = episode.cpu()[ids] if isinstance(episode, Tensor) else episode
        seeds = episode_seeds(self.keys.cpu()[ids], numbers)
        self._envs.begin(ids, [self._next[i] for i in ids], seeds)
        for i, seed in zip(ids, seeds, strict=True):
            self._task[i], self._seeds[i], self._began[i] = self._next[i], seed, len(self._taken)
        past = min(self._began)
        self._taken, self._began = self._taken[past:], [began - past for began in self._began]
        self._action[ids] = 0.0
        return self._observation()

    def step(self, action: Tensor) -> Step:
        """Take a step with actions of the family's own space, ``(environment, ...)``."""
        rows = action.detach().cpu().numpy().reshape(self.num_envs, -1).astype(np.float64)
        if rows.shape != self._action.shape:
            raise MetaRLError(f"Actions have {rows.shape[1]} numbers each, they must have {self._action.shape[1]}.")
        self._action = rows
        self._taken.append(rows)
        self._envs.step(rows)
        columns = self._envs.outcome.T
        terminated, truncated = self._tensor(columns[TERMINATED] > 0), self._tensor(columns[TRUNCATED] > 0)
        extras = {
            name: self._numbers(column) for name, column in zip(self.family.extras, columns[EXTRAS:], strict=True)
        }
        return Step(self._observation(), self._numbers(columns[REWARD]), terminated, truncated, extras)

    def _observation(self) -> Tensor:
        return self._numbers(self._envs.observation.reshape(self._shape))

    def _numbers(self, value: Array) -> Tensor:
        return self._tensor(value.astype(self._number))  # which copies, for the environments write there again

    def _tensor(self, value: Array) -> Tensor:
        made = torch.from_numpy(value)
        return made if self._on_cpu else made.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the environments, whose episodes can be played again."""
        return {name: value for name, value in self.__dict__.items() if name != "_envs"}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._make()
        ids = [i for i, seed in enumerate(self._seeds) if seed >= 0]
        if ids:
            tasks, seeds = [self._task[i] for i in ids], [self._seeds[i] for i in ids]
            played = [[rows[i] for rows in self._taken[self._began[i] :]] for i in ids]
            self._envs.begin(ids, tasks, seeds, played)


def episode_seeds(keys: Tensor, episode: int | Tensor) -> list[int]:
    """Return the seeds of an episode's resets, one for each random stream ``(environment, 2)``: 31 bits each."""
    seeds: list[int] = (random_words(keys, Domain.RESET, episode, 1)[:, 0] >> 1).tolist()
    return seeds
