"""Progress of long work on stderr: bars with the time to go on a terminal, a line every half minute elsewhere."""

import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

FIRST, EVERY = 5.0, 30.0  # seconds to the first line, which comes after those of importing, and between two lines


@dataclass
class _Part:
    """One of the things that are done side by side, such as the training of a seed."""

    name: str
    total: int
    done: int = 0
    begun: tuple[int, float] | None = None  # what had been done when it was first heard of, and that moment
    words: str = ""

    def line(self, unit: str) -> str:
        """Return how far it is, its rate and the time to go, in one line."""
        total = self.total
        words = [f"{self.done:,} of {total:,} {unit} ({100 * self.done // max(total, 1)}%)"]
        done, began = self.begun or (self.done, time.monotonic())
        rate = (self.done - done) / max(time.monotonic() - began, 1e-9)
        words += [f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s"] * (rate > 0) + [self.words] * bool(self.words)
        if rate > 0 and self.done < total:
            words.append(f"ETA {timedelta(seconds=round((total - self.done) / rate))}")
        return f"{self.name}: {', '.join(words)}"


class Reporter:
    """Shows on stderr how far some work is; calling it, as a ``Report``, says so.

    On a terminal every part of the work has a bar. Elsewhere each part that has not ended gets a line, the first after
    ``FIRST`` seconds and then one every ``EVERY``. Use it as a context; where the block raises, nothing more is said.

    Args:
        names: of the parts, by their keys, such as the seeds.
        total: how much each part has to do; or of each part by its key.
        unit: what is counted, in the plural.
        quiet: whether nothing is shown.
        summary: whether the lines end with one for each part, however short the work was.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        total: int | Mapping[int, int],
        unit: str,
        *,
        quiet: bool = False,
        summary: bool = False,
    ) -> None:
        totals = dict.fromkeys(names, total) if isinstance(total, int) else total
        self._parts = {key: _Part(name, totals[key]) for key, name in names.items()}
        self._unit, self._summary = unit, summary
        self._said, self._ended = False, threading.Event()
        console = Console(stderr=True)
        shown = console.is_terminal and not quiet
        self._bars = _bars(console) if shown else None
        self._tasks: dict[int, TaskID] = {}
        self._thread = None if shown or quiet else threading.Thread(target=self._speak, daemon=True)

    def __call__(self, key: int, done: int, words: str = "") -> None:
        part = self._parts[key]
        part.done, part.words = min(done, part.total), words
        part.begun = part.begun or (part.done, time.monotonic())
        if self._bars is not None:
            self._bars.update(self._tasks[key], completed=part.done, words=words)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._tasks = {
                key: self._bars.add_task(part.name, total=part.total, words="") for key, part in self._parts.items()
            }
            self._bars.start()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bars is not None:
            self._bars.stop()
        if self._thread is not None:
            self._thread.join()
            if kind is None and (self._said or self._summary):
                self._print(list(self._parts.values()))

    def _speak(self) -> None:
        wait = FIRST
        while not self._ended.wait(wait):
            wait = EVERY
            self._said = True
            # Of parts that wait for their turn there is nothing to say, unless nothing has begun.
            parts = [part for part in self._parts.values() if part.begun and part.done < part.total]
            self._print(parts or list(self._parts.values())[:1])

    def _print(self, parts: list[_Part]) -> None:
        with suppress(OSError, ValueError):  # work goes on where nobody listens
            sys.stderr.write("".join(part.line(self._unit) + "\n" for part in parts))
            sys.stderr.flush()


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[words]}"),
        console=console,
    )
