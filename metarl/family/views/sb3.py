"""Any family as a Stable-Baselines3 vector environment."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env import VecEnv

from metarl.core.actions import ActionMap
from metarl.core.errors import MetaRLError, shown
from metarl.family.base import TaskFamily
from metarl.family.registry import make_family
from metarl.family.views.observed import with_task
from metarl.family.views.trials import check_seed
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks

Array = NDArray[Any]
Info = dict[str, Any]
Indices = int | Iterable[int] | None


class TaskVecEnv(VecEnv):
    """A family's environments, stepped together by its engine, for SB3's and sb3-contrib's algorithms.

    They are the family's ``TaskEnv``, number for number: each is reset as soon as its episode is over; ``infos[i]`` has
    what ``TaskEnv``'s info has (``task``, ``trial_start`` and the family's extras), ``TimeLimit.truncated``, and at an
    episode's end ``terminal_observation``. ``reset_infos[i]`` is the info of the last reset. Environment i has the seed
    ``seed`` + i. Policies act in [-1, 1], which the engine scales to the family's Box, or in ``Discrete(n)``.

    Args:
        tasks: where a new task comes from every ``episodes_per_trial`` episodes (the family's number unless given):
            "train", or "val", "test" and "ood" for evaluation, or a ``Tasks`` batch. None with ``task``: one task for
            good, the family's default unless given.
        evaluation: that the environments are there to score policies on. Only so are val, test and ood tasks taken, in
            ``tasks``, ``task`` and ``set_options``. SB3's own ``learn`` cannot be kept from training on them; ours is.
        observe_task: whether the observation ends with the task vector (``with_task``).
    """

    def __init__(
        self,
        family: str | TaskFamily,
        num_envs: int,
        variant: str | None = None,
        *,
        tasks: str | Tasks | None = "train",
        task: Mapping[str, ArrayLike] | None = None,
        episodes_per_trial: int | None = None,
        observe_task: bool = False,
        evaluation: bool = False,
        seed: int | None = 0,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        made = make_family(family, variant)
        self.family = with_task(made) if observe_task else made
        if task is not None and isinstance(tasks, str) and tasks == "train":
            tasks = None
        self.evaluation = evaluation
        self._envs = TaskVectorEnv(
            self.family,
            num_envs,
            task=task,
            tasks=tasks,
            episodes_per_trial=episodes_per_trial,
            evaluation=evaluation,
            autoreset_mode=AutoresetMode.SAME_STEP,
            render_mode=render_mode,
            device=device,
        )
        self._map = ActionMap(self.family.action_space, "cpu", torch.float32)
        self._actions = np.empty(0)
        self.render_mode = render_mode  # the base class asks for it
        super().__init__(num_envs, copy.deepcopy(self.family.observation_space), sb3_action_space(self.family))
        shown: dict[str, Any] = {**self.metadata, "render_fps": self.family.render_fps}
        self.metadata = shown  # the base class sets it without the frame rate
        self.seed(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed environment i with ``seed`` + i, at the next reset."""
        return super().seed(check_seed(seed))

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Set the next reset's tasks: ``{"task": {...}}`` for all, or a list with one for each."""
        if not isinstance(options, list | dict | None):
            raise MetaRLError(f"set_options({shown(options)}): give a dict for all, or a list with one for each.")
        before = self._options
        super().set_options(options)
        try:
            self._reset_options_given()
        except Exception:
            self._options = before
            raise

    def reset(self) -> Array:
        """Begin the next episode everywhere; return observations ``(num_envs, ...)``."""
        observation, info = self._envs.reset(seed=self._seeds, options=self._reset_options_given())
        # Both are for one reset only.
        self._reset_seeds()
        self._reset_options()
        tasks = self._task_rows(info["task"])
        starts = info["trial_start"].tolist()
        self.reset_infos = [{"task": task, "trial_start": start} for task, start in zip(tasks, starts, strict=True)]
        return observation

    def step_async(self, actions: Array) -> None:
        """Take the actions ``(num_envs, ...)`` of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        """Take a step of every environment; return observations, rewards, dones and infos."""
        observation, reward, terminated, truncated, info = self._envs.step(self._scaled(self._actions))
        ended = terminated | truncated
        infos = self._infos(info, ended, truncated & ~terminated)
        return observation, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environments, which hold nothing open."""
        self._envs.close()

    def get_images(self) -> Sequence[Array | None]:
        """Return every environment's picture."""
        return self._envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return each environment's ``task``, or what all share: ``family``, ``action_space``, ``render_mode``, ..."""
        chosen = self._get_indices(indices)
        if attr_name == "task":
            if not any(self.reset_infos):
                raise MetaRLError("get_attr('task'): no task has been drawn yet; call reset() first.")
            return [copy.deepcopy(self.reset_infos[i]["task"]) for i in chosen]
        value = getattr(self, attr_name)
        return [value for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Raise, for the environments are rows of one engine and have no attributes to set."""
        raise MetaRLError(
            f"set_attr({attr_name!r}): a TaskVecEnv's environments have no attributes to set; give tasks by "
            "set_options({'task': ...}) before a reset, or make another TaskVecEnv."
        )

    def env_method(self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any) -> Any:
        """Return what each environment's ``render()`` gives, or the family's own method."""
        chosen = list(self._get_indices(indices))
        if method_name == "render":
            images = self.get_images()
            return [images[i] for i in chosen]
        method = getattr(self.family, method_name)
        return [method(*method_args, **method_kwargs) for _ in chosen]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Return that no environment has a Gymnasium wrapper."""
        return [False for _ in self._get_indices(indices)]

    def _scaled(self, actions: Array) -> Array:
        """Actions of the family's own space."""
        if isinstance(self.action_space, Discrete):
            given = self._numbers(actions, np.int64)
            return np.asarray(self._map.to_env(given))
        given = self._numbers(actions, np.float32)
        wanted = (self.num_envs, *(self.action_space.shape or ()))
        if given.shape != wanted:
            raise MetaRLError(f"Actions have shape {tuple(given.shape)}, they must have {wanted}.")
        return np.asarray(self._map.to_env(given).numpy())

    def _numbers(self, actions: Any, dtype: Any) -> torch.Tensor:
        """Actions as a tensor of its own; raises for what is no array of such numbers."""
        try:
            return torch.from_numpy(np.array(actions).astype(dtype, casting="same_kind", copy=False))
        except (TypeError, ValueError, RuntimeError) as error:
            kind = "integers" if dtype is np.int64 else "numbers"
            raise MetaRLError(f"Actions {shown(actions)} are no {kind}; give an array of {self.num_envs}.") from error

    def _infos(self, info: Info, ended: NDArray[np.bool_], out_of_time: NDArray[np.bool_]) -> list[Info]:
        """SB3's list of dicts from Gymnasium's dict of arrays, where an ended episode's numbers are in ``final_info``.

        Arrays are cut once for all environments; one dict at a time would take longer than the step.
        """
        anew = ended.any()
        last: Info = info["final_info"] if anew else info
        columns: dict[str, Sequence[Any]] = {}
        for name in last:
            if name.startswith("_") or name in ("task", "trial_start"):
                continue
            value = last[name] if not anew or name not in info else _pick(ended, last[name], info[name])
            columns[name] = value.tolist() if value.ndim == 1 else list(value)
        tasks: Info = info["task"]
        if anew:
            tasks = {k: v if k.startswith("_") else _pick(ended, last["task"][k], v) for k, v in tasks.items()}
        columns["task"] = self._task_rows(tasks)
        columns["trial_start"] = [False] * self.num_envs
        columns["TimeLimit.truncated"] = out_of_time.tolist()
        infos = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if anew:
            begun = self._task_rows(info["task"])
            for i in np.flatnonzero(ended):
                infos[i]["terminal_observation"] = info["final_obs"][i]
                self.reset_infos[i] = {"task": begun[i], "trial_start": bool(info["trial_start"][i])}
        return infos

    def _task_rows(self, tasks: Info) -> list[dict[str, Array]]:
        """Each environment's task, as arrays of its own."""
        named = {name: _rows(value) for name, value in tasks.items() if not name.startswith("_")}
        return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]

    def _reset_options_given(self) -> dict[str, Any] | None:
        if not any(self._options):
            return None
        if any(not isinstance(options, dict) or set(options) != {"task"} for options in self._options):
            raise MetaRLError(
                f"set_options({shown(self._options)}): give every environment a task, {{'task': ...}}, or none."
            )
        tasks = Tasks.stack([self.family.validate(options["task"]) for options in self._options])
        return {"task": self._envs.tasks_of(tasks)}


def sb3_action_space(family: TaskFamily) -> Box | Discrete:
    """Return the action space that SB3 sees, a Box as [-1, 1]; raises where SB3 has no policies for it."""
    space = family.action_space
    if isinstance(space, Discrete):
        return Discrete(space.n)
    if not isinstance(space, Box):
        raise MetaRLError(f"Stable-Baselines3 acts in a Discrete or a Box, and {family.name} has {space}.")
    return Box(-1.0, 1.0, space.shape, np.float32)


def _rows(value: Array) -> list[Array]:
    # Walking along an array would make numbers of scalars, which TaskEnv has as arrays.
    return list(value) if value.ndim > 1 else [value[i, ...] for i in range(len(value))]


def _pick(rows: NDArray[np.bool_], new: Array, old: Array) -> Array:
    return np.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)
