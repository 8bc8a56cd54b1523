"""Arrays of either kind: NumPy's on a CPU, where an operation on a few numbers costs a tenth of torch's, or a GPU's.

Functions that are written with operators, indices, methods that both have (``sum(1)``, ``clip``, ``any(1)``) and the
names of the array API standard (``namespace(x).concat``, ``cos``, ``where``, ...) take both.
"""

from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any  # a NumPy array or a torch tensor; there is no common type to name

_namespaces: dict[type, Any] = {}


def namespace(array: Array) -> Any:
    """The functions of the array API standard (https://data-apis.org/array-api) for arrays of this kind."""
    kind = type(array)
    if kind not in _namespaces:  # looked up once, for it takes as long as ten operations
        _namespaces[kind] = array_namespace(array)
    return _namespaces[kind]


def join(*parts: Array) -> Array:
    """Side by side in one row for each environment: ``(environment, ...)`` each, ``(environment, n)`` together."""
    return namespace(parts[0]).concat([p if p.ndim == 2 else p.reshape(len(p), -1) for p in parts], axis=1)
