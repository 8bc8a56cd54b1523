"""Turn the evaluation of a run into a result: ``python scripts/publish.py runs/NAME``, then ``make results``.

A run folder is not committed; its small table, config, command and pictures are.
"""

import csv
import io
import os
import platform
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from metarl import __version__
from metarl.errors import MetaRLError
from metarl.evaluate.drawing import save_figure
from metarl.evaluate.plots import learning_figure, overview_figure
from metarl.evaluate.results import figure, summary, write_result
from metarl.evaluate.run import UnfinishedRun, evaluate_run
from metarl.files import write_atomic
from metarl.process import prepare_process
from metarl.runs import Run

# What is asked of an agent on a family's variant: the figure's name and bound, what the literature reports, and the
# environment steps it took for it. Finn et al. 2017, figure 4, as read off relative to standing still and the optimum.
ASKED: dict[tuple[str, str, str], list[dict[str, Any]]] = {
    ("maml", "metarl/PointNavigation-v0", "maml"): [
        {"name": "normalised step 1", "asked": ">= 0.70", "reference": 0.50},
        {"name": "normalised step 3", "asked": ">= 0.93", "reference": 0.70},
    ],
    ("maml-trpo", "metarl/PointNavigation-v0", "maml"): [
        {"name": "normalised step 1", "asked": ">= 0.50", "reference": 0.50, "reference_steps": 40_000_000},
    ],
    # The interval that the exact curvature reached on the same tasks and steps, its lower ends.
    ("maml-trpo-subsampled", "metarl/PointNavigation-v0", "maml"): [
        {"name": "normalised step 1", "asked": ">= 0.631", "reference": 0.671},
        {"name": "normalised step 3", "asked": ">= 0.9406", "reference": 0.952},
    ],
    ("maml-promp", "metarl/PointNavigation-v0", "maml"): [
        {"name": "normalised step 1", "asked": ">= 0.50", "reference_steps": 160_160_000},
    ],
    # Above what it earns before adaptation, and above fine-tuning on as many steps: the highest end of their intervals.
    # pytorch-maml-rl has 500 iterations of 40 tasks × 20 episodes × 100 steps, twice.
    ("maml-locomotion", "metarl/HalfCheetahDir-v0", "maml"): [
        {"name": "return step 1", "asked": ">= 45", "reference_steps": 80_000_000},
        {"name": "return step 3", "asked": ">= 45", "reference_steps": 80_000_000},
    ],
    # Where the gap between the two begins to mean something: a constant 1.5 m/s earns about -150.
    ("oracle-sac", "metarl/HalfCheetahVel-v0", "pearl"): [{"name": "return", "asked": ">= -60"}],
    ("multitask-sac", "metarl/HalfCheetahVel-v0", "pearl"): [{"name": "return", "asked": ">= -175"}],
}

_STEPS, _ROWS = "time/total_timesteps", 100


def main(
    run: Annotated[Path, tyro.conf.Positional],
    results: Path = Path("results"),
    picture: Path | None = None,
) -> int:
    """Evaluate a run on its test tasks and write its result.

    Args:
        run: a run folder.
        results: the folder of results.
        picture: where to write paths and curve, for families in the plane.
    """
    prepare_process(1)
    warnings.simplefilter("error", UnfinishedRun)
    try:
        opened = Run.open(run)
        evaluation, paths = evaluate_run(opened)
        asked = ASKED.get((evaluation.agent, evaluation.family, evaluation.variant), [])
        figures = [figure(evaluation, **each) for each in asked]
        machine = f"{os.cpu_count()} × {_processor()}, torch {torch.__version__}, one thread a seed"
        content = summary(evaluation, command=opened.command, machine=machine, version=__version__, figures=figures)
        folder = write_result(results, evaluation, content, asdict(opened.config))
        write_progress(opened, folder)
        if picture is not None and paths is not None:
            save_figure(overview_figure(evaluation, paths.positions, paths.goals, paths.valid), picture)
    except (MetaRLError, UnfinishedRun) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {folder}")
    return 0


def write_progress(run: Run, folder: Path) -> None:
    """The learning curve, as a picture and as a table of few rows."""
    logs = {seed: run.seed_folder(seed) / "progress.csv" for seed in run.seeds}
    rows: list[dict[str, str]] = []
    returns: list[str] = []
    for seed, log in logs.items():
        logged = list(csv.DictReader(log.read_text().splitlines()))
        returns = [name for name in logged[0] if name.startswith("rollout/return")]
        kept = logged[:: max(1, len(logged) // _ROWS)]
        rows += [{"seed": str(seed), "steps": row[_STEPS], **{name: row[name] for name in returns}} for row in kept]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "learning.csv", text.getvalue())
    save_figure(learning_figure(list(logs.values()), steps=_STEPS, returns=returns), folder / "learning.png")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
