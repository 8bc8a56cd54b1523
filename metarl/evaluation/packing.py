"""Arrays in JSON, bit for bit: lists of numbers where there are few, compressed bytes where there are many."""

import base64
import zlib
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import Array

FEW = 100_000  # numbers: as a list, 10 million of them take a gigabyte and minutes


def pack(array: Array) -> Any:
    """Return a float64 array as lists, or as its shape and the base64 of its compressed little-endian bytes."""
    if array.size <= FEW:
        return array.tolist()
    data = zlib.compress(np.ascontiguousarray(array, dtype="<f8").tobytes(), level=1)
    return {"shape": list(array.shape), "zlib": base64.b64encode(data).decode()}


def unpack(content: Any) -> Any:
    """Return the array that ``pack`` wrote, and whatever else as it is; raises MetaRLError for damaged bytes."""
    if not isinstance(content, dict):
        return content
    try:
        data = zlib.decompress(base64.b64decode(content["zlib"], validate=True))
        return np.frombuffer(data, dtype="<f8").reshape(content["shape"]).astype(np.float64)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise MetaRLError(f"a packed array is damaged ({error!r}); evaluate the run again") from error
