"""Two processes of one thread against one of one thread, for whole trainings as the command line starts them."""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.measure import Options, Row

_POINT = "metarl/PointNavigation-v0"
_GRID = ["train", "rl2", "metarl/GridNavi-v0"]
_CHEETAH = ["train", "rl2", "metarl/HalfCheetahVel-v0", "--preset", "locomotion"]
# What is trained, for a few iterations; memories also on more trials, for steps of few trials take as long as of many.
_TRAININGS = {
    "MAML-TRPO, 20 tasks": ["train", "maml", _POINT, "--preset", "trpo", "--timesteps", "400000"],
    "RL² on GridNavi, 128 trials": [*_GRID, "--timesteps", "80000"],
    "RL² on GridNavi, 1,024 trials": [*_GRID, "--config.tasks", "1024", "--timesteps", "500000"],
    "few-shot MAML, 8 tasks": ["fewshot", "train", "maml", "--iterations", "60"],
    "RL² on HalfCheetahVel, 64 trials": [*_CHEETAH, "--timesteps", "100000"],
    "RL² on HalfCheetahVel, 256 trials": [*_CHEETAH, "--config.tasks", "256", "--timesteps", "300000"],
}


def bench_processes(options: Options) -> list[Row]:
    """Measure the seconds of an iteration's work; a block for each process, for the numbers are not compared here.

    What the machine allows is measured beside it: two separate trainings at once, which share nothing but its memory.
    """
    rows = []
    for name, words in _TRAININGS.items():
        alone, shared, apart = [], [], []
        for _ in range(options.repeats):
            alone += _seconds(words)
            shared += _seconds([*words, "--processes", "2", "--blocks", "2"])
            apart += _seconds(words, at_once=2)
        one, two, beside = (statistics.median(times) for times in (alone, shared, apart))
        note = f"one thread each; two separate trainings at once: {2 * one / beside:.2f}"
        rows.append(Row(f"{name}: two processes", two, one, "one process", 1.6, note))
    return rows


def _seconds(words: list[str], at_once: int = 1) -> list[float]:
    """Return the seconds of trainings that run at once, without those of their starts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command = [sys.executable, "-m", "metarl", *words, "--runs", folder, "--quiet", "--name"]
        names = [f"run-{k}" for k in range(at_once)]
        started = [
            stack.enter_context(subprocess.Popen([*command, name], env=environment, stdout=subprocess.DEVNULL))
            for name in names
        ]
        for process in started:
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, process.args)
        return [_logged(Path(folder) / name / "seed-0" / "progress.csv") for name in names]


def _logged(path: Path) -> float:
    """Return the seconds that a training's log has, without those of its start."""
    with path.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    if "time/seconds" in last:
        return float(last["time/seconds"])
    return float(last["time/total_timesteps"]) / float(last["time/fps"])
