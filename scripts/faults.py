"""A campaign of faults: ``python scripts/faults.py [PART ...] [--fraction F] [--seed N] [--json]``.

It kills trainings at random moments (kills) and at every call that changes a file (calls), damages every kind of file
(damage), and gives odd values to configurations, tasks, views and the command line. What comes of a fault is the same
result, a clean error, a raw traceback or a wrong result; one of the last two makes the exit code 1.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Annotated

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a process is forked only from a single thread
os.environ["MPLBACKEND"] = "Agg"

import torch
import tyro
from rich.console import Console
from rich.table import Table

from campaign.outcome import KINDS, Trial
from campaign.trainees import Trainee, agents, learners, warm

_KILLS = 8  # of each trainee
_COUNTS = {"damage": 2400, "configs": 3200, "tasks": 1600, "views": 1400, "commands": 900}  # in all
_TRAPPED = ("maml", "maml sinusoid")
_SHOWN = 20  # of the faults that failed


@dataclass(frozen=True)
class Options:
    """The options of how much of the campaign is run."""

    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """kills, calls, damage, configs, tasks, views, commands; all unless given"""
    fraction: float = 1.0
    """of the trials of each part"""
    seed: int = 0
    """of the moments, damages and examples"""
    only: str = ""
    """kill only trainees whose name holds this"""
    json: bool = False
    """print the counts and what failed as JSON"""


# Imported when it is their turn, for that takes seconds.
_MODULES = {
    "kills": "kills",
    "calls": "calls",
    "damage": "damaging",
    "configs": "fuzz_configs",
    "tasks": "fuzz_tasks",
    "views": "fuzz_views",
    "commands": "fuzz_commands",
}


def trials_of(part: str, options: Options, trainees: Sequence[Trainee], work: Path) -> Iterator[Trial]:
    """Run the trials of a part."""
    run: Callable[..., Iterator[Trial]] = getattr(import_module(f"campaign.{_MODULES[part]}"), _MODULES[part])
    share, random = options.fraction, Random(f"{options.seed} {part}")
    if part == "kills":
        return run(trainees, max(1, round(share * _KILLS)), random, work)
    if part == "calls":
        # Two iterations: a first checkpoint, and one that takes the place of another.
        short = [each for each in (*agents(2), *learners(2)) if each.name in _TRAPPED]
        return run(short, min(1.0, share), random, work)
    count = max(1, round(share * _COUNTS[part]))
    return run(count, random, work) if part in ("damage", "commands") else run(count, random)


def main(options: Options) -> int:
    """Run the parts and print what came of them; 1 if a result was wrong or an error raw."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        trainees = [each for each in (*agents(), *learners()) if options.only in each.name]
        if unknown := set(options.parts) - set(_MODULES):
            sys.exit(f"error: {sorted(unknown)} are no parts; choose from {', '.join(_MODULES)}.")
        warm(trainees, work / "warm")
        for name in options.parts or _MODULES:
            started = time.monotonic()
            trials += trials_of(name, options, trainees, work)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    failed = [trial for trial in trials if trial.bad]
    if options.json:
        counts = [{"part": part, "subject": subject, **row} for (part, subject), row in _counted(trials).items()]
        print(json.dumps({"counts": counts, "failed": [asdict(trial) for trial in failed]}, indent=2))
    else:
        Console(width=120).print(_table(trials))
        for trial in failed[:_SHOWN]:
            print(f"{trial.kind}: {trial.part}, {trial.subject}: {trial.fault}\n    {trial.words}")
        if len(failed) > _SHOWN:
            print(f"and {len(failed) - _SHOWN} more; --json lists them all")
    return 1 if failed else 0


def _counted(trials: Sequence[Trial]) -> dict[tuple[str, str], dict[str, int]]:
    """Count how often each part's subject had each outcome."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for trial in trials:
        counts.setdefault((trial.part, trial.subject), Counter())[trial.kind] += 1
    return {key: {"trials": count.total(), **{kind: count[kind] for kind in KINDS}} for key, count in counts.items()}


def _table(trials: Sequence[Trial]) -> Table:
    """Make a table with a row for every subject, and one for all of a part."""
    table = Table("part", "what", box=None)
    for column in ("trials", "same result", "clean errors", "raw tracebacks", "wrong results"):
        table.add_column(column, justify="right")
    rows = _counted(trials)
    for part in dict.fromkeys(part for part, _ in rows):
        of_part = {subject: row for (name, subject), row in rows.items() if name == part}
        for subject, row in of_part.items():
            table.add_row(part, subject, *map(str, row.values()))
        sums = [str(sum(row[name] for row in of_part.values())) for name in ("trials", *KINDS)]
        table.add_row(part, "all", *sums, style="bold", end_section=True)
    return table


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
