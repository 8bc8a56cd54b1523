"""Spaces of Gymnasium as rows of numbers."""

from typing import Any

import gymnasium
from gymnasium.spaces import Box
from gymnasium.spaces.utils import flatten_space


def flat_box(space: gymnasium.Space[Any]) -> Box | None:
    """Return the Box of a space's flattened values, or None where Gymnasium flattens it to none."""
    try:
        flat = flatten_space(space)
    except NotImplementedError:  # of spaces such as texts
        return None
    return flat if isinstance(flat, Box) else None
