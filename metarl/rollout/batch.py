"""What a rollout needs of an engine: a batch of environments in lockstep, or each on its own."""

from typing import NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.errors import MetaRLError


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


class ActionMap:
    """Maps a policy's actions, in [-1, 1] or an index, to the family's action space and back."""

    def __init__(self, space: gymnasium.Space[object], device: torch.device | str, dtype: torch.dtype) -> None:
        if isinstance(space, gymnasium.spaces.Discrete):
            self.box, self.start = False, int(space.start)
            return
        if not isinstance(space, gymnasium.spaces.Box) or not np.all(np.isfinite([space.low, space.high])):
            raise MetaRLError(f"Actions must be Discrete or a bounded Box, got {space}; give the Box finite limits.")
        self.box = True
        low, high = (torch.as_tensor(limit, device=device, dtype=dtype) for limit in (space.low, space.high))
        self.half, self.middle = (high - low) / 2, (high + low) / 2
        self.symmetric = bool((self.middle == 0).all())

    def to_env(self, action: Tensor) -> Tensor:
        """Clip to [-1, 1] and scale to the Box; an index is shifted by the space's start."""
        if not self.box:
            return action + self.start if self.start else action
        scaled = action.clamp(-1, 1) * self.half
        return scaled if self.symmetric else scaled + self.middle

    def from_env(self, action: Tensor) -> Tensor:
        """The policy's action for one of the family's: recorded data of other sources has those."""
        return (action - self.middle) / self.half if self.box else action - self.start
