"""The options of the benchmark, a row of its table, and the timing of functions."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import tyro

from metarl.rollout.compiled import Way

Steps = Literal["eager", "compiled", "captured", "both"]


def way_of(steps: Steps) -> Way | Literal[False]:
    """Return how a ``RolloutContext`` compiles these steps."""
    return False if steps == "eager" else steps


@dataclass(frozen=True)
class Options:
    """The options of the benchmark: which parts are measured, how often, and where."""

    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """rollout, trpo, threads, physics, others, memory, inference, fewshot, scale, simulated, processes"""
    repeats: int = 5
    """each figure is the median of so many, taken in turn with what it is compared with"""
    threads: int = 2
    """torch threads"""
    device: str = "cpu"
    steps: Steps = "eager"
    """scale: as they are, by torch.compile, as a CUDA graph, or as a CUDA graph of what was compiled"""
    environments: int | None = None
    """scale: at most so many; as many as a device of this kind is good for unless given"""
    json: bool = False
    """print JSON"""


@dataclass(frozen=True)
class Row:
    """One comparison: the seconds of ours and of the other, and the ratio that is to be reached."""

    name: str
    ours: float
    other: float
    other_name: str
    target: float | None  # None where there is no ratio to reach
    note: str = ""

    @property
    def ratio(self) -> float:
        """Return how many times as fast ours is as the other."""
        return self.other / self.ours


def best_of(repeats: int, function: Callable[[], object], device: str) -> float:
    """Return the least seconds of several runs, after one that is not counted: what an undisturbed machine takes."""
    times = []
    for round_ in range(repeats + 1):
        started = time.perf_counter()
        function()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if round_:
            times.append(time.perf_counter() - started)
    return min(times)


def in_turn(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median seconds of each function, all taking turns, after one round that is not counted."""
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
