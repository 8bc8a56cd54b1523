"""The process of one row: ``python -m gpu.row NAME MODULE:FUNCTION DEVICE SCALE SECONDS OUTPUT``."""

import time

_STARTED = time.monotonic()  # before what takes seconds to import

import importlib  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402

from gpu.record import FAILED, RUNNING, Job, Record, machine  # noqa: E402
from metarl.core.process import prepare_process  # noqa: E402


def main(name: str, function: str, device: str, scale: str, seconds: str, output: str) -> int:
    """Measure a row with one thread; an error is noted beside what was measured before it."""
    record = Record.read(Path(output) / f"{name}.json")
    record.state(state=RUNNING, started=time.strftime("%Y-%m-%d %H:%M:%S"), why="")
    job = Job(device, float(scale), float(seconds), _STARTED, name)
    try:
        prepare_process(1)
        record.state(machine=machine(device))
        module, _, called = function.partition(":")
        getattr(importlib.import_module(module), called)(job, record)
    except Exception as error:  # whatever comes up: it is named, and the next row has its turn
        traceback.print_exc()
        reason = str(error).strip().partition("\n")[0]
        record.state(state=FAILED, why=f"{type(error).__name__}: {reason}")
        return 1
    record.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
