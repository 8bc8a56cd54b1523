"""Counts the calls by which a process changes files in a folder, and kills it at one of them."""

import builtins
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

Moment = Literal["before", "during", "after"]
_BY_PATH = ("open", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "chmod", "link", "truncate", "utime")
_BY_DESCRIPTOR = ("write", "fsync", "fdatasync", "ftruncate", "fchmod")
_OTHERS = "tfevents"  # TensorBoard writes these, in a thread of its own


class Trap:
    """Kills this process before, during or after the ``at``-th call; without a number it only counts.

    Args:
        folder: whose files matter, those of TensorBoard apart.
        at: number of the call, from 0.
        moment: only a write has a "during", when half of it is in the file.
    """

    def __init__(self, folder: Path, at: int | None = None, moment: Moment = "before") -> None:
        self.calls: list[str] = []
        self._folder, self._at, self._moment = str(folder), at, moment
        self._descriptors: set[int] = set()

    def call(self, name: str, function: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Do something that counts."""
        here = len(self.calls) == self._at
        self.calls.append(name)
        if here and self._moment == "before":
            _die()
        if here and self._moment == "during" and half is not None:
            half()
            _die()
        try:
            return function()
        finally:  # also where it fails, such as a mkdir of what is there
            if here and self._moment == "after":
                _die()

    def counts(self, path: Any, **more: Any) -> bool:
        """Whether a call with this path matters."""
        if isinstance(path, int):
            return path in self._descriptors
        name = os.fsdecode(path)
        inside = name.startswith(self._folder) or more.get("dir_fd") in self._descriptors
        return inside and _OTHERS not in name

    @contextmanager
    def set(self) -> Iterator["Trap"]:
        """Have all calls go through the trap."""
        names = [*_BY_PATH, *_BY_DESCRIPTOR]
        before = {name: getattr(os, name) for name in names}
        opened, fdopen, close = builtins.open, os.fdopen, os.close
        for name in names:
            setattr(os, name, self._wrapped(name, before[name]))
        builtins.open = io.open = self._opener(opened)
        os.fdopen = self._opener(fdopen)
        os.close = self._closer(close)
        try:
            yield self
        finally:
            for name in names:
                setattr(os, name, before[name])
            builtins.open = io.open = opened
            os.fdopen, os.close = fdopen, close

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(first: Any, *more: Any, **options: Any) -> Any:
            if not self.counts(first, **options):
                return function(first, *more, **options)
            half = None
            if name == "write":

                def half() -> Any:
                    return function(first, more[0][: len(more[0]) // 2])

            value = self.call(name, lambda: function(first, *more, **options), half)
            if name == "open":
                self._descriptors.add(value)
            return value

        return wrapper

    def _opener(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(file: Any, *more: Any, **options: Any) -> Any:
            mode = str(more[0] if more else options.get("mode", "r"))
            if not self.counts(file) or not set(mode) & set("wax+"):
                return function(file, *more, **options)
            if isinstance(file, int):  # its open has been counted
                return _File(function(file, *more, **options), self)
            return _File(self.call("open", lambda: function(file, *more, **options)), self, counted=True)

        return wrapper

    def _closer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(descriptor: int) -> None:
            self._descriptors.discard(descriptor)
            function(descriptor)

        return wrapper


class _File:
    """A file open for writing, whose writes count; ``counted`` where the trap does not know its descriptor yet."""

    def __init__(self, file: Any, trap: Trap, counted: bool = False) -> None:
        self._file, self._trap = file, trap
        if counted:
            trap._descriptors.add(file.fileno())

    def write(self, data: Any) -> Any:
        """Write, or in the trap half of it."""

        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        return self._trap.call("write", lambda: self._file.write(data), half)

    def flush(self) -> None:
        """What is buffered reaches the file."""
        self._trap.call("flush", self._file.flush)

    def close(self) -> None:
        """As of any file."""
        if not self._file.closed:
            self._trap._descriptors.discard(self._file.fileno())
            self._trap.call("close", self._file.close)

    def __enter__(self) -> "_File":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")
