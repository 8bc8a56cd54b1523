"""Reference policies, task-blind or informed, which play the very tasks that agents are scored on.

A reference policy is a ``MetaLearner`` without anything to learn, so the rollout that serves the agents serves it too.
What it may know of the task reaches it in ``params``, under ``task.NAME``.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from torch import Tensor

from metarl.core.actions import ActionLayout
from metarl.core.learner import MetaLearner
from metarl.core.types import Outputs, Params, State, Transition
from metarl.tasks import Tasks

_PREFIX = "task."


class ReferencePolicy(MetaLearner):
    """A policy of fixed behaviour; a subclass defines ``act``, and ``observe`` where it remembers."""

    online = True

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"step": torch.zeros(n_tasks, dtype=torch.int64, device=_device(params))}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return {**state, "step": torch.zeros_like(state["step"])}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        return {**state, "step": state["step"] + 1}

    @staticmethod
    def task(params: Params) -> dict[str, Tensor]:
        """Return the true task, for policies that may know it."""
        return {name.removeprefix(_PREFIX): value for name, value in params.items() if name.startswith(_PREFIX)}


class FunctionPolicy(ReferencePolicy):
    """A reference policy that is a function of what it sees, the true task and the time.

    Args:
        choose: gives actions ``(task, 1[, d])``, in [-1, 1] or indices, for observations ``(task, 1, ...)``, a dict of
            task parameters ``(task, ...)`` and the episode's step ``(task,)``.
    """

    def __init__(self, choose: Callable[[Tensor, dict[str, Tensor], Tensor], Tensor]) -> None:
        self._choose = choose

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return self._choose(observation, self.task(params), state["step"]), {}


class RandomPolicy(ReferencePolicy):
    """A policy that is uniform over the action space; for comparison only, since beside it everything looks good."""

    def __init__(self, action_space: gymnasium.Space[Any]) -> None:
        self._layout = ActionLayout(action_space)
        self.action_noise = self._layout.noise._replace(kind="uniform")

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        index, vector = (noise[..., 0] * self._layout.choices).floor(), 2 * noise - 1
        if not self._layout.axes:
            return index.long(), {}
        return (torch.cat([index[..., None], vector[..., 1:]], -1) if self._layout.choices else vector), {}


def privileged_params(tasks: Tasks) -> Params:
    """Return params from which a reference policy knows its true task."""
    return {_PREFIX + key: value for key, value in tasks.tensors().items()}


def _device(params: Params) -> torch.device:
    return next((value.device for value in params.values()), torch.device("cpu"))
