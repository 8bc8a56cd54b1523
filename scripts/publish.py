"""Turn the evaluation of a run into a result: ``python scripts/publish.py runs/NAME``, then ``make results``.

A run folder is not committed; its small table, config, command, pictures and weights are.
"""

import csv
import io
import os
import platform
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from metarl import __version__
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.process import prepare_process
from metarl.evaluate.fewshot import evaluation_of, setting_of
from metarl.evaluate.run import belief_figures, evaluate_run
from metarl.evaluate.sums import record_sums
from metarl.evaluate.tables import title
from metarl.evaluate.weights import save_weights
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.experiments.run_folder import UnfinishedRun
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.registry import label
from metarl.plotting.curves import learning_figure, overview_figure
from metarl.plotting.style import save_figure
from results.fewshot import publish
from results.files import write_result
from results.summaries import figure, summary
from results.targets import FEWSHOT_TARGETS, TARGETS
from results.targets import tuned_on as known_tuning

_STEPS, _ROWS = "time/total_timesteps", 100
_EPISODES = 1000  # of a few-shot learner


def main(
    run: Annotated[Path, tyro.conf.Positional],
    results: Path = Path("results"),
    picture: Path | None = None,
    tasks: int | None = None,
    episodes: int | None = None,
    deterministic: bool = True,
    ablation: str | None = None,
    tuned_on: Literal["published recipe", "train", "val", "test"] | None = None,
    device: str = "cpu",
) -> int:
    """Evaluate a run on its test tasks and write its result.

    Args:
        run: a run folder.
        results: the folder of results.
        picture: where to write paths and curve, for families in the plane.
        tasks: number of test tasks, such as 100000 fresh trials of a bandit; the family's unless given.
        episodes: of the trial, or points of the curve; the agent's unless given.
        deterministic: score also extra episodes without exploration noise, which takes twice the time.
        ablation: "wiped" or "shuffled", as of ``metarl evaluate``.
        tuned_on: the split that the recipe was chosen by: train, val, test or "published recipe"; as results/targets.py
            knows it unless given.
        device: to evaluate on, and to name as the machine that it was trained on.
    """
    prepare_process(1)
    warnings.simplefilter("error", UnfinishedRun)
    try:
        machine = f"{os.cpu_count()} × {_processor()}, torch {torch.__version__}, one thread a seed"
        if check_device(device).type == "cuda":
            machine = f"{torch.cuda.get_device_name(device)}, {machine}"
        if FewShotRun.is_at(run):
            print(f"Wrote {_fewshot(run, results, machine, device, tuned_on)}")
            return 0
        opened = Run.open(run)
        outcome = evaluate_run(
            opened, n_tasks=tasks, points=episodes, device=device, deterministic=deterministic, ablation=ablation
        )
        evaluation, paths, beliefs, read = outcome
        targets = TARGETS.get((evaluation.agent, evaluation.family, evaluation.variant), [])
        figures = [figure(evaluation, **each) for each in targets]
        flags = [
            f" --tasks {tasks}" if tasks is not None else "",
            f" --points {episodes}" if episodes is not None else "",
            "" if deterministic else " --no-deterministic",
            f" --ablation {ablation}" if ablation else "",
        ]
        # Where it was evaluated otherwise than `metarl evaluate` does by itself, that is part of the command.
        command = opened.command + (f" && metarl evaluate {run}{''.join(flags)}" if any(flags) else "")
        content = summary(
            evaluation,
            command=command,
            machine=machine,
            version=__version__,
            tuned_on=tuned_on or known_tuning(opened.label),
            figures=figures,
        )
        folder = write_result(results, evaluation, content, asdict(opened.config))
        if ablation is None:  # whose training is that of the agent itself
            write_progress(opened, folder)
            save_weights(folder, opened)
        if beliefs is not None and read is not None:
            write_atomic(folder / "probe.csv", read.to_csv())
            for name, drawn in belief_figures(beliefs, read, title(evaluation)).items():
                save_figure(drawn, folder / name)
        record_sums(results, folder)
        if picture is not None and paths is not None:
            save_figure(overview_figure(evaluation, paths.positions, paths.goals, paths.valid), picture)
    except (MetaRLError, UnfinishedRun) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {folder}")
    return 0


def _fewshot(path: Path, results: Path, machine: str, device: str, tuned_on: str | None) -> Path:
    """Score a few-shot learner on every setting that something is asked of, and write its result."""
    run = FewShotRun.open(path)
    name = label(run.learner, run.config)
    targets = FEWSHOT_TARGETS.get((name, run.dataset_name), [])
    functions = run.dataset().spec.outputs is not None
    settings = dict.fromkeys(setting_of(each["name"], functions=functions) for each in targets)
    made = [
        evaluation_of(run, shape, _EPISODES, "test", device, transductive=False)
        for shape in settings or [EpisodeSpec(1, 10, 100) if functions else EpisodeSpec(5, 1, 15)]
    ]
    ways = "" if functions else " --way {0.way}"
    scored = [f"metarl fewshot evaluate {path}{ways.format(each.shape)} --shot {each.shape.shot}" for each in made]
    return publish(
        results,
        run,
        made,
        command=" && ".join([run.command, *scored]),
        machine=machine,
        tuned_on=tuned_on or known_tuning(name),
        targets=targets,
    )


def write_progress(run: Run, folder: Path) -> None:
    """The learning curve, as a picture and as a table of few rows."""
    logs = {seed: run.progress(seed) for seed in run.seeds}
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
