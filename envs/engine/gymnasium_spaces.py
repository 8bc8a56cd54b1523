"""How observations and actions of others' environments become rows of numbers, and back."""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.spaces.utils import flatten_space
from numpy.typing import NDArray

from metarl.core.actions import parts, to_gymnasium
from metarl.core.encoders import is_image
from metarl.core.errors import MetaRLError, shown
from metarl.core.spaces import flat_box

Array = NDArray[Any]
_MOST_ACTIONS = 4096  # of a MultiDiscrete space, given as one index


def flat_size(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers an observation has, flattened."""
    return math.prod(policy_observations(space).shape)


def policy_observations(space: gymnasium.Space[Any]) -> Box:
    """Return the space of observations as policies are given them: images as they are, others flattened as float32.

    Raises where Gymnasium flattens it to no Box.
    """
    if isinstance(space, Box) and is_image(space):
        return space
    flat = flat_box(space)
    if flat is None:
        raise MetaRLError(
            f"its observations {shown(space)} cannot be flattened to numbers; leave out texts, graphs and sequences "
            "with an observation wrapper."
        )
    with np.errstate(over="ignore"):  # the largest float64 is infinite in float32
        return Box(flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32)


def policy_actions(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return the space that policies act in: a Box flattened, a MultiDiscrete or MultiBinary as one Discrete.

    Raises where it is another one, or a Box without limits or of integers.
    """
    if isinstance(space, MultiDiscrete | MultiBinary):
        n = math.prod(_choices(space))
        if n > _MOST_ACTIONS:
            raise MetaRLError(
                f"its actions {shown(space)} are {n} combinations, {_MOST_ACTIONS} at most; wrap it with fewer."
            )
        return Discrete(n)
    _, box = parts(space)
    if box is None:
        return space
    if box.dtype is None or not np.issubdtype(box.dtype, np.floating) or not np.isfinite([box.low, box.high]).all():
        kind = "are integers" if box.dtype is not None and np.issubdtype(box.dtype, np.integer) else "have no limits"
        raise MetaRLError(
            f"its actions {shown(space)} {kind}; declare action_space = Box(low, high, shape), or wrap it with "
            "gymnasium.wrappers.RescaleAction or ClipAction."
        )
    return flatten_space(space) if isinstance(space, Box) and len(space.shape) != 1 else space


def action_size(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers a row has that stands for an action of an environment's space."""
    if isinstance(space, Discrete | MultiDiscrete | MultiBinary):
        return 1
    if isinstance(space, gymnasium.spaces.Tuple):
        return sum(action_size(part) for part in space)
    return math.prod(space.shape or ())


def env_actions(space: gymnasium.Space[Any], rows: Array) -> Sequence[Any]:
    """Return for rows of policies' actions ``(n, size)`` those n that an environment takes."""
    if isinstance(space, Box):  # first, for this is asked at every step
        return list(rows.astype(space.dtype).reshape(len(rows), *space.shape))
    if isinstance(space, Discrete):
        return list(rows[:, 0].astype(space.dtype))
    if isinstance(space, (MultiDiscrete, MultiBinary)):
        each = np.stack(np.unravel_index(rows[:, 0].astype(np.int64), _choices(space)), -1)
        start = space.start.reshape(-1) if isinstance(space, MultiDiscrete) else 0
        return list((each + start).astype(space.dtype).reshape(len(rows), *space.shape))
    return list(zip(*to_gymnasium(space, rows), strict=True))


def _choices(space: MultiDiscrete | MultiBinary) -> tuple[int, ...]:
    if isinstance(space, MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    return (2,) * math.prod(space.shape)
