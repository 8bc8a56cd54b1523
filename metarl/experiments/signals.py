"""Signals that ask a process to end: a training saves first, everything else ends at once and without a traceback."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

# A signal belongs to the whole process, and so does what it asked for.
_asked: int | None = None


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; ``words`` say what became of its work."""

    def __init__(self, number: int, words: str = "") -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}. {words}".rstrip())
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect of a process that a signal ended."""
        return 128 + self.number


def asked() -> int | None:
    """Return the signal that has asked this process to end, where it is ``deferring`` or ``in_child``."""
    return _asked


def stop_if_asked() -> None:
    """Raise Interrupted where a signal has asked for the end."""
    if _asked is not None:
        raise Interrupted(_asked)


@contextmanager
def raising() -> Iterator[None]:
    """Have each signal raise Interrupted in the block."""

    def interrupt(number: int, _: Any) -> None:
        raise Interrupted(number)

    with _handled(interrupt):
        yield


@contextmanager
def passed_to(receive: Callable[[int], None]) -> Iterator[None]:
    """Have each signal call ``receive`` with its number in the block."""
    with _handled(lambda number, _: receive(number)):
        yield


@contextmanager
def deferring(*, patient: bool = False) -> Iterator[None]:
    """Have the first signal only be noted in the block, for ``asked``; a second one ends the process at once.

    Where it is ``patient``, further ones are only noted too: whoever started it may pass on what it has got itself.
    """

    def note(number: int, _: Any) -> None:
        global _asked
        if _asked is not None:
            if patient:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        _asked = number
        # Not by print, for the signal may have come amid another one.
        os.write(2, f"\n{signal.Signals(number).name}: saving after this iteration; again to end at once.\n".encode())

    with _handled(note):
        try:
            yield
        finally:
            _forget()


@contextmanager
def blocked() -> Iterator[None]:
    """Hold the signals back in the block, and in processes that it starts until they call ``in_child``."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_child() -> None:
    """Have signals only be noted, however many: a terminal and the parent may both send one."""

    def note(number: int, _: Any) -> None:
        global _asked
        _asked = number

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, note)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Set a handler for the block; only the main thread may, and a signal that is ignored, as by nohup, stays so."""
    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if mine}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _forget() -> None:
    global _asked
    _asked = None
