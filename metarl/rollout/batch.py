"""What a rollout needs of an engine: a batch of environments in lockstep, or each on its own."""

from typing import NamedTuple, Protocol

import gymnasium
import torch
from torch import Tensor


class Step(NamedTuple):
    """What a step returns, environment axis first."""

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
        """Number of environments."""
        ...

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start episode number ``episode`` in all environments, or where ``rows`` is true; returns observations."""
        ...

    def step(self, action: Tensor) -> Step:
        """One step with actions of the family's own space, not clipped again."""
        ...
