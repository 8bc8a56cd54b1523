"""The rows in order of value, and how each runs: in a process of its own, killed at its bound."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu.record import DONE, FAILED, MOST_BYTES, RUNNING, STOPPED, Record
from metarl.core.errors import MetaRLError

SCRIPTS = Path(__file__).resolve().parents[1]
LOG = "log.txt"
_LEAST = 5.0  # seconds left with which a row is worth beginning
_LOGGED = MOST_BYTES // 10  # bytes kept of what a row says


@dataclass(frozen=True)
class Row:
    """Something to measure in a process of its own."""

    name: str  # of the row's file and on the command line
    title: str  # in the table
    seconds: float  # most that it takes
    function: str  # ``module:function`` on the path of scripts/
    target: str = ""  # what is to be reached
    continues: bool = False  # whether, called again, it does what it had no time for


ROWS: tuple[Row, ...] = (
    Row("tests", "GPU tests", 40, "gpu.agreement:measure", "all pass", continues=True),
    Row(
        "point",
        "PointNavigation, a policy of 64 × 64 for each task",
        90,
        "gpu.speed:point",
        "100 million steps/s at 65,536 environments",
    ),
    Row("trpo", "MAML-TRPO, an iteration of 200 tasks × 20 × 100", 60, "gpu.speed:trpo", "0.5 s"),
    Row("gridnavi", "RL² on GridNavi", 120, "gpu.rl2:gridnavi", "a return of 36.0 a trial within 120 s"),
    Row("bandit", "RL² on the bandit, k = 5", 120, "gpu.rl2:bandit", "as many steps/s as the JAX peer"),
    Row("fewshot", "Omniglot, 5 classes, 1 sample of each", 60, "gpu.fewshot:measure", "98.2% (Prototypical)"),
    Row("jax", "A jitted JAX PPO-GRU at the bandit's sizes", 45, "gpu.speed:jax"),
)

# A second command: what it needs is carried in several transfers.
WARP_ROWS: tuple[Row, ...] = (
    Row(
        "warp",
        "HalfCheetahVel on the warp engine, 4,096 worlds, a task in each",
        500,
        "gpu.warp:measure",
        "500,000 control steps/s",
    ),
)


@dataclass(frozen=True)
class Place:
    """The place where rows run and write."""

    output: Path  # folder of the records and the log
    device: str = "cuda"
    scale: float = 1.0  # of all sizes

    def record(self, row: Row) -> Record:
        """Read the record of a row."""
        return Record.read(self.output / f"{row.name}.json")

    def command(self, row: Row, seconds: float) -> list[str]:
        """Return a row's command, without the working folder on its path: there lies a metarl/ not installed."""
        words = [row.name, row.function, self.device, str(self.scale), str(seconds), str(self.output)]
        return [sys.executable, "-P", "-m", "gpu.row", *words]

    def begin(self, row: Row, seconds: float) -> subprocess.Popen[bytes]:
        """Start a row, whose output goes to the log."""
        path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
        with (self.output / LOG).open("ab") as log:
            log.write(f"\n== {row.name}: at most {seconds:.0f} s\n".encode())
            log.flush()
            return subprocess.Popen(
                self.command(row, seconds),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=SCRIPTS.parent,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # a group of its own, so that what it has started dies with it
            )


def run_rows(rows: Sequence[Row], place: Place, seconds: float) -> dict[str, str]:
    """Run every row that has its turn before the time is up, and return the state of each.

    The time that rows leave over goes, at the end, to those that were stopped before their first number, and then to
    those that can go on.
    """
    if seconds <= 0:
        raise MetaRLError(f"--minutes {seconds / 60:g}: it must be more than 0.")
    end = time.monotonic() + seconds
    place.output.mkdir(parents=True, exist_ok=True)
    states: dict[str, str] = {}
    for row in rows:
        states[row.name] = _turn(row, place, min(row.seconds, end - time.monotonic()))
    stopped = [row for row in rows if states[row.name] == STOPPED]
    for row in sorted(stopped, key=lambda row: row.continues):
        if row.continues or not place.record(row).content["numbers"]:
            states[row.name] = _turn(row, place, end - time.monotonic(), again=True)
    return states


def _turn(row: Row, place: Place, seconds: float, again: bool = False) -> str:
    """Run a row within so many seconds; nothing that happens in it, or to its files, reaches the next one."""
    try:
        if seconds < min(_LEAST, row.seconds):
            return STOPPED if again else _note(row, place, "not begun", 0.0, "no time was left")
        if not again:
            (place.output / f"{row.name}.json").unlink(missing_ok=True)
        before = place.record(row).content.get("seconds", 0.0)
        if again:
            place.record(row).state(state=RUNNING, why="")
        print(f"{row.name}: at most {seconds:.0f} s", flush=True)
        started = time.monotonic()
        state, why = _bounded(row, place, seconds)
        return _note(row, place, state, round(before + time.monotonic() - started, 1), why)
    except (OSError, ValueError) as error:  # a full disk, a file that is no JSON
        print(f"{row.name}: {error}", file=sys.stderr, flush=True)
        return FAILED


def _bounded(row: Row, place: Place, seconds: float) -> tuple[str, str]:
    """Run a row's process, and return how it ended, and why."""
    began = (place.output / LOG).stat().st_size if (place.output / LOG).exists() else 0
    process = place.begin(row, seconds)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
        _cut(place.output / LOG, began + _LOGGED)
    if code is None:
        return STOPPED, ""
    if code:
        return FAILED, f"exit code {code}; see {LOG}"
    return DONE, ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a row's process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _cut(log: Path, size: int) -> None:
    """Cut the log to a size in bytes: a row has a share of it."""
    if log.stat().st_size > size:
        os.truncate(log, size)


def _note(row: Row, place: Place, state: str, seconds: float, why: str) -> str:
    """Write how a row ended beside its numbers."""
    record = place.record(row)
    if state == DONE and record.content.get("state", RUNNING) not in (RUNNING, DONE):
        state, why = record.content["state"], record.content.get("why", "")  # as the row itself says
    more = {"row": row.name, "title": row.title, "target": row.target, "scale": place.scale}
    record.state(**more, state=state, seconds=seconds, why=record.content.get("why") or why)
    print(f"{row.name}: {state} after {seconds:.0f} s{f' ({why})' if why else ''}", flush=True)
    return state
