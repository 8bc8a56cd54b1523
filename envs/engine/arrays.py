"""Arrays of either kind: NumPy's on a CPU, where an operation on a few numbers costs a tenth of torch's, or a GPU's.

Functions written with operators, indices, methods that both kinds have (``sum(1)``, ``clip``, ``any(1)``) and the names
of the array API standard (``namespace(x).concat``, ``cos``, ``where``, ...) take both.
"""

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace

Array: TypeAlias = Any  # a NumPy array or a torch tensor; there is no common type to name


def namespace(array: Array) -> Any:
    """Return the functions of the array API standard (https://data-apis.org/array-api) for arrays of this kind."""
    # NumPy 2 has them itself; array_namespace takes as long as ten operations on small arrays.
    return np if isinstance(array, np.ndarray) else array_namespace(array)


def join(*parts: Array) -> Array:
    """Concatenate arrays ``(environment, ...)``, each flattened to a row per environment, to ``(environment, n)``."""
    return namespace(parts[0]).concat([p if p.ndim == 2 else p.reshape(len(p), -1) for p in parts], axis=1)


def along(vector: Array, angle: Array) -> Array:
    """Return the component ``(environment,)`` of vectors ``(environment, 2)`` in the direction of an angle in rad."""
    xp = namespace(vector)
    return vector[:, 0] * xp.cos(angle) + vector[:, 1] * xp.sin(angle)
