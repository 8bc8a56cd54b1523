"""Turn evaluations of a run into a result under ``results/fewshot``."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.evaluate.fewshot import FewShotEvaluation
from metarl.evaluate.scores import STREAMS
from metarl.evaluate.sums import record_sums
from metarl.evaluate.weights import save_weights
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.logs import STEPS
from metarl.plotting.curves import learning_figure
from metarl.plotting.fewshot.run_figures import pictures, steps
from metarl.plotting.style import save_figure
from metarl.version import __version__
from results.files import write_files
from results.schema import check_summary
from results.summaries import entry


def publish(
    results: Path,
    run: FewShotRun,
    evaluations: Sequence[FewShotEvaluation],
    *,
    command: str,
    machine: str,
    tuned_on: str,
    targets: Sequence[Mapping[str, Any]],
) -> Path:
    """Write the result of a run.

    Args:
        results: the folder of results.
        run: a trained run.
        evaluations: of one or several settings, such as 5w1s and 5w5s.
        command: that trained and evaluated it.
        machine: that it was trained on.
        tuned_on: the split that the recipe was chosen by.
        targets: the figures by ``name``, each with what ``results.summaries.entry`` takes.
    """
    first = evaluations[0]
    known = {name: (each, score) for each in evaluations for name, score in each.figures.items()}
    figures = []
    for each in targets:
        name, asked = each["name"], {key: value for key, value in each.items() if key != "name"}
        if name not in known:
            raise MetaRLError(f"{name!r} was not scored, but {', '.join(known)}; evaluate that setting too.")
        evaluation, score = known[name]
        trained = evaluation.iterations * evaluation.tasks
        figures.append(entry(name, score, trained, **asked))
    kind = "fresh" if first.measure == "mse" else "disjoint"
    content = {
        "agent": first.learner,
        "family": first.dataset,
        "variant": "",
        "split": f"{first.part} ({kind})",
        "streams": STREAMS,
        "tuned_on": tuned_on,
        "seeds": list(first.seeds),
        "steps": first.iterations * first.tasks,
        "wall_seconds": first.wall_seconds,
        "machine": machine,
        "command": command,
        "version": __version__,
        "figures": figures,
        "fewshot": {
            "mark": first.mark,
            "episodes": first.values.shape[2],
            "iterations": first.iterations,
            "parameters": first.parameters,
            "adapt_seconds": first.adapt_seconds,
            "adapt_bytes": first.adapt_bytes,
        },
    }
    header, *_ = first.to_csv().splitlines()
    rows = [row for each in evaluations for row in each.to_csv().splitlines()[1:]]
    table = "\n".join([header, *rows]) + "\n"
    # What adapts at once has no curve by step; training has one.
    by_step = len(first.adaptations) > 1
    curve = steps(first) if by_step else _learning(run)
    folder = write_files(results, check_summary(content), asdict(run.config), table, curve)
    for name, figure in pictures(run, first).items():
        if name != "steps":
            save_figure(figure, folder / f"{name}.png")
    if by_step:
        save_figure(_learning(run), folder / "learning.png")
    save_weights(folder, run)
    record_sums(results, folder)
    return folder


def _learning(run: FewShotRun) -> Any:
    logs = [run.progress(seed) for seed in run.seeds]
    with logs[0].open(newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    shown = "train/accuracy" if "train/accuracy" in columns else "train/loss"
    words = shown.removeprefix("train/")
    return learning_figure(logs, steps=STEPS, returns=[shown], labels=("iterations", words))
