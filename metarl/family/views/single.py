"""One environment of a family as a plain Gymnasium environment: what ``gymnasium.make(id)`` gives."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError
from metarl.family.base import TaskFamily
from metarl.family.registry import make_family
from metarl.family.views.trials import (
    METADATA,
    Actions,
    Snapshot,
    Trials,
    check_finite,
    check_options,
    check_render_mode,
    check_seed,
    to_numpy,
)
from metarl.tasks import Task, Tasks

_ROW = np.ones(1, dtype=bool)


class TaskEnv(gymnasium.Env[NDArray[Any], Any]):
    """A single environment of a task family.

    ``gymnasium.make(id)`` is on the family's default task, ``make(id, task={...})`` on another for good;
    ``make(id, tasks="train")`` has a new task every ``episodes_per_trial`` resets (see ``Trials`` for which).
    ``reset(options={"task": {...}})`` starts a trial on that task; without ``tasks`` it is the task from then on. A
    single environment may have any task; with ``evaluation=False`` it refuses those that agents are scored on.

    ``info`` holds copies: ``task`` (name -> array), ``trial_start`` (true in the info of a reset that starts a trial),
    and after a step the family's extras. The horizon truncates; no ``TimeLimit`` is needed.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(
        self,
        family: str | TaskFamily,
        variant: str | None = None,
        *,
        task: Mapping[str, ArrayLike] | None = None,
        tasks: str | Tasks | None = None,
        episodes_per_trial: int | None = None,
        evaluation: bool = True,
        render_mode: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.family = make_family(family, variant)
        self.metadata = check_render_mode(self.family, render_mode)  # type: ignore[misc]
        self.render_mode = render_mode
        self.is_plain = task is None and tasks is None  # no tasks were chosen, so it may stand for its family
        # A space holds a generator of its own, which environments must not share.
        self.observation_space = copy.deepcopy(self.family.observation_space)
        self.action_space = copy.deepcopy(self.family.action_space)
        self._trials = Trials(self.family, 1, task, tasks, episodes_per_trial, evaluation)
        self._batch = self._trials.batch(device, dtype)
        self._actions = Actions(self.action_space, self._batch.device, dtype)
        self._history: list[Snapshot] = []
        self._running = False

    @property
    def task(self) -> Task:
        """Return the current task."""
        return {name: np.array(value[0]) for name, value in self._trials.tasks.items()}

    @torch.no_grad()
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin the next episode; a seed picks the random stream and begins with its episode 0 and its trial 0."""
        given = check_options(options, ["task"]).get("task")
        tasks = None if given is None else Tasks.stack([self.family.validate(given)])
        if tasks is not None:
            self._trials.check(tasks)
        seed = check_seed(seed)
        super().reset(seed=seed)
        self._trials.seed(_ROW, [seed], self.np_random)
        self._trials.begin(self._batch, _ROW, tasks)
        self._batch.keys = self._trials.keys.to(self._batch.device)
        observation = self._batch.reset(int(self._trials.episode[0]))
        self._history.clear()
        self._record()
        self._running = True
        array = self._observation(observation)
        check_finite(self.family, observation=array)
        return array, self._info(bool(self._trials.starts[0]))

    @torch.no_grad()
    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Take a step with an action of the family's own space, clipped to its Box."""
        if not self._running:
            raise MetaRLError(f"{self.family.name}: step() before reset(): no episode is running; call env.reset().")
        outcome = self._batch.step(self._actions.one(action))
        observation, reward = self._observation(outcome.observation), float(outcome.reward[0])
        check_finite(self.family, observation=observation, reward=np.asarray(reward))
        self._record()
        info = self._info(trial_start=False)
        for name, value in outcome.extras.items():
            info[name] = value[0].item() if value.ndim == 1 else to_numpy(value[0])
        terminated, truncated = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        self._running = not (terminated or truncated)
        return observation, reward, terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """Return the family's picture of the episode so far."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render mode; make the environment with render_mode='rgb_array'.")
            return None
        if not self._history:
            raise MetaRLError(f"{self.family.name}: render() before reset(); call env.reset() first.")
        return self.family.render(self._history, self.task)

    def _observation(self, value: torch.Tensor) -> NDArray[Any]:
        return to_numpy(value[0], self.observation_space.dtype)

    def _info(self, trial_start: bool) -> dict[str, Any]:
        return {"task": self.task, "trial_start": trial_start}

    def _record(self) -> None:
        if self.render_mode is not None:
            self._history.append({name: to_numpy(value[0]) for name, value in self._batch.state.items()})
