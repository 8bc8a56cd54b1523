"""Actions of policies in a space: a Discrete one, a one-dimensional bounded Box, or a Tuple of one of each."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Tuple
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.core.types import Noise, Outputs


class ActionLayout:
    """Describe how a policy's ``size`` outputs and its actions are laid out for an action space.

    A policy's action is an index ``(...)``, a vector ``(..., axes)`` in [-1, 1], or where a Discrete and a Box are
    mixed, ``(..., 1 + axes)``: the index as a float, then the vector. Raises on other spaces.
    """

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        discrete, box = parts(space)
        if box is not None and len(box.shape) != 1:
            raise MetaRLError(f"Policies act in one-dimensional Boxes, got {space}; flatten or wrap it.")
        self.choices = 0 if discrete is None else int(discrete.n)
        self.axes = 0 if box is None else int(box.shape[0])
        self.size = self.choices + self.axes

    @property
    def noise(self) -> Noise:
        """Return the noise of an action: a uniform to choose, a normal for each axis; uniforms for both if mixed."""
        if self.choices and self.axes:
            return Noise(1 + self.axes, "uniform")
        return Noise(1, "uniform") if self.choices else Noise(self.axes, "normal")

    def outputs(self, out: Tensor, log_std: Tensor | None) -> Outputs:
        """Return a network's outputs ``(..., size)`` as named parameters of a distribution of actions."""
        if log_std is None:
            return {"logits": out}
        mean = out[..., self.choices :]
        described = {"mean": mean, "log_std": log_std.expand_as(mean)}
        return {"logits": out[..., : self.choices], **described} if self.choices else described

    def features(self, action: Tensor) -> Tensor:
        """Return actions as rows ``(..., size)``: indices one-hot, vectors clipped to [-1, 1]."""
        if not self.choices:
            return action.clamp(-1, 1)
        if not self.axes:
            return functional.one_hot(action.long(), self.choices).float()
        chosen = functional.one_hot(action[..., 0].long(), self.choices)
        return torch.cat([chosen.to(action.dtype), action[..., 1:].clamp(-1, 1)], -1)


class ActionMap:
    """Map a policy's actions to those that an engine takes, in the family's own space, and back.

    An engine takes what Gymnasium does, stacked over environments; of a Tuple the index and the vector in one row.
    """

    def __init__(self, space: gymnasium.Space[Any], device: torch.device | str, dtype: torch.dtype) -> None:
        discrete, box = parts(space)
        self._discrete, self._box = discrete is not None, box is not None
        self._start = 0 if discrete is None else int(discrete.start)
        if box is None:
            return
        if not np.all(np.isfinite([box.low, box.high])):
            raise MetaRLError(f"Actions must be Discrete or a bounded Box, got {space}; give the Box finite limits.")
        low, high = (torch.as_tensor(limit, device=device, dtype=dtype) for limit in (box.low, box.high))
        self._half, self._middle = (high - low) / 2, (high + low) / 2
        self._symmetric = bool(np.all(box.low == -box.high))  # of the space: a device's numbers are not read

    def to_env(self, action: Tensor) -> Tensor:
        """Clip to [-1, 1] and scale to the Box; an index is shifted by the space's start."""
        if not self._discrete:
            return self._scaled(action)
        if not self._box:
            return action + self._start if self._start else action
        return torch.cat([action[..., :1] + self._start, self._scaled(action[..., 1:])], -1)

    def from_env(self, action: Tensor) -> Tensor:
        """Return the policy's action for one of the family's, as recorded data of other sources has them."""
        if not self._discrete:
            return self._unscaled(action)
        if not self._box:
            return action - self._start
        return torch.cat([action[..., :1] - self._start, self._unscaled(action[..., 1:])], -1)

    def _scaled(self, action: Tensor) -> Tensor:
        scaled = action.clamp(-1, 1) * self._half
        return scaled if self._symmetric else scaled + self._middle

    def _unscaled(self, action: Tensor) -> Tensor:
        return (action - self._middle) / self._half


def parts(space: gymnasium.Space[Any]) -> tuple[Discrete | None, Box | None]:
    """Return the Discrete and the Box of an action space, None for a missing one; raises for other spaces."""
    if isinstance(space, Discrete):
        return space, None
    if isinstance(space, Box):
        return None, space
    if isinstance(space, Tuple) and len(space.spaces) == 2:
        discrete, box = space.spaces
        if isinstance(discrete, Discrete) and isinstance(box, Box) and len(box.shape) == 1:
            return discrete, box
    raise MetaRLError(
        f"Actions must be Discrete or a bounded Box, or a Tuple of a Discrete and a one-dimensional Box, got {space}; "
        "flatten or wrap it."
    )


def to_gymnasium(space: gymnasium.Space[Any], action: NDArray[Any]) -> Any:
    """Return rows of an engine's actions as an environment of the space, or a vector of them, takes actions."""
    if isinstance(space, Tuple):
        discrete, box = space.spaces
        return to_gymnasium(discrete, action[..., 0]), to_gymnasium(box, action[..., 1:])
    # A single index as a number: an array of no dimensions is no key of a dict.
    return action.astype(space.dtype)[()]
