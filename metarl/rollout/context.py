"""What the owner of several rollouts keeps from one to the next."""

from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from torch import Tensor

from metarl.core.actions import ActionMap
from metarl.core.learner import MetaLearner
from metarl.rollout.batch import Batch, PureBatch
from metarl.rollout.compiled import CompiledStep, Way

_MOST_STEPS = 8  # compiled steps, each of which holds on to memory


class RolloutContext:
    """Hold how one learner's rollouts are played, and what is dear to make again.

    An agent, or an evaluation, has one and hands it to each of its rollouts.

    Args:
        compile: whether, and how, policy and environments of the torch engine step as one compiled function: True for
            a CUDA graph on a GPU and ``torch.compile`` elsewhere, or a ``Way`` by name.
    """

    def __init__(self, compile: bool | Way = False) -> None:
        self.compile = compile
        self.fitting: int | None = None  # environments at once that memory had room for, where it had not for all
        self._steps: dict[Any, CompiledStep] = {}
        self._map: tuple[gymnasium.Space[Any], torch.device, Callable[[Tensor], Tensor]] | None = None

    def to_env(self, space: gymnasium.Space[Any], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the map from policies' actions to an engine's; making it copies the space's limits to the device."""
        if self._map is None or self._map[0] is not space or self._map[1] != device:
            self._map = space, device, ActionMap(space, device, torch.float32).to_env
        return self._map[2]

    def compiled_step(
        self, learner: MetaLearner, batch: Batch, rows: tuple[int, int], deterministic: bool, way: Way
    ) -> CompiledStep | None:
        """Return the compiled step of policy and environments, or None where the engine's step is no pure function.

        Capturing or compiling takes longer than a rollout, so the last eight are kept.
        """
        if not isinstance(batch, PureBatch):
            return None
        to_env = self.to_env(batch.action_space, batch.device)
        key = (learner, batch.pure_step, to_env, rows, deterministic, batch.device, way)
        step = self._steps.pop(key, None)
        if step is None:
            observe = learner.observe if learner.online else None
            step = CompiledStep(learner.act, observe, *key[1:])
        self._steps[key] = step  # last, so that the first is the one longest unused
        if len(self._steps) > _MOST_STEPS:
            del self._steps[next(iter(self._steps))]
        return step
