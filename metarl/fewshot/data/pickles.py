"""Published pickles of arrays, read without running what they may hold.

A pickle names functions and has them called, so one from a stranger can do anything. Here it gets what arrays and plain
containers are made of, and nothing else.
"""

import builtins
import collections
import pickle
import re
from collections.abc import Sized
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError

_DEEPEST = 20  # containers in containers; published files have four
_SHARED = 10  # how often, on average, an item may be shared
_LONGEST = 10**7  # of a range


def _bytes(*content: Any) -> bytes:
    return bytes(*_of_something(content))


def _bytearray(*content: Any) -> bytearray:
    return bytearray(*_of_something(content))


def _of_something(content: tuple[Any, ...]) -> tuple[Any, ...]:
    if content and isinstance(content[0], int):
        raise ValueError(f"{content[0]} bytes of nothing")  # which a few bytes of a file could ask memory for
    return content


def _range(*limits: int) -> range:
    if len(made := range(*limits)) > _LONGEST:
        raise ValueError(f"{made} is longer than {_LONGEST}")
    return made


_BUILTINS = {
    name: getattr(builtins, name)
    for name in ("bool", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple")
} | {"bytes": _bytes, "bytearray": _bytearray, "range": _range}
_PYTHON_2 = {**_BUILTINS, "unicode": str, "long": int, "xrange": _range}
_KINDS = re.compile(r"[<>|=]?([biufc]\d+|[SUO]\d*)")
_FROM_BUFFER: Any = np.zeros(1).__reduce_ex__(5)[0]  # asked from NumPy, whose modules have changed their names


class _Kind:
    """Stands for a dtype: what a pickle sets in one can make NumPy crash, so only the order of bytes is taken over."""

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(name, str) or _KINDS.fullmatch(name) is None:
            raise ValueError(f"dtype {name!r} is none of plain numbers, words or objects")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array whose content is checked before NumPy has it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, shape, kind, fortran, content = state
        if isinstance(content, str):  # of Python 2
            content = content.encode("latin1")
        items = prod(shape)
        size = items if kind.dtype.hasobject else items * kind.dtype.itemsize
        if min(shape, default=0) < 0 or len(content) != size or isinstance(content, list) != kind.dtype.hasobject:
            raise ValueError(f"{len(content)} items or bytes are no array {shape} of {kind.dtype}")
        super().__setstate__((1, shape, kind.dtype, fortran, content))


class _Functions:
    """What is called to make arrays. As methods, because a pickle may set attributes of functions that it is given.

    They are not the reader's own: a circle of references would keep what it has read in memory for long.
    """

    def encode(self, text: str, encoding: str) -> bytes:
        """How Python 3 writes bytes for Python 2."""
        if encoding != "latin1":
            raise ValueError(f"bytes are written as latin1, not as {encoding!r}")
        return text.encode("latin1")

    def reconstruct(self, *_: Any) -> _Array:
        """Empty, for what it holds comes next."""
        return _Array(0, np.int8)

    def scalar(self, kind: _Kind, content: bytes | str) -> Any:
        return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, kind.dtype)[0]

    def from_buffer(self, content: bytes, kind: _Kind, *others: Any) -> NDArray[Any]:
        array: NDArray[Any] = _FROM_BUFFER(content, kind.dtype, *others)
        return array


class _Reader(pickle.Unpickler):
    """Gives a pickle what it asks for by name, where that is harmless."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")
        self._path, functions = path, _Functions()
        self._allowed: dict[tuple[str, str], Any] = {
            **{("builtins", name): each for name, each in _BUILTINS.items()},
            **{("__builtin__", name): each for name, each in _PYTHON_2.items()},
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("collections", "defaultdict"): collections.defaultdict,
            ("_codecs", "encode"): functions.encode,
            ("numpy", "ndarray"): None,  # only ever handed on to the next
            ("numpy", "dtype"): _Kind,
        }
        for core in ("numpy.core", "numpy._core"):  # before NumPy 2, and since
            self._allowed[f"{core}.multiarray", "_reconstruct"] = functions.reconstruct
            self._allowed[f"{core}.multiarray", "scalar"] = functions.scalar
            self._allowed[f"{core}.numeric", "_frombuffer"] = functions.from_buffer

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise MetaRLError(
                f"{self._path} asks for {module}.{name}, which could run code; only arrays and plain containers are "
                "read. Fetch the file anew from its publisher, or write it again with nothing else in it."
            )
        return self._allowed[module, name]


def read_pickle(path: Path) -> Any:
    """What a pickle of arrays and plain containers holds, of Python 2 or 3; keys of dicts that are bytes become str.

    A ``str`` of Python 2 becomes one whose characters are its bytes; encode it as latin1 to have them back. Raises
    where the file is missing, damaged, or asks for anything that arrays do not need, which is never called.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(path, file).load()
            return _Plain(_SHARED * file.tell() + 1000)(content)
    except MetaRLError:
        raise
    except OSError as error:
        raise MetaRLError(f"{path} cannot be read ({error}).") from error
    except Exception as error:  # a damaged pickle can raise whatever the calls that it asks for can raise
        raise MetaRLError(
            f"{path} is damaged or no pickle ({type(error).__name__}: {error}); delete it, and fetch it anew."
        ) from error


class _Plain:
    """Makes plain what was read. Raises where it holds itself, or the same so often that it would fill the memory.

    Args:
        most: items that are looked at. Each takes a byte of the file, but what is shared is written once.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, content: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"it holds itself, or containers nested more than {_DEEPEST} deep")
        if isinstance(content, dict):
            self._count(content)
            return {_plain_key(key): self(value, depth + 1) for key, value in content.items()}
        if isinstance(content, list):
            self._count(content)
            return [self(each, depth + 1) for each in content]
        objects = isinstance(content, np.ndarray) and content.dtype.hasobject
        if objects or isinstance(content, tuple | set | frozenset):
            items = list(content.flat) if objects else content
            self._count(items)
            for each in items:
                self(each, depth + 1)
        return content.view(np.ndarray) if isinstance(content, _Array) else content

    def _count(self, container: Sized) -> None:
        self._left -= len(container)
        if self._left < 0:
            raise ValueError("it holds the same containers again and again, more than fit into memory")


def _plain_key(key: Any) -> Any:
    return key.decode("latin1") if isinstance(key, bytes) else key
