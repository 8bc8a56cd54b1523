"""What comes of a fault: the same result, a clean error, a raw traceback or a wrong result."""

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metarl.core.errors import MetaRLError

Kind = Literal["same", "clean", "raw", "wrong"]
KINDS: tuple[Kind, ...] = ("same", "clean", "raw", "wrong")
SECONDS = 120.0  # a trial that takes longer hangs


class Hangs(BaseException):
    """A trial has taken too long. No library code that catches exceptions should catch it."""


@dataclass(frozen=True)
class Trial:
    """One fault and what came of it.

    Args:
        part: of the campaign.
        subject: what the fault was done to, which is a row of the table.
        fault: what was done.
        kind: what came of it.
        words: the error's, or what differs.
    """

    part: str
    subject: str
    fault: str
    kind: Kind
    words: str = ""

    @property
    def bad(self) -> bool:
        """Whether the campaign fails by it."""
        return self.kind in ("raw", "wrong")


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise Hangs where the block takes longer; in the main thread only."""

    def ring(*_: Any) -> None:
        raise Hangs(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged(call: Callable[[], Any], seconds: float = SECONDS) -> tuple[Kind, str, Any]:
    """Whether a call of the public API succeeds ("same") or fails cleanly or raw, its error's words, and its value."""
    try:
        with time_limit(seconds):
            return "same", "", call()
    except MetaRLError as error:
        return "clean", str(error), None
    except (Exception, SystemExit, KeyboardInterrupt, Hangs) as error:
        return "raw", described(error), None


def described(error: BaseException) -> str:
    """An error in one line, with the last place of the library in its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/metarl/" in frame.filename or "/agents/" in frame.filename]
    place = (ours or frames or [None])[-1]
    at = "" if place is None else f" at {Path(place.filename).name}:{place.lineno}"
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}{at}"
