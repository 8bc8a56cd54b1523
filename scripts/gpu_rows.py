"""Measure on a GPU what waits for one, in order of value: ``python scripts/gpu_rows.py --minutes 25 --dry-run``.

Each row is a list of commands that go on where they were stopped, with a bound in minutes of its own. A row that is
done is not run again; what it publishes reaches ``results/`` whole, once all of its commands have ended well.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from metarl.errors import MetaRLError
from metarl.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
_TO_STOP = 20  # seconds that a command has to leave by itself
_LEAST = 5  # seconds left with which a row is worth beginning
DONE, UNFINISHED, FAILED = "done", "unfinished", "failed"


@dataclass(frozen=True)
class Row:
    """Something to measure.

    ``{device}``, ``{runs}`` and ``{results}`` in its commands are the device, the folder of runs and where to publish
    to. The first word is ``metarl``, ``pytest``, ``python``, or a file of ``scripts/``.
    """

    name: str
    minutes: float  # at most
    commands: tuple[str, ...]


def _trained(name: str, minutes: float, train: str, publish: str = "") -> Row:
    """Train, then publish."""
    options = f"--name {name} --jobs 1 --resume --device {{device}} --runs {{runs}}"
    shown = f"publish.py {{runs}}/{name} --results {{results}} --device {{device}} {publish}".strip()
    return Row(name, minutes, (f"metarl {'' if train.startswith('fewshot') else 'train '}{train} {options}", shown))


_TRIALS = "--tasks 100000 --no-deterministic"  # fresh ones, as the reference has it
_BANDIT, _POINT, _SPARSE = "metarl/BernoulliBandit-v0", "metarl/PointNavigation-v0", "metarl/SparseSemicircle-v0"

# The order is that of value: what is behind may never have its turn.
ROWS: tuple[Row, ...] = (
    _trained("gpu-rl2-gridnavi", 5, "rl2 metarl/GridNavi-v0 --seed 0"),
    _trained("gpu-rl2-bandit-k5", 5, f"rl2 {_BANDIT} --variant k5 --preset bandit --seed 0", _TRIALS),
    _trained("gpu-rl2-bandit-k10", 5, f"rl2 {_BANDIT} --variant k10 --preset bandit-wide --seed 0", _TRIALS),
    Row("gpu-tests", 6, ("pytest -q -p no:cacheprovider -m gpu",)),
    Row("gpu-speed", 8, ("benchmark.py scale --device {device} --repeats 2 --json",)),
    Row("gpu-speed-captured", 8, ("benchmark.py scale --device {device} --repeats 2 --compile --json",)),
    *(
        _trained(f"gpu-{learner}-{preset}", minutes, f"fewshot train {learner} --preset {preset} --source omniglot")
        for learner, preset, minutes in (
            ("prototypical", "paper", 6),
            ("maml", "paper", 12),
            ("prototypical", "paper-5-shot", 6),
            ("maml", "paper-5-shot", 12),
            ("maml", "paper-20-way", 15),
            *((each, "paper", 5) for each in ("matching", "relation", "siamese", "snail", "mann")),
            *((each, "paper", 8) for each in ("fomaml", "meta-sgd", "anil", "reptile")),
        )
    ),
    # The budget of the paper's code.
    _trained("gpu-maml-trpo", 15, f"maml {_POINT} --preset trpo --seed 0"),
    _trained("gpu-rl2-bandit-k50", 10, f"rl2 {_BANDIT} --variant k50 --preset bandit-wide --seed 0", _TRIALS),
    _trained("gpu-rl2-tabular", 10, "rl2 metarl/TabularMDP-v0 --preset tabular --seed 0", "--tasks 10000"),
    _trained("gpu-pearl-point", 10, f"pearl {_POINT} --variant pearl --preset point --seed 0"),
    _trained("gpu-pearl-semicircle", 20, f"pearl {_SPARSE} --variant pearl --preset semicircle --seed 0"),
    _trained("gpu-varibad-semicircle", 15, f"varibad {_SPARSE} --variant varibad --preset semicircle --seed 0"),
    _trained("gpu-maml-promp", 30, f"maml {_POINT} --preset promp --seed 0"),
    Row("gpu-speed-simulated", 8, ("benchmark.py simulated --device {device} --repeats 1 --threads 1 --json",)),
)


@dataclass(frozen=True)
class Place:
    """Where rows run and write."""

    device: str
    runs: Path
    results: Path

    @property
    def notes(self) -> Path:
        """What became of each row."""
        return self.runs / "gpu-rows.json"

    def log(self, row: Row) -> Path:
        """All that a row's commands said."""
        return self.runs / f"{row.name}.log"

    def staged(self, row: Row) -> Path:
        """Where a row publishes before it is whole."""
        return self.runs / f".{row.name}-results"

    def known(self) -> dict[str, Any]:
        """The notes so far."""
        return dict(json.loads(self.notes.read_text())) if self.notes.exists() else {}

    def arguments(self, row: Row, command: str) -> list[str]:
        """A command's words for the operating system."""
        named = {"device": self.device, "runs": str(self.runs), "results": str(self.staged(row))}
        program, *words = (word.format_map(named) for word in shlex.split(command))
        if program == "python":
            return [sys.executable, *words]
        if program in ("metarl", "pytest"):
            return [sys.executable, "-m", "metarl.cli" if program == "metarl" else program, *words]
        if not (ROOT / "scripts" / program).is_file():
            raise MetaRLError(f"Row {row.name!r}: {program!r} is no metarl, pytest, python or file of scripts/.")
        return [sys.executable, str(ROOT / "scripts" / program), *words]


def run_rows(rows: Sequence[Row], place: Place, minutes: float) -> dict[str, Any]:
    """Run what is not done yet, one row after the other, until the minutes are over; returns the notes."""
    if minutes <= 0:
        raise MetaRLError(f"--minutes {minutes:g}: it must be more than 0.")
    end = time.monotonic() + 60 * minutes
    for row in rows:
        if place.known().get(row.name, {}).get("state") == DONE:
            continue
        left = end - time.monotonic()
        if left < min(_LEAST, 60 * row.minutes):
            break
        print(f"{row.name}: at most {min(row.minutes, left / 60):.1f} minutes", flush=True)
        started = time.monotonic()
        state = run_row(row, place, min(60 * row.minutes, left))
        seconds = time.monotonic() - started
        before = place.known().get(row.name, {}).get("seconds", 0.0)
        note = {"state": state, "seconds": round(before + seconds, 1), "log": str(place.log(row))}
        write_atomic(place.notes, json.dumps({**place.known(), row.name: note}, indent=2) + "\n")
        print(f"{row.name}: {state} after {seconds:.0f} s", flush=True)
    return place.known()


def run_row(row: Row, place: Place, seconds: float) -> str:
    """Run a row's commands within some seconds; what they publish is moved to the results if all ended well."""
    staged = place.staged(row)
    shutil.rmtree(staged, ignore_errors=True)  # of a row that was killed
    try:
        state = _commands(row, place, time.monotonic() + seconds)
        if state == DONE:
            for folder in (path.parent for path in sorted(staged.rglob("summary.json"))):
                _put(folder, place.results / folder.relative_to(staged))
        return state
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _commands(row: Row, place: Place, end: float) -> str:
    """Run one after the other until one fails or the time is up."""
    place.runs.mkdir(parents=True, exist_ok=True)
    with place.log(row).open("a") as log:
        for command in row.commands:
            log.write(f"$ {command}\n")
            log.flush()
            code = _run(place.arguments(row, command), log, end - time.monotonic())
            if code is None:
                return UNFINISHED
            if code:
                return FAILED
    return DONE


def _run(arguments: list[str], log: Any, seconds: float) -> int | None:
    """A command's exit code; None where it had to be stopped. Interrupted, a training has its last checkpoint."""
    process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None
    except BaseException:  # an interrupt of this script is one of the command too
        process.kill()
        process.wait()
        raise


def _put(folder: Path, target: Path) -> None:
    """A folder into its place: another that is there goes aside first, so that no file of both is mixed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (beside, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(folder, beside)  # the runs may be on another disk, and only a rename on the same one is atomic
    if target.exists():
        os.replace(target, old)
    os.replace(beside, target)
    shutil.rmtree(old, ignore_errors=True)


def main(
    minutes: float = 25,
    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    device: str = "cuda",
    runs: Path = ROOT / "runs",
    results: Path = ROOT / "results",
    dry_run: bool = False,
) -> int:
    """Run the rows.

    Args:
        minutes: for all of them together.
        only: a row's name; may be given several times.
        device: such as cuda.
        runs: where runs, logs and notes of what is done are.
        results: where what is published goes.
        dry_run: print the plan and what is done, and run nothing.
    """
    place = Place(device, runs, results)
    try:
        unknown = set(only) - {row.name for row in ROWS}
        if unknown:
            raise MetaRLError(f"{sorted(unknown)} are no rows; choose from {', '.join(row.name for row in ROWS)}.")
        rows = [row for row in ROWS if not only or row.name in only]
        if dry_run:
            for row in rows:
                print(f"{row.name} ({place.known().get(row.name, {}).get('state', 'to do')}, {row.minutes:g} minutes)")
                print(
                    "".join(f"    {shlex.join(place.arguments(row, command)[1:])}\n" for command in row.commands),
                    end="",
                )
            return 0
        from metarl.device import check_device  # not before: a plan needs no torch

        check_device(device)
        notes = run_rows(rows, place, minutes)
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    waiting = [row.name for row in rows if notes.get(row.name, {}).get("state") != DONE]
    print(f"To do: {', '.join(waiting)}. The same command goes on." if waiting else "All rows are done.")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
