"""Where the evaluations of few-shot runs lie, and those that are there already."""

import re
from pathlib import Path
from typing import Any

from metarl.evaluation.fewshot import FewShotEvaluation, evaluate_fewshot_run
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.measures import ACCURACY, MSE


def evaluation_file(
    folder: Path,
    spec: EpisodeSpec,
    split: str,
    transductive: bool,
    measure: str = ACCURACY,
    *,
    other: str = "",
    normalised: bool = False,
) -> Path:
    """Return the path of the evaluation of a setting in a folder; ``other`` names the data set that is not its own."""
    name = f"{spec.way}w{spec.shot}s" if spec.way > 1 else f"{spec.shot}-shot"
    name = name if spec.support is None else f"{spec.support}-samples"
    extra = [f"{spec.unlabelled}-unlabelled"] * bool(spec.unlabelled) + ["transductive"] * transductive
    extra += [measure] * (measure not in (ACCURACY, MSE)) + ["normalised"] * normalised
    return folder / f"evaluation-{'-'.join([split, name, *extra])}{in_names(other)}.json"


def in_names(other: str) -> str:
    """Return how names of files end that are of another data set than that of training; nothing where there is none."""
    return f"-on-{re.sub('[^A-Za-z0-9._=-]+', '-', other).strip('-')}" if other else ""


def saved_or_new_evaluation(
    run: FewShotRun,
    spec: EpisodeSpec,
    episodes: int,
    split: str,
    device: str,
    *,
    dataset: FewShotDataset | None = None,
    transductive: bool,
    normalise: bool = False,
    measure: str = ACCURACY,
    quiet: bool = True,
) -> FewShotEvaluation:
    """Return the saved evaluation of a run if it is of this setting and its checkpoints as they are, else a new one.

    A new one is saved, but not that of a published result. The arguments are those of ``evaluate_fewshot_run``.
    """
    for seed in run.seeds:
        run.warn_if_unfinished(seed, run.trained_amount(seed))
    other = "" if dataset is None or dataset.name == run.dataset_name else dataset.name
    saved = evaluation_file(run.path, spec, split, transductive, measure, other=other, normalised=normalise)
    if run.keeps_evaluations and saved.exists():
        found = FewShotEvaluation.load(saved)
        same = (found.spec, found.values.shape[2], found.dataset) == (spec, episodes, other or run.dataset_name)
        if run.check_evaluation(saved, found.made_of) and same:
            return found
    options: dict[str, Any] = {"transductive": transductive, "normalise": normalise, "measure": measure, "quiet": quiet}
    made = evaluate_fewshot_run(run, spec, episodes, split, device, dataset=dataset, **options)
    if run.keeps_evaluations:
        made.save(saved)
    return made
