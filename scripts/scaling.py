"""Forecast how far a training scales over processes: ``python scripts/scaling.py rl2 metarl/GridNavi-v0``.

One iteration is played in all blocks, and what is gathered is recorded. Then it is played again as the first of so many
processes, which computes its own blocks and is handed the others' from the record: its time is what a process computes,
what all do alike among it. Messages are counted, and their time follows from the network's latency and bandwidth. Times
are of the processor, so that other work on the machine matters little.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from metarl.algorithm.registry import agent_class
from metarl.core.parallel import BLOCKS, TaskParallel
from metarl.core.process import prepare_process
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot

_HEADER = 60  # bytes that name a tensor in a message
Iteration = Callable[[TaskParallel], float]  # plays one, always the same, and returns the processor's seconds


@dataclass(frozen=True)
class Options:
    """Forecast the time of an iteration in up to 64 processes."""

    what: Annotated[str, tyro.conf.Positional]
    """an agent, or fewshot:LEARNER"""
    on: Annotated[str, tyro.conf.Positional]
    """a family, or a data set"""
    preset: str = "default"
    """the configuration"""
    variant: str | None = None
    """of the family"""
    tasks: int | None = None
    """tasks of an iteration, in place of the preset's"""
    blocks: int = BLOCKS
    """blocks of tasks; a block for each process where there are more processes"""
    processes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """numbers of processes"""
    microseconds: float = 50.0
    """latency of a message between neighbours; 15 on one machine, 50 between machines"""
    gigabytes: float = 1.0
    """bandwidth in a second; 1 is what an Ethernet of 10 Gbit gives"""


class Recorded(TaskParallel):
    """One process of several without the others: it records what is gathered, or takes it from a record."""

    def __init__(self, blocks: int, world: int, record: Sequence[list[dict[str, Tensor]]] | None = None) -> None:
        super().__init__(blocks, 0, world)
        self.record = list(record or [])
        self._replayed = None if record is None else iter(record)

    def gather(self, parts: Sequence[Mapping[str, Tensor]], kind: str = "parts") -> list[dict[str, Tensor]]:
        """Return what was gathered when it was recorded."""
        if self._replayed is not None:
            return [dict(part) for part in next(self._replayed)]
        self.record.append([dict(part) for part in parts])
        return self.record[-1]

    @property
    def megabytes(self) -> float:
        """Return how much all processes together send to each."""
        tensors = [x for gathered in self.record for part in gathered for x in part.values()]
        return sum(x.numel() * x.element_size() + _HEADER for x in tensors) / 1e6


def iteration_of(options: Options) -> tuple[int, Iteration]:
    """Return how many tasks an iteration has, and what plays one."""
    kind, _, name = options.what.rpartition(":")
    made: Any
    if kind == "fewshot":
        data, config = make_dataset(options.on), preset_config(name, options.preset)
        config = config if options.tasks is None else replace(config, tasks=options.tasks)
        made = FewShot(name, data, config)
        made.fit(data, iterations=1)
    else:
        config = agent_class(options.what).presets[options.preset]
        config = config if options.tasks is None else replace(config, tasks=options.tasks)
        made = agent_class(options.what)(options.on, config, variant=options.variant)
        made.train_iteration()  # what is made once
        made.iteration += 1

    def iterate(parallel: TaskParallel) -> float:
        again = deepcopy(made)
        again.parallel, begun = parallel, time.process_time()
        if kind == "fewshot":
            again.fit(data, iterations=1)
        else:
            again.train_iteration()
        return time.process_time() - begun

    return int(config.tasks), iterate


def main(options: Options) -> None:
    """Print the forecast."""
    prepare_process(1)
    tasks, iterate = iteration_of(options)
    title = f"{options.what} on {options.on}, {tasks} tasks an iteration"
    table = Table(
        "processes", "blocks", "tasks each", "messages", "MB", "computes s", "sends s", "times as fast", title=title
    )
    whole = iterate(TaskParallel())
    for world in options.processes:
        blocks = max(options.blocks, world)
        if world > tasks:
            break
        recorded = Recorded(blocks, 1)
        iterate(recorded)
        computes = iterate(Recorded(blocks, world, recorded.record))
        sends = 0.0
        if world > 1:
            # In a ring each message passes all neighbours, and everything reaches everyone.
            latency = len(recorded.record) * (world - 1) * options.microseconds / 1e6
            sends = latency + recorded.megabytes / 1e3 / options.gigabytes
        cells = [str(world), str(min(blocks, tasks)), f"{tasks / world:.3g}", str(len(recorded.record))]
        cells += [f"{recorded.megabytes:.2f}", f"{computes:.3f}", f"{sends:.3f}", f"{whole / (computes + sends):.2f}"]
        table.add_row(*cells)
    Console(width=110).print(table)
    print(f"Against {whole:.3f} s of one process without blocks.")


if __name__ == "__main__":
    main(tyro.cli(Options))
