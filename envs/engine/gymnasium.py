"""Families of environments that others wrote: anything with Gymnasium's ``reset`` and ``step``, one task each."""

import inspect
import multiprocessing
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError, NoGraphicsError, shown
from metarl.core.random import Domain, random_words
from metarl.envs.drawing import Frame, History
from metarl.envs.engine.simulators import (
    EXTRAS,
    REWARD,
    TERMINATED,
    TRUNCATED,
    Array,
    Env,
    Simulators,
    Workers,
    action_size,
    flat_observations,
    policy_actions,
    task_words,
)
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Step
from metarl.tasks import Task, Tasks

_KEPT = 2  # sets of environments that wait for the next batch: one of training, one of an evaluation
_FILMS = 32  # episodes of which pictures are drawn side by side


class GymnasiumFamily(TaskFamily):
    """A family of any Gymnasium environment: the base class of families whose simulator is somebody else's.

    A subclass declares ``tasks``, and how an environment comes to a task, in one of three ways:

    - ``env`` alone: every task parameter is an attribute of ``env.unwrapped`` of that name, which is set.
    - ``env`` and ``set_task``, which changes an environment that is there; it is used again for the next task.
    - ``make_env``, which makes an environment for each task.

    Spaces are those of the default task's environment, which all tasks must share: observations are flattened by
    ``gymnasium.spaces.utils.flatten`` to float32; actions are Discrete, a bounded Box, a Tuple of one of each, or a
    MultiDiscrete or MultiBinary as one index over all combinations. ``horizon`` is ``env.spec.max_episode_steps``
    unless declared.

    The unit of randomness is the episode: ``env.reset(seed=...)`` gets a seed made of the random stream and the number
    of the episode (``episode_seeds``). The same seed gives the same numbers as far as the environment draws them from
    ``self.np_random`` and its ``reset`` forgets the last episode. Not promised is equality bit for bit between machines
    or versions of the simulator. A copied, pickled or drawn episode is played again from its seed and its actions, so
    an episode that runs goes on only where that holds.
    """

    env: ClassVar[str | type[Env]] = ""  # an id of gymnasium.make, or a class; not needed beside make_env
    extras: tuple[str, ...] = ()  # numbers of info that are recorded with every step, such as "is_success"
    workers: int = 0  # processes that step the environments; 0 steps them here, the better choice for quick ones
    not_promised = (
        "the same numbers bit for bit on another machine or with another version of the simulator: it is not ours",
        "going on with a copied or saved episode, but by playing it again from its seed and its actions",
    )

    def __init__(self, variant: str | None = None) -> None:
        self._idle: list[Simulators | Workers] = []  # environments that are there for the next batch
        self._shown: dict[tuple[int, str], tuple[Simulators, list[Array]]] = {}  # episodes that pictures are drawn of
        if not self._makes and not self.env:
            raise MetaRLError(
                f"Family {type(self).__name__} has no environment; set env = 'Pendulum-v1' or a class, or define "
                "make_env(self, task)."
            )
        super().__init__(variant)
        flat = self._judged(flat_observations, self.env_spaces[0])
        if self.observation_space.shape != flat.shape:
            raise MetaRLError(
                f"{self.name}: observation_space has shape {self.observation_space.shape}, observations of the "
                f"environment have {flat.shape} once flattened; leave it out, or declare that."
            )
        given = action_size(self.action_space)
        if given != action_size(self.env_spaces[1]):
            raise MetaRLError(
                f"{self.name}: action_space {self.action_space} does not fit the environment's {self.env_spaces[1]}."
            )
        workers = self.workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise MetaRLError(f"{self.name}: workers={shown(workers)}; give the number of processes, 0 for none.")

    def make_env(self, task: dict[str, Any]) -> Env:
        """Return a new environment on a task: numbers as Python's floats, vectors as arrays."""
        env = self._new_env()
        self.set_task(env, task)
        return env

    def set_task(self, env: Env, task: dict[str, Any]) -> None:
        """Put an environment on a task, from its next reset on: set the attributes that the parameters name."""
        for name, value in task.items():
            if not hasattr(env.unwrapped, name):
                raise MetaRLError(
                    f"{self.name}: {type(env.unwrapped).__name__} has no attribute {name!r} to set; define "
                    "set_task(self, env, task) or make_env(self, task)."
                )
            setattr(env.unwrapped, name, value)

    @cached_property
    def env_spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """Return the environments' own spaces of observations and actions."""
        return self._first[0], self._first[1]

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Return the space of flattened observations."""
        space: gymnasium.Space[Any] = self._judged(flat_observations, self.env_spaces[0])
        return space

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Return the space that policies act in."""
        space: gymnasium.Space[Any] = self._judged(policy_actions, self.env_spaces[1])
        return space

    @cached_property
    def horizon(self) -> int:  # type: ignore[override]
        """Return after how many steps the environment truncates an episode."""
        limit = self._first[2]
        if limit is None:
            raise MetaRLError(f"{self.name}: the environment has no max_episode_steps; declare horizon = the steps.")
        return int(limit)

    def env_of(self, task: Task, env: Env | None = None) -> Env:
        """Return an environment on a task, made anew or out of ``env``, which was on another.

        Raises:
            MetaRLError: what the subclass defines fails, gives no environment, or one with other spaces.
        """
        given = {name: value.item() if value.ndim == 0 else value for name, value in task.items()}
        made: Any = env
        try:
            if self._makes:
                if env is not None:
                    env.close()
                made = self.make_env(given)
            else:
                made = self._new_env() if env is None else env
                self.set_task(made, given)
        except MetaRLError:
            raise
        except Exception as error:  # of a user's own
            method = "make_env" if self._makes else "set_task"
            said = " ".join(str(error).split())
            raise MetaRLError(
                f"{self.name}: {method} raised {type(error).__name__}: {said}, on {task_words(task)}; mend it."
            ) from error
        if not isinstance(made, gymnasium.Env):
            raise MetaRLError(
                f"{self.name}: make_env returned {shown(made)} on {task_words(task)}; return a gymnasium.Env."
            )
        if "_first" in vars(self):
            there = zip(("observation", "action"), self.env_spaces, strict=True)
            for (word, space), own in zip(there, (made.observation_space, made.action_space), strict=True):
                if own != space:
                    raise MetaRLError(
                        f"{self.name}: the {word} space is {shown(own)} on {task_words(task)}, and {shown(space)} on "
                        "the default task; wrap the environments so that all tasks share one."
                    )
        return made

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "EnvsBatch":
        """Make environments on these tasks, or take some that are there, whose tensors lie on ``device``."""
        return EnvsBatch(self, tasks, keys, device, dtype)

    def render(self, history: History, task: Task) -> Frame:
        """Return the environment's own picture of the last state, from the episode played again."""
        seed, actions = int(history[0]["seed"]), [np.asarray(state["action"]) for state in history[1:]]
        key = seed, Tasks.stack([task]).hash
        envs, played = self._shown.pop(key, (None, []))
        goes_on = len(played) <= len(actions) and all(map(np.array_equal, played, actions))
        if envs is None or not goes_on:
            envs, played = envs or Simulators(self, 1), []
            envs.begin([0], [task], [seed])
        for action in actions[len(played) :]:
            envs.step(action[None])
        self._shown[key] = envs, actions
        if len(self._shown) > _FILMS:
            self._shown.pop(next(iter(self._shown)))[0].close()
        env = envs.envs[0]
        assert env is not None  # for mypy: it has begun
        return self._picture(env)

    def simulators(self, n: int) -> Simulators | Workers:
        """Return n environments, those of a batch that is gone where there are as many; ``keep`` takes them back."""
        # The processes of several seeds side by side may have none of their own, and the cores are taken anyway.
        workers = 0 if multiprocessing.current_process().daemon else min(self.workers, n)
        kind = Workers if workers else Simulators
        for i, kept in enumerate(self._idle):
            if kept.n == n and type(kept) is kind:
                return self._idle.pop(i)
        return Workers(self, n, workers) if workers else Simulators(self, n)

    def keep(self, envs: Simulators | Workers) -> None:
        """Keep environments for the next batch; closes those that have waited longest."""
        if not envs.closed:
            self._idle.append(envs)
        while len(self._idle) > _KEPT:
            self._idle.pop(0).close()

    @property
    def _makes(self) -> bool:
        return type(self).make_env is not GymnasiumFamily.make_env

    @cached_property
    def _first(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any], int | None]:
        """Spaces and time limit of the default task's environment."""
        env = self.env_of(self.default())
        limit = env.spec.max_episode_steps if env.spec is not None else None
        found = env.observation_space, env.action_space, limit
        env.close()
        return found

    def _new_env(self) -> Env:
        env = type(self).env
        if isinstance(env, str):
            return gymnasium.make(env)
        if not (inspect.isclass(env) and issubclass(env, gymnasium.Env)):
            raise MetaRLError(
                f"{self.name}: env = {shown(env)}; give an id of gymnasium.make, or a gymnasium.Env class."
            )
        return env()

    def _judged(self, judge: Callable[[gymnasium.Space[Any]], Any], space: gymnasium.Space[Any]) -> Any:
        """What a function makes of a space, or its error with the name of the family and the task."""
        try:
            return judge(space)
        except MetaRLError as error:
            raise MetaRLError(f"{self.name}, {task_words(self.default())}: {error}") from None

    def _picture(self, env: Env) -> Frame:
        modes = env.metadata.get("render_modes", [])
        if env.render_mode is None and "rgb_array" in modes:
            env.unwrapped.render_mode = "rgb_array"  # which environments read when they draw
        if env.render_mode != "rgb_array":
            raise NoGraphicsError(f"{self.name}: the environment draws {', '.join(modes) or 'nothing'}, no rgb_array.")
        try:
            picture: Any = env.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise NoGraphicsError(f"{self.name}: {' '.join(str(error).split())}.") from error
        return np.asarray(picture, dtype=np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the environments, which are made anew."""
        return {**self.__dict__, "_idle": [], "_shown": {}}


class EnvsBatch:
    """A batch of environments of a ``GymnasiumFamily``, one for each task and key ``(environment, 2)``.

    Each is reset with a seed of its own at every episode. Observations are float32 before they become ``dtype``.
    """

    def __init__(
        self, family: GymnasiumFamily, tasks: Tasks, keys: Tensor, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        if len(tasks) != len(keys) or not len(keys):
            raise MetaRLError(f"{len(tasks)} tasks for {len(keys)} environments; give one task for each key.")
        self.family, self.device = family, check_device(device)
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon, self.keys = family.horizon, keys.to(self.device)
        if dtype not in (torch.float32, torch.float64):
            raise MetaRLError(f"dtype={dtype}: an EnvsBatch returns torch.float32 or torch.float64; choose one.")
        self._number = torch.empty(0, dtype=dtype).numpy().dtype
        self._next = list(tasks)  # from the next reset on
        self._task: list[Task] = list(tasks)
        self._seeds = [-1] * len(keys)
        self._action = np.zeros((len(keys), action_size(family.env_spaces[1])))
        self._played: list[list[Array]] = [[] for _ in range(len(keys))]  # in the running episodes
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
            self._task[i], self._seeds[i], self._played[i] = self._next[i], seed, []
        self._action[ids] = 0.0
        return self._observation()

    def step(self, action: Tensor) -> Step:
        """Take a step with actions of the family's own space, ``(environment, ...)``."""
        rows = action.detach().cpu().numpy().reshape(self.num_envs, -1).astype(np.float64)
        if rows.shape != self._action.shape:
            raise MetaRLError(f"Actions have {rows.shape[1]} numbers each, they must have {self._action.shape[1]}.")
        self._action = rows
        for played, row in zip(self._played, rows, strict=True):
            played.append(row)
        self._envs.step(rows)
        outcome = self._envs.outcome
        terminated, truncated = (self._tensor(outcome[:, column] > 0) for column in (TERMINATED, TRUNCATED))
        extras = {name: self._numbers(outcome[:, EXTRAS + i]) for i, name in enumerate(self.family.extras)}
        return Step(self._observation(), self._numbers(outcome[:, REWARD]), terminated, truncated, extras)

    def _observation(self) -> Tensor:
        return self._numbers(self._envs.observation)

    def _numbers(self, value: Array) -> Tensor:
        return self._tensor(value.astype(self._number))  # which copies, for the environments write there again

    def _tensor(self, value: Array) -> Tensor:
        made = torch.from_numpy(value)
        return made if self.device.type == "cpu" else made.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the environments, whose episodes can be played again."""
        return {name: value for name, value in self.__dict__.items() if name != "_envs"}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._make()
        ids = [i for i, seed in enumerate(self._seeds) if seed >= 0]
        if ids:
            tasks, seeds, played = ([values[i] for i in ids] for values in (self._task, self._seeds, self._played))
            self._envs.begin(ids, tasks, seeds, played)  # type: ignore[arg-type]


def episode_seeds(keys: Tensor, episode: int | Tensor) -> list[int]:
    """Return the seeds of an episode's resets, one for each random stream ``(environment, 2)``: 31 bits each."""
    seeds: list[int] = (random_words(keys, Domain.RESET, episode, 1)[:, 0] >> 1).tolist()
    return seeds
