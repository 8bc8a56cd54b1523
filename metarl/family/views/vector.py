"""Many environments of a family as a Gymnasium vector environment: what ``gymnasium.make_vec(id)`` gives."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError, shown
from metarl.family.base import TaskFamily
from metarl.family.registry import make_family
from metarl.family.views.trials import (
    METADATA,
    Actions,
    Mask,
    Snapshot,
    Trials,
    check_finite,
    check_options,
    check_render_mode,
    check_seed,
    to_numpy,
    whole_number,
)
from metarl.tasks import Tasks

Array = NDArray[Any]
_WIDE: dict[torch.dtype, Any] = {torch.float16: np.float64, torch.float32: np.float64}
_WIDE |= dict.fromkeys((torch.uint8, torch.int8, torch.int16, torch.int32), np.int64)
StepResult = tuple[Array, NDArray[np.float64], Mask, Mask, dict[str, Any]]


class TaskVectorEnv(VectorEnv[Array, Array, Array]):
    """A family's environments, stepped together by its engine.

    Environment i seeded with s (``reset(seed=s)`` seeds it with s + i) is the ``TaskEnv`` seeded so, number for number,
    in each of Gymnasium's autoreset modes; ``task``, ``tasks`` and ``episodes_per_trial`` mean what they mean there.
    ``reset(options={"task": ...})`` takes one task for all or a ``Tasks`` batch with one for each; ``"reset_mask"``
    says which environments are reset. Tasks of the test and ood parts are refused, by name or as values, wherever they
    are given, unless ``evaluation`` says that the vector is there to score agents on.
    """

    metadata: ClassVar[dict[str, Any]] = {**METADATA, "autoreset_mode": AutoresetMode.NEXT_STEP}  # type: ignore[misc]

    def __init__(
        self,
        family: str | TaskFamily,
        num_envs: int = 1,
        variant: str | None = None,
        *,
        task: Mapping[str, ArrayLike] | None = None,
        tasks: str | Tasks | None = None,
        episodes_per_trial: int | None = None,
        evaluation: bool = False,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.family, self.num_envs = make_family(family, variant), whole_number("num_envs", num_envs)
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError as error:
            modes = ", ".join(mode.value for mode in AutoresetMode)
            raise MetaRLError(f"autoreset_mode={shown(autoreset_mode)}; choose one of {modes}.") from error
        self.metadata = {**check_render_mode(self.family, render_mode), "autoreset_mode": self.autoreset_mode}  # type: ignore[misc]
        self.render_mode = render_mode
        self.single_observation_space = copy.deepcopy(self.family.observation_space)
        self.single_action_space = copy.deepcopy(self.family.action_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._trials = Trials(self.family, self.num_envs, task, tasks, episodes_per_trial, evaluation)
        self._batch = self._trials.batch(device, dtype)
        self._actions = Actions(self.single_action_space, self._batch.device, dtype)
        self._all, self._none = np.ones(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        self._ended = self._none  # episodes that are over and have not been reset
        self._running = False
        self._histories: list[list[Snapshot]] = [[] for _ in range(self.num_envs)]

    @torch.no_grad()
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode everywhere, or where ``options["reset_mask"]`` is true."""
        seed = int(seed) if isinstance(seed, np.integer) else seed
        chosen = check_options(options, ["task", "reset_mask"])
        rows = self._mask(chosen["reset_mask"]) if "reset_mask" in chosen else self._all
        given = self.tasks_of(chosen["task"]) if chosen.get("task") is not None else None
        seeds = self._seeds(seed)
        super().reset(seed=seed if isinstance(seed, int) else None)
        self._trials.seed(rows, seeds, self.np_random)
        self._batch.keys = self._trials.keys.to(self._batch.device)
        observation = self._begin(rows, given)
        self._ended = self._ended & ~rows
        self._running = True
        check_finite(self.family, observation=observation[rows])
        return observation, self._info(rows)

    @torch.no_grad()
    def step(self, actions: Array) -> StepResult:
        """Take a step of every environment with actions ``(num_envs, ...)`` of the family's own space."""
        if not self._running:
            raise MetaRLError(f"{self.family.name}: step() before reset(); call envs.reset() first.")
        if (given := self._actions.count(actions)) != self.num_envs:
            raise MetaRLError(f"{given} actions for {self.num_envs} environments; give one for each.")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise MetaRLError(
                f"Episodes of environments {np.flatnonzero(self._ended).tolist()} are over and autoreset is disabled; "
                "reset them with options={'reset_mask': mask}."
            )
        resetting = self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else self._none
        if resetting.all():  # an engine in lockstep does not step beyond the horizon
            observation, self._ended = self._begin(resetting), self._none
            return observation, np.zeros(self.num_envs), self._none.copy(), self._none.copy(), self._info(self._all)
        some = bool(resetting.any())
        outcome = self._batch.step(self._actions(actions, ~resetting if some else None))
        observation, reward = self._observation(outcome.observation), to_numpy(outcome.reward, np.float64)
        terminated, truncated = to_numpy(outcome.terminated), to_numpy(outcome.truncated)
        self._record(~resetting)
        if some:
            reward[resetting], terminated[resetting], truncated[resetting] = 0.0, False, False
            observation = self._begin(resetting)
        check_finite(self.family, observation=observation, reward=reward)
        ended, stepped = terminated | truncated, ~resetting
        info: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(ended):
                final[i] = observation[i]
            info = {"final_obs": final, "_final_obs": ended.copy()}
            info |= {"final_info": self._info(ended, outcome.extras, ended, starts=False), "_final_info": ended.copy()}
            observation, stepped = self._begin(ended), ~ended
        else:
            self._ended = ended
        self._trials.starts = self._trials.starts & ~stepped
        return observation, reward, terminated, truncated, info | self._info(self._all, outcome.extras, stepped)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return the family's picture of every environment's episode so far."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render mode; make the vector with render_mode='rgb_array'.")
            return None
        if not self._running:
            raise MetaRLError(f"{self.family.name}: render() before reset(); call envs.reset() first.")
        tasks = Tasks(self._trials.tasks)
        return tuple(self.family.render(history, tasks[i]) for i, history in enumerate(self._histories))

    def tasks_of(self, task: Any) -> Tasks:
        """Return the tasks ``(num_envs, ...)`` that a reset with such a ``task`` begins; raises where it may not."""
        if not isinstance(task, Tasks):
            one = Tasks.stack([self.family.validate(task)])
            self._trials.check(one)
            return one.repeat(self.num_envs)
        if len(task) != self.num_envs:
            raise MetaRLError(f"{len(task)} tasks for {self.num_envs} environments; give one for each.")
        tasks = Tasks.stack([self.family.validate(one) for one in task])
        self._trials.check(tasks)
        return tasks

    def _begin(self, rows: Mask, given: Tasks | None = None) -> Array:
        """Begin the next episode in ``rows``; returns the observations of all."""
        self._trials.begin(self._batch, rows, given)
        device = self._batch.device
        episode = torch.from_numpy(self._trials.episode).to(device)
        # Only a reset of all may drop the engine's state, which it does not have before the first one.
        observation = self._batch.reset(episode, None if rows.all() else torch.from_numpy(rows).to(device))
        for i in np.flatnonzero(rows):
            self._histories[i].clear()
        self._record(rows)
        return self._observation(observation)

    def _info(
        self, rows: Mask, extras: Mapping[str, Tensor] | None = None, stepped: Mask | None = None, starts: bool = True
    ) -> dict[str, Any]:
        """Gymnasium's vector format: an array for each name, and under ``_name`` which environments have it."""

        def fill(value: Array, mask: Mask) -> Array:
            if mask.all():
                return value.copy()
            return np.where(mask.reshape(-1, *[1] * (value.ndim - 1)), value, np.zeros((), value.dtype))

        task: dict[str, Any] = {}
        for name, value in self._trials.tasks.items():
            task |= {name: fill(value, rows), f"_{name}": rows.copy()}
        info: dict[str, Any] = {"task": task, "_task": rows.copy()}
        info |= {"trial_start": self._trials.starts & rows & starts, "_trial_start": rows.copy()}
        if extras and stepped is not None and stepped.any():
            for name, tensor in extras.items():
                # One environment has Python's numbers where an extra is a scalar, which Gymnasium makes 64 bits wide.
                value = to_numpy(tensor, _WIDE.get(tensor.dtype) if tensor.ndim == 1 else None)
                info[name], info[f"_{name}"] = fill(value, stepped), stepped.copy()
        return info

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        else:
            try:
                seeds = list(seed)
            except TypeError as error:
                raise MetaRLError(f"seed={shown(seed)}: give an integer, or a list with one for each.") from error
        if len(seeds) != self.num_envs:
            raise MetaRLError(f"{len(seeds)} seeds for {self.num_envs} environments; give one for each, or one number.")
        return [check_seed(each) for each in seeds]

    def _mask(self, mask: Any) -> Mask:
        if (
            not isinstance(mask, np.ndarray)
            or mask.shape != (self.num_envs,)
            or mask.dtype != np.bool_
            or not mask.any()
        ):
            raise MetaRLError(f"reset_mask must be a bool array ({self.num_envs},) with a true element, got {mask!r}.")
        if not self._running and not mask.all():
            raise MetaRLError(f"{self.family.name}: the first reset is of all environments; leave reset_mask out.")
        return np.array(mask)

    def _observation(self, value: Tensor) -> Array:
        return to_numpy(value, self.single_observation_space.dtype)

    def _record(self, rows: Mask) -> None:
        if self.render_mode is not None:
            state = {name: to_numpy(value) for name, value in self._batch.state.items()}
            for i in np.flatnonzero(rows):
                self._histories[i].append({name: value[i].copy() for name, value in state.items()})
