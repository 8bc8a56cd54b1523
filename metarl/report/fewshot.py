"""The parts of a report that are of few-shot learners, one for each run."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_trust import calibration, shots_curve
from metarl.evaluation.tables import fewshot_rows
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.learners.registry import learner_class
from metarl.plotting.fewshot.run_figures import fewshot_figures
from metarl.plotting.fewshot.trust import reliability_figure, shots_figure
from metarl.plotting.learning import learning_of
from metarl.report.differences import config_rows
from metarl.report.page import Listing, Part, ShownFigure

_WORDS = {  # what is below a figure of a run
    "steps": "The score by steps of adaptation.",
    "episode": "The first scored episode: what is given, and what was made of the queries.",
    "embedding": "The features of that episode in the plane of two principal components.",
    "function": "The first scored function: what is seen of it, and what was predicted.",
}


def fewshot_part(
    run: FewShotRun,
    made: FewShotEvaluation,
    dataset: FewShotDataset,
    device: str = "cpu",
    *,
    shots: Sequence[int] = (),
    calibrated: int = 0,
    quiet: bool = True,
) -> Part:
    """Return the part of a run: how it was trained, its scores, an episode, and how far it can be trusted.

    Args:
        run: of a few-shot learner.
        made: its evaluation.
        dataset: that it was scored on.
        device: to adapt on.
        shots: numbers of labelled samples at which it is scored for a curve; none for no curve.
        calibrated: episodes on which the calibration of its first seed is measured; 0 for no such figure.
        quiet: whether no progress is shown.
    """
    name = f"{made.called} on {made.dataset}, {made.figure}"
    episodes = made.values.shape[2]
    facts = {
        "learner": made.called,
        "data": made.dataset,
        "episodes": f"{episodes} of the {made.split} split, {made.mark}",
        "seeds": ", ".join(map(str, made.seeds)),
        "trained for": f"{made.iterations:,} iterations, {made.wall_seconds / 60:.1f} minutes a seed",
        "folder": run.path,
    }
    pictures = [ShownFigure(learning_of(run), "While training.")] if run.keeps_evaluations else []
    pictures += [
        ShownFigure(figure, _WORDS[each]) for each, figure in fewshot_figures(run, made, device, dataset).items()
    ]
    if shots:
        how = {"transductive": made.transductive, "normalise": made.normalised, "measure": made.measure, "quiet": quiet}
        curve = shots_curve(run, made.spec, shots, episodes, made.split, device, dataset=dataset, **how)
        pictures.append(ShownFigure(shots_figure(curve), "The score by how many labelled samples there are."))
    if calibrated and isinstance(dataset.split(made.split), Classes | Groups):
        found = calibration(run.trained(run.seeds[0], device), dataset, made.spec, calibrated, made.split)
        pictures.append(
            ShownFigure(
                reliability_figure(found, title=name), f"Calibration of seed {found.seed}, {calibrated} episodes."
            )
        )
    usual = learner_class(run.learner).presets["default"]
    configs = config_rows({"of the default preset": usual, "of this run": run.config})
    listings = [Listing("Scores", fewshot_rows([made]))]
    listings += [Listing("Fields of the config that are not the default preset's", configs)] if configs else []
    size = {f"--{each}": value for each, value in asdict(made.spec).items() if each in ("way", "shot", "queries")}
    words = [str(word) for pair in size.items() for word in pair]
    scored = shlex.join(
        ["metarl", "fewshot", "evaluate", str(run.path), *words, "--episodes", str(episodes), "--split", made.split]
    )
    return Part(name, "", facts, [run.command, scored], pictures, [], listings)
