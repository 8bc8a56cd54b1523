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
from pathlib import Path
from random import Random
from typing import Annotated

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a process is forked only from a single thread
os.environ["MPLBACKEND"] = "Agg"

import torch
import tyro
from campaign.calls import calls
from campaign.damaging import damaging
from campaign.fuzz_commands import fuzz_commands
from campaign.fuzz_configs import fuzz_configs
from campaign.fuzz_tasks import fuzz_tasks
from campaign.fuzz_views import fuzz_views
from campaign.kills import kills
from campaign.outcome import KINDS, Trial
from campaign.trainees import Trainee, agents, learners, warm
from rich.console import Console
from rich.table import Table

_KILLS, _DAMAGES = 8, 2400  # of each trainee; in all
_EXAMPLES = {"configs": 3200, "tasks": 1600, "views": 1400, "commands": 900}
_TRAPPED = ("maml", "maml sinusoid")
_SHOWN = 20  # of the faults that failed


@dataclass(frozen=True)
class Options:
    """How much of the campaign is run."""

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


def parts(options: Options, work: Path) -> dict[str, Callable[[Random], Iterator[Trial]]]:
    """Every part by its name."""
    share = options.fraction
    trainees = [each for each in (*agents(), *learners()) if options.only in each.name]
    short: Sequence[Trainee] = [each for each in (*agents(3), *learners(3)) if each.name in _TRAPPED]

    def examples(part: str) -> int:
        return max(1, round(share * _EXAMPLES[part]))

    return {
        "kills": lambda random: kills(trainees, max(1, round(share * _KILLS)), random, work),
        "calls": lambda random: calls(short, min(1.0, share), random, work),
        "damage": lambda random: damaging(round(share * _DAMAGES), random, work),
        "configs": lambda random: fuzz_configs(examples("configs"), random),
        "tasks": lambda random: fuzz_tasks(examples("tasks"), random),
        "views": lambda random: fuzz_views(examples("views"), random),
        "commands": lambda random: fuzz_commands(examples("commands"), random, work),
    }


def main(options: Options) -> int:
    """Run the parts and print what came of them; 1 if a result was wrong or an error raw."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        known = parts(options, work)
        if unknown := set(options.parts) - set(known):
            sys.exit(f"error: {sorted(unknown)} are no parts; choose from {', '.join(known)}.")
        warm(work / "warm")
        for name in options.parts or known:
            started = time.monotonic()
            trials += known[name](Random(f"{options.seed} {name}"))
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
    """How often each part's subject had each outcome."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for trial in trials:
        counts.setdefault((trial.part, trial.subject), Counter())[trial.kind] += 1
    return {key: {"trials": count.total(), **{kind: count[kind] for kind in KINDS}} for key, count in counts.items()}


def _table(trials: Sequence[Trial]) -> Table:
    """A row for every subject, and one for all of a part."""
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
