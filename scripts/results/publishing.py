"""Turn runs into results: score them, and write small tables, pictures, config, command and weights."""

import csv
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from metarl.core.device import check_device
from metarl.core.files import write_atomic
from metarl.evaluation.fewshot import FewShotEvaluation, setting_of
from metarl.evaluation.fewshot_saved import saved_or_new_evaluation
from metarl.evaluation.outcome import evaluate_run
from metarl.evaluation.rows import csv_of_rows
from metarl.evaluation.sums import record_sums
from metarl.evaluation.weights import save_weights
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.logs import STEPS
from metarl.experiments.run import Run
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.registry import label
from metarl.plotting.fewshot.run_figures import fewshot_figures
from metarl.plotting.learning import learning_of
from metarl.plotting.outcome import outcome_figures
from metarl.plotting.style import save_figure
from results.files import write_files, write_result
from results.summaries import fewshot_figure, fewshot_summary, figure, summary
from results.targets import FEWSHOT_TARGETS, TARGETS, tuned_on

_ROWS = 100  # of a seed in learning.csv
_EPISODES = 1000  # of a few-shot learner


def publish_agent(
    run: Run,
    results: Path,
    *,
    tasks: int | None = None,
    points: int | None = None,
    deterministic: bool = True,
    ablation: str | None = None,
    tuned: str | None = None,
    device: str = "cpu",
    picture: Path | None = None,
) -> Path:
    """Evaluate an agent on its test tasks and write its result; returns the folder.

    Args:
        run: a trained run.
        results: the folder of results.
        tasks, points, deterministic, ablation, device: as of ``evaluate_run``.
        tuned: the split that the recipe was chosen by; as ``results.targets`` knows it unless given.
        picture: where to write paths and curve, for families in the plane.
    """
    outcome = evaluate_run(run, "test", tasks, points, device, deterministic=deterministic, ablation=ablation)
    evaluation = outcome.evaluation
    targets = TARGETS.get((evaluation.agent, evaluation.family, evaluation.variant), [])
    flags = [
        f" --tasks {tasks}" if tasks is not None else "",
        f" --points {points}" if points is not None else "",
        "" if deterministic else " --no-deterministic",
        f" --ablation {ablation}" if ablation else "",
    ]
    # Where it was evaluated otherwise than `metarl evaluate` does by itself, that is part of the command.
    command = run.command + (f" && metarl evaluate {run.path}{''.join(flags)}" if any(flags) else "")
    facts = {"command": command, "machine": machine(device), "tuned_on": tuned or tuned_on(run.label)}
    content = summary(evaluation, figures=[figure(evaluation, **each) for each in targets], **facts)
    folder = write_result(results, evaluation, content, asdict(run.config))
    if ablation is None:  # whose training is that of the agent itself
        write_progress(run, folder)
        save_weights(folder, run)
    if outcome.probe is not None:
        write_atomic(folder / "probe.csv", outcome.probe.to_csv())
    figures = outcome_figures(outcome)
    for name in ("belief", "posterior"):
        if name in figures:
            save_figure(figures[name], folder / f"{name}.png")
    record_sums(results, folder)
    if picture is not None and "overview" in figures:
        save_figure(figures["overview"], picture)
    return folder


def publish_learner(run: FewShotRun, results: Path, *, tuned: str | None = None, device: str = "cpu") -> Path:
    """Score a few-shot learner in every setting that has a target, and write its result; returns the folder.

    Args:
        run: a trained run.
        results: the folder of results.
        tuned: the split that the recipe was chosen by; as ``results.targets`` knows it unless given.
        device: to adapt on.
    """
    name = label(run.learner, run.config)
    targets = FEWSHOT_TARGETS.get((name, run.dataset_name), [])
    functions = run.dataset().spec.outputs is not None
    settings = dict.fromkeys(setting_of(each["name"], functions=functions) for each in targets)
    made = [
        saved_or_new_evaluation(run, spec, _EPISODES, "test", device, transductive=False)
        for spec in settings or [EpisodeSpec(1, 10, 100) if functions else EpisodeSpec(5, 1, 15)]
    ]
    ways = "" if functions else " --way {0.way}"
    scored = [f"metarl fewshot evaluate {run.path}{ways.format(each.spec)} --shot {each.spec.shot}" for each in made]
    command = " && ".join([run.command, *scored])
    facts = {"command": command, "machine": machine(device), "tuned_on": tuned or tuned_on(name)}
    return write_fewshot_result(results, run, made, targets, **facts)


def write_fewshot_result(
    results: Path,
    run: FewShotRun,
    evaluations: Sequence[FewShotEvaluation],
    targets: Sequence[Mapping[str, Any]],
    **facts: str,
) -> Path:
    """Write the result of a few-shot learner with its weights and pictures; returns the folder.

    Args:
        results: the folder of results.
        run: a trained run.
        evaluations: of one or several settings, such as 5w1s and 5w5s.
        targets: the arguments of ``results.summaries.fewshot_figure``.
        facts: as of ``results.summaries.summary``.
    """
    first = evaluations[0]
    content = fewshot_summary(first, figures=[fewshot_figure(evaluations, **each) for each in targets], **facts)
    header = first.to_csv().splitlines()[:1]
    rows = [row for each in evaluations for row in each.to_csv().splitlines()[1:]]
    drawn = fewshot_figures(run, first)
    # What adapts at once has no curve by step; training has one.
    curve = drawn.pop("steps", None)
    table = "\n".join([*header, *rows]) + "\n"
    folder = write_files(results, content, asdict(run.config), table, curve or learning_of(run))
    if curve is not None:
        drawn["learning"] = learning_of(run)
    for name, each in drawn.items():
        save_figure(each, folder / f"{name}.png")
    save_weights(folder, run)
    record_sums(results, folder)
    return folder


def write_progress(run: Run, folder: Path) -> None:
    """Write the learning curve of an agent, as a picture and as a table of few rows."""
    logs = {seed: run.progress(seed) for seed in run.seeds}
    rows: list[dict[str, Any]] = []
    returns: list[str] = []
    for seed, log in logs.items():
        logged = list(csv.DictReader(log.read_text().splitlines()))
        returns = [name for name in logged[0] if name.startswith("rollout/return")]
        kept = logged[:: max(1, len(logged) // _ROWS)]
        rows += [{"seed": seed, "steps": row[STEPS], **{name: row[name] for name in returns}} for row in kept]
    write_atomic(folder / "learning.csv", csv_of_rows(rows))
    save_figure(learning_of(run), folder / "learning.png")


def machine(device: str) -> str:
    """Return words for the machine that a run was trained on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    machine = f"{os.cpu_count()} × {processor}, torch {torch.__version__}, one thread a seed"
    return f"{torch.cuda.get_device_name(device)}, {machine}" if check_device(device).type == "cuda" else machine
