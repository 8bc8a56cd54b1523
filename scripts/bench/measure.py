"""What every part of the benchmark is made of: options, a row of the table, and functions timed in turn."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro


@dataclass(frozen=True)
class Options:
    """What to measure: all parts unless named."""

    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """rollout, trpo, threads, physics, memory, inference, fewshot"""
    repeats: int = 5
    """each figure is the median of so many, taken in turn with what it is compared with"""
    threads: int = 2
    """torch threads"""
    device: str = "cpu"
    json: bool = False
    """print JSON"""


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of ours and of the other, and what the ratio is asked to be."""

    name: str
    ours: float
    other: float
    other_name: str
    asked: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times as fast as the other."""
        return self.other / self.ours


def in_turn(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Median seconds of each function, the functions taking turns, after one round that is not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for round_ in range(repeats + 1):
        for taken, function in zip(times, functions, strict=True):
            started = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_:
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]
