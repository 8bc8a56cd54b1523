"""Families of environments that others wrote: anything with Gymnasium's ``reset`` and ``step``, one task each."""

import inspect
import multiprocessing
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.core.errors import MetaRLError, NoGraphicsError, shown
from metarl.envs.drawing import Frame, History
from metarl.envs.engine.gymnasium_batch import EnvsBatch
from metarl.envs.engine.gymnasium_spaces import Array, action_size, policy_actions, policy_observations
from metarl.envs.engine.simulators import Env, Simulators, Workers, task_words
from metarl.family.base import TaskFamily
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
    ``gymnasium.spaces.utils.flatten`` to float32, but images, a Box of three dimensions from 0 to 255, keep their
    shape; actions are Discrete, a bounded Box, a Tuple of one of each, or a
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
    most_envs = 256
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
        flat = self._checked(policy_observations, self.env_spaces[0])
        if self.observation_space.shape != flat.shape:
            raise MetaRLError(
                f"{self.name}: observation_space has shape {self.observation_space.shape}, observations of the "
                f"environment have {flat.shape} as policies see them; leave it out, or declare that."
            )
        given = action_size(self.action_space)
        if given != action_size(self.env_spaces[1]):
            raise MetaRLError(
                f"{self.name}: action_space {self.action_space} does not fit the environment's {self.env_spaces[1]}."
            )
        self.use_workers(self.workers)

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
        """Return the space of observations: flattened, or of images."""
        space: gymnasium.Space[Any] = self._checked(policy_observations, self.env_spaces[0])
        return space

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Return the space that policies act in."""
        space: gymnasium.Space[Any] = self._checked(policy_actions, self.env_spaces[1])
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
    ) -> EnvsBatch:
        """Make environments on these tasks, or take some that are there, whose tensors lie on ``device``."""
        return EnvsBatch(self, tasks, keys, device, dtype)

    def use_workers(self, workers: int) -> None:
        """Step environments in so many processes from now on, 0 for none; the numbers stay the same."""
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise MetaRLError(f"{self.name}: workers={shown(workers)}; give the number of processes, 0 for none.")
        self.workers = workers

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

    def _checked(self, function: Callable[[gymnasium.Space[Any]], Any], space: gymnasium.Space[Any]) -> Any:
        """Return what a function makes of a space, or raise its error with the name of the family and the task."""
        try:
            return function(space)
        except MetaRLError as error:
            raise MetaRLError(f"{self.name}, {task_words(self.default())}: {error}") from None

    def _picture(self, env: Env) -> Frame:
        modes = env.metadata.get("render_modes", [])
        without = env.render_mode is None
        if without and "rgb_array" in modes:
            env.unwrapped.render_mode = "rgb_array"  # which environments read when they draw
        if env.render_mode != "rgb_array":
            raise NoGraphicsError(f"{self.name}: the environment draws {', '.join(modes) or 'nothing'}, no rgb_array.")
        try:
            picture: Any = env.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise NoGraphicsError(f"{self.name}: {' '.join(str(error).split())}.") from error
        except AttributeError as error:  # of environments that hand on their mode when they are made
            if not without:
                raise
            raise NoGraphicsError(f"{self.name}: made without render_mode='rgb_array', it draws nothing.") from error
        return np.asarray(picture, dtype=np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the environments, which are made anew."""
        return {**self.__dict__, "_idle": [], "_shown": {}}
