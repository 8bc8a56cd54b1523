"""Checks of the arrays that figures of few-shot learning are drawn from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

LONGEST = 26  # characters, of a class's name


def numbers(name: str, values: ArrayLike) -> Array:
    """Return finite numbers; raises for anything else."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MetaRLError(f"{name}: no array of numbers ({error}); give one, without gradients, on the CPU.") from error
    if not np.isfinite(array).all():
        raise MetaRLError(
            f"{name} of shape {array.shape}: {(~np.isfinite(array)).sum()} are NaN or infinite; give finite ones."
        )
    return array


def class_labels(name: str, labels: ArrayLike, n: int, names: Sequence[str]) -> Labels:
    """Return classes ``(n,)`` of those that have a name; raises for anything else."""
    given = numbers(name, labels)
    if given.shape != (n,):
        raise MetaRLError(f"{name} has shape {given.shape}; {n} samples have labels ({n},).")
    whole = given.astype(np.int64)
    outside = given[(whole != given) | (whole < 0) | (whole >= len(names))]
    if len(outside):
        raise MetaRLError(f"{name} holds {outside[0]:g}; {len(names)} names are given, for 0 to {len(names) - 1}.")
    return whole


def short(text: str, most: int = LONGEST) -> str:
    """Return a text, or the two ends of one that has more than so many characters."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
