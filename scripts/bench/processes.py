"""Two processes of one thread against one of one thread, for whole trainings as the command line starts them."""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Options, Row

_POINT = "metarl/PointNavigation-v0"
_TRAININGS = {  # what is trained, for a few iterations
    "MAML-TRPO, 20 tasks": ["train", "maml", _POINT, "--preset", "trpo", "--timesteps", "400000"],
    "RL² on GridNavi, 128 trials": ["train", "rl2", "metarl/GridNavi-v0", "--timesteps", "80000"],
    "few-shot MAML, 8 tasks": ["fewshot", "train", "maml", "--iterations", "60"],
    "RL² on HalfCheetahVel, 64 trials": [
        *("train", "rl2", "metarl/HalfCheetahVel-v0", "--preset", "locomotion", "--timesteps", "100000")
    ],
}


def bench_processes(options: Options) -> list[Row]:
    """Measure the seconds of an iteration's work; a block for each process, for the numbers are not compared here."""
    rows = []
    for name, words in _TRAININGS.items():
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.repeats):
            for processes, times in taken.items():
                more = ["--processes", "2", "--blocks", "2"] if processes == 2 else []
                times.append(_seconds([*words, *more]))
        ours, other = (statistics.median(taken[processes]) for processes in (2, 1))
        rows.append(Row(f"{name}: two processes", ours, other, "one process", 1.6, "one thread each"))
    return rows


def _seconds(words: list[str]) -> float:
    """Return the seconds of a training, without those of its start."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "metarl", *words, "--runs", folder, "--name", "run", "--quiet"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        with (Path(folder) / "run" / "seed-0" / "progress.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
    if "time/seconds" in last:
        return float(last["time/seconds"])
    return float(last["time/total_timesteps"]) / float(last["time/fps"])
