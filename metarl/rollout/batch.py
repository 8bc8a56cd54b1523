"""The engine of a rollout: a batch of environments in lockstep, or each on its own."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import gymnasium
import torch
from torch import Tensor


class Step(NamedTuple):
    """The outcome of a step, environment axis first."""

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    extras: dict[str, Tensor]


class Batch(Protocol):
    """Environments of one family with a task each, stepped together on one device.

    What ``reset`` and ``step`` return may be the engine's own memory: read it, copy it, but do not write to it.
    """

    observation_space: gymnasium.Space[object]
    action_space: gymnasium.Space[object]
    horizon: int
    keys: Tensor  # (environment, 2): the random streams
    device: torch.device

    @property
    def num_envs(self) -> int:
        """Return the number of environments."""
        ...

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start episode number ``episode`` in all environments, or where ``rows`` is true; returns observations."""
        ...

    def step(self, action: Tensor) -> Step:
        """Take a step with actions of the family's own space, which are not clipped again."""
        ...


@runtime_checkable
class PureBatch(Protocol):
    """A batch whose step is a function of tensors and whose environments know nothing of each other.

    Such a batch can be cut into parts, and its step compiled together with a policy.
    """

    @property
    def pure_step(self) -> "PureStep":
        """Return the step as a function; equal functions do the same, whichever batch they are of."""
        ...

    def reads(self) -> dict[str, Tensor]:
        """Return what the next step reads beside the actions, by name."""
        ...

    def take(self, new: dict[str, Tensor]) -> Step:
        """Go on to what ``pure_step`` gave, and return it as a step."""
        ...

    def part(self, rows: slice) -> Batch:
        """Return some of the environments as a batch of their own, with the same random numbers."""
        ...


PureStep = Callable[[dict[str, Tensor], Tensor], dict[str, Tensor]]
"""From what a step reads and the actions to ``observation``, ``reward``, ``terminated``, and what else is next."""
