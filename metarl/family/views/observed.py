"""A family whose observation holds the task, for oracles and other policies that know their task."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs, Params, State, Transition
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import ReferencePolicy
from metarl.family.views.trials import ViewBatch
from metarl.rollout.batch import Batch, Step
from metarl.tasks import Split, Task, Tasks

_SAME = (
    *("id", "variant", "presets", "paper", "tasks", "ood", "split", "default_task", "action_space", "horizon"),
    *("episodes_per_trial", "floor", "optimum", "exact_optimum", "most_envs", "render_fps"),
)


def with_task(family: TaskFamily) -> TaskFamily:
    """Return a family whose observations are followed by the task vector, ``Tasks.vector``, in raw values.

    Environments, rollouts, scores and agents take it as any other; its tasks, splits and random streams are those of
    the family. The observation is a flat float32 Box. Raises where the family's is no Box.
    """
    if not isinstance(family, TaskFamily):
        raise MetaRLError(f"with_task takes a family, got {family!r}; make it first: with_task(make_family(...)).")
    if isinstance(family, _WithTask):
        return family
    return _WithTask(family) if type(family).render is TaskFamily.render else _WithPictures(family)


class _WithTask(TaskFamily):
    """A family as another sees it; it differs in its observations alone."""

    def __init__(self, inner: TaskFamily) -> None:
        if not isinstance(inner, TaskFamily):  # make_family calls the class with the name of another variant
            raise MetaRLError(f"with_task was made of one variant; for {inner!r} take with_task(make_family(...)).")
        space = inner.observation_space
        if not isinstance(space, Box):
            raise MetaRLError(f"{inner.name} observes {space}; the task can be appended only to a Box of numbers.")
        # The variant is made already, so nothing is to be overridden and checked: TaskFamily.__init__ is left out.
        vars(self).update({name: getattr(inner, name) for name in _SAME})
        self.inner = inner
        size = inner.splits.test.vector.shape[1]
        low, high = (np.concatenate([limit.ravel(), edge * np.full(size, np.inf)]) for limit, edge in _limits(space))
        self.observation_space = Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    @property
    def name(self) -> str:
        return self.inner.name

    @cached_property
    def splits(self) -> Split:
        return self.inner.splits

    def make_split(self, test: int | None = None) -> Split:
        return self.inner.make_split(test)

    def default(self) -> Task:
        return self.inner.default()

    def validate(self, task: Mapping[str, ArrayLike]) -> Task:
        return self.inner.validate(task)

    def use_workers(self, workers: int) -> None:
        self.inner.use_workers(workers)

    def use_engine(self, engine: str) -> None:
        self.inner.use_engine(engine)

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Batch:
        inner = cast(ViewBatch, self.inner.batch(tasks, keys, device, dtype))
        return TaskBatch(inner, self.observation_space, tasks, dtype)

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        shape = self.inner.observation_space.shape or ()
        return {name: _Unaware(reference, shape) for name, reference in self.inner.reference_policies().items()}

    def goals(self, tasks: Tasks) -> NDArray[np.float64] | None:
        return self.inner.goals(tasks)


class _WithPictures(_WithTask):
    # The views ask the class whether it has pictures.
    def render(self, history: Sequence[Mapping[str, NDArray[Any]]], task: Task) -> NDArray[np.uint8]:
        return self.inner.render(history, task)


class TaskBatch:
    """An engine's environments, each observation followed by the task that its episode is on."""

    def __init__(
        self, inner: ViewBatch, observation_space: gymnasium.Space[object], tasks: Tasks, dtype: torch.dtype
    ) -> None:
        self.inner, self.observation_space, self._dtype = inner, observation_space, dtype
        self.action_space, self.horizon, self.device = inner.action_space, inner.horizon, inner.device
        self._next = self._vector(tasks)  # of the next episode
        self._task = self._next  # of the running one

    @property
    def keys(self) -> Tensor:
        """Return the random streams ``(environment, 2)``."""
        return self.inner.keys

    @keys.setter
    def keys(self, keys: Tensor) -> None:
        self.inner.keys = keys

    @property
    def state(self) -> dict[str, Tensor]:
        """Return the engine's state, which pictures are drawn from."""
        return self.inner.state

    @property
    def threads(self) -> int:
        """Return the threads of the engine."""
        return int(getattr(self.inner, "threads", 1))

    @property
    def num_envs(self) -> int:
        """Return the number of environments."""
        return self.inner.num_envs

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Set new tasks where ``rows`` is true, seen and played from their next reset on."""
        self.inner.set_tasks(tasks, rows)
        self._next = torch.where(rows[:, None], self._vector(tasks), self._next)

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode in all environments, or where ``rows`` is true; return observations of all."""
        observation = self.inner.reset(episode, rows)
        self._task = self._next if rows is None else torch.where(rows[:, None], self._next, self._task)
        return self._with_task(observation)

    def step(self, action: Tensor) -> Step:
        """Take a step with actions of the action space."""
        outcome = self.inner.step(action)
        return outcome._replace(observation=self._with_task(outcome.observation))

    def _with_task(self, observation: Tensor) -> Tensor:
        return torch.cat([observation.flatten(1).to(self._dtype), self._task], dim=1)

    def _vector(self, tasks: Tasks) -> Tensor:
        return torch.as_tensor(tasks.vector, dtype=self._dtype, device=self.device)


class _Unaware(ReferencePolicy):
    """A reference policy of the family itself, which sees what it sees there."""

    def __init__(self, reference: ReferencePolicy, shape: tuple[int, ...]) -> None:
        self._reference, self._shape = reference, shape
        self.action_noise, self.episode_noise = reference.action_noise, reference.episode_noise

    def initial(self, params: Params, n_tasks: int) -> State:
        return self._reference.initial(params, n_tasks)

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return self._reference.begin_episode(params, state, noise)

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return self._reference.act(params, state, self._seen(observation), noise, deterministic)

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        seen = {name: self._seen(getattr(transition, name)) for name in ("observation", "next_observation")}
        return self._reference.observe(params, state, transition._replace(**seen))

    def _seen(self, observation: Tensor) -> Tensor:
        size = int(np.prod(self._shape))
        return observation[..., :size].reshape(*observation.shape[:-1], *self._shape)


def _limits(space: Box) -> tuple[tuple[NDArray[Any], int], tuple[NDArray[Any], int]]:
    return (space.low, -1), (space.high, 1)
