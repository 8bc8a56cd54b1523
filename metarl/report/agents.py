"""The parts of a report that are of agents: one for each run, and one for all on the same tasks."""

import shlex
import warnings
from collections.abc import Sequence

from metarl.algorithm.registry import agent_class
from metarl.core.errors import MetaRLError
from metarl.evaluation.agent import held_out
from metarl.evaluation.comparison import check_comparable, separation_rows
from metarl.evaluation.outcome import Outcome, distinct, evaluate_run
from metarl.evaluation.probe import parameter_names
from metarl.evaluation.rows import Row
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.tables import legend, notes, title
from metarl.experiments.run import Run
from metarl.plotting.curves import comparison_figure
from metarl.plotting.learning import learning_of
from metarl.plotting.outcome import outcome_figures
from metarl.plotting.render import encoded_film
from metarl.report.differences import config_rows
from metarl.report.page import Listing, Part, ShownFigure, ShownFilm

_WORDS = {  # what is below a figure of an outcome
    "curve": "Return by how many episodes of its task the agent has had before the scored one.",
    "overview": "Paths of the first tasks before and after adaptation, and the return.",
    "belief": "What the agent believes of each task, coloured by a parameter of it, and how well probes read it.",
    "posterior": "The posterior of a task's parameter against its true value: a point is a task.",
}
_FILM = 2_000_000  # bytes of a film at most


def agent_parts(
    runs: Sequence[Run],
    split: str = "test",
    n_tasks: int | None = None,
    device: str = "cpu",
    *,
    films: bool = True,
    quiet: bool = True,
) -> list[Part]:
    """Evaluate runs anew and return a part for each, and before them one in which those of the same tasks are compared.

    Args:
        runs: of agents, their own or published ones.
        split: ``val``, ``test`` or ``ood``.
        n_tasks: as of ``held_out``.
        device: to play on.
        films: whether the agents are shown before and after adaptation.
        quiet: whether no progress is shown.
    """
    outcomes = [evaluate_run(run, split, n_tasks, device=device, quiet=quiet) for run in runs]
    parts = [_part(run, outcome, films, quiet) for run, outcome in zip(runs, outcomes, strict=True)]
    if len(runs) == 1:
        return parts
    evaluations = distinct([outcome.evaluation for outcome in outcomes], list(runs))
    try:
        check_comparable(evaluations)
    except MetaRLError:  # of unlike tasks
        return parts
    return [_compared(runs, evaluations), *parts]


def _compared(runs: Sequence[Run], evaluations: list[Evaluation]) -> Part:
    configs = config_rows({each.agent: run.config for run, each in zip(runs, evaluations, strict=True)})
    listings = [Listing("Differences", separation_rows(evaluations), legend(*evaluations))]
    listings += [Listing("Fields of the configs that differ", configs)] if configs else []
    return Part("Side by side", pictures=[ShownFigure(comparison_figure(evaluations))], listings=listings)


def _part(run: Run, outcome: Outcome, films: bool, quiet: bool) -> Part:
    evaluation = outcome.evaluation
    facts = {
        "agent": evaluation.agent,
        "family": f"{evaluation.family} ({evaluation.variant})" if evaluation.variant else evaluation.family,
        "tasks": f"{len(evaluation.task_vectors)} of {evaluation.split_label}",
        "seeds": ", ".join(map(str, evaluation.seeds)),
        "trained for": f"{evaluation.steps:,} steps, {evaluation.wall_seconds / 60:.1f} minutes a seed",
        "folder": run.path,
    }
    pictures = [ShownFigure(learning_of(run), "While training.")] if run.keeps_evaluations else []
    pictures += [ShownFigure(figure, _WORDS[name]) for name, figure in outcome_figures(outcome).items()]
    usual = agent_class(run.agent).presets["default"]
    configs = config_rows({"of the default preset": usual, "of this run": run.config})
    listings = [Listing("Scores by episodes", evaluation.rows, legend(evaluation))]
    listings += [Listing("Fields of the config that are not the default preset's", configs)] if configs else []
    listings.append(Listing("Single tasks", task_rows(run, evaluation), "Returns are means over seeds."))
    scored = shlex.join(["metarl", "evaluate", str(run.path), "--split", evaluation.split])
    return Part(
        title(evaluation),
        notes(evaluation),
        facts,
        [run.command, scored],
        pictures,
        _films(run, evaluation.split, quiet) if films else [],
        listings,
    )


def task_rows(run: Run, evaluation: Evaluation) -> list[Row]:
    """Return a row for each scored task: its parameters, returns at the points of the curve, floor and optimum."""
    names = parameter_names(held_out(run.family(), evaluation.split)[:1])
    rows: list[Row] = []
    for i, vector in enumerate(evaluation.task_vectors):
        row: Row = {"task": i, **dict(zip(names, map(float, vector), strict=True))}
        for k, seen in enumerate(evaluation.episodes):
            row[f"return after {seen}"] = float(evaluation.returns[:, k, i].mean())
        for name in ("floor", "optimum"):
            if (known := getattr(evaluation, name)) is not None:
                row[name] = float(known[-1, i])
        rows.append(row)
    return rows


def _films(run: Run, split: str, quiet: bool) -> list[ShownFilm]:
    """Return a film of the first seed, or none where its family has no pictures here."""
    try:
        return [ShownFilm(*encoded_film(run, split, _FILM, quiet=quiet))]
    except MetaRLError as error:
        warnings.warn(f"{run.path} without a film: {error}", stacklevel=2)
        return []
