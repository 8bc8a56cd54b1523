"""The scores of one agent by points of its curve, and of few-shot learners by figures: as rows and for the terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_baselines import paired
from metarl.evaluation.rows import Row, interval_text, number, terminal_table
from metarl.evaluation.scores import Evaluation, PointScore, evenly, short_name
from metarl.evaluation.statistics import Estimate

TRIAL = "trial"  # in the place of a number of episodes
MOST_ROWS = 8  # of one curve in a table for the terminal
_STEPS_SHOWN = (0, 1, 5, 10)  # steps of adaptation that a table of errors shows, beside the last


def legend(*evaluations: Evaluation) -> str:
    """Say in whole sentences what the columns and the intervals of evaluations on the same tasks are."""
    trained = [len(each.seeds) for each in evaluations if not each.reference]  # a reference policy has no seeds
    several = max(trained, default=1) > 1
    over = "seeds" if evaluations[0].fixed_tasks and several else "seeds × tasks"
    which = "the wider of two 95% intervals" if several else "a 95% interval"
    t = " and Student's t over seeds" * several
    none = "; one seed has no t interval" * (1 in trained)
    return (
        f"In brackets stands {which}, cut at what is possible: a bootstrap over {over}{t}{none}. Seen counts the "
        "episodes that the agent has had on the task before. IQM is the mean of the middle half. Normalised, the floor "
        "is 0 and the optimum 1."
    )


def title(evaluation: Evaluation) -> str:
    """Return one line that names agent, family, variant and split with its kind."""
    variant = f" ({evaluation.variant})" if evaluation.variant else ""
    return f"{evaluation.agent} on {short_name(evaluation.family)}{variant}, {evaluation.split_label}"


def replicates(*evaluations: Evaluation) -> str:
    """Say how many seeds and tasks stand behind the scores of evaluations on the same tasks."""
    counts = sorted({len(each.seeds) for each in evaluations})
    n_tasks = len(evaluations[0].task_vectors)
    seeds = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{seeds} seed{'s' * (counts[-1] > 1)} × {n_tasks} task{'s' * (n_tasks > 1)}"


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """Return one row a point: its scores with noise on and off, each {mean, bootstrap, t}, or None where unknown."""
    return [_point_row(point) for point in evaluation.points]


def trial_row(evaluation: Evaluation) -> Row | None:
    """Return the sum over a trial's episodes as a row like those of ``curve_rows``, or None where there is no trial.

    Its ``episodes`` is the number of episodes that it sums.
    """
    total = evaluation.trial_total
    return None if total is None else {**_point_row(total), "adaptations": None}


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return what ``curve_table`` shows as a dict for ``--json``."""
    return {
        "agent": evaluation.agent,
        "family": evaluation.family,
        "variant": evaluation.variant,
        "split": evaluation.split_label,
        "seeds": list(evaluation.seeds),
        "tasks": len(evaluation.task_vectors),
        "steps": evaluation.steps,
        "wall_seconds": evaluation.wall_seconds,
        "floor": _reference(evaluation.floor_name, evaluation.floor),
        "optimum": _reference(evaluation.optimum_name, evaluation.optimum),
        "curve": curve_rows(evaluation),
        "trial": trial_row(evaluation),
        "speed": evaluation.speed,
        "extra": dict(evaluation.extra),
    }


def curve_table(evaluation: Evaluation) -> RenderableType:
    """Make the table of an adaptation curve, a line for each point, and below it what stands behind the scores.

    Of a long curve MOST_ROWS points are shown, evenly chosen, and below them the total of the trial.
    """
    table = points_table([("", row) for row in shown_rows(evaluation)], title(evaluation))
    return Group(table, Text(f"{notes(evaluation)} {legend(evaluation)}"))


def shown_rows(evaluation: Evaluation) -> list[Row]:
    """Return the rows that the terminal shows: at most MOST_ROWS points, and the trial's total."""
    total = trial_row(evaluation)
    return [*evenly(curve_rows(evaluation), MOST_ROWS), *([] if total is None else [total])]


def points_table(rows: Iterable[tuple[str, Row]], heading: str) -> Table:
    """Make the table of (agent, row), a line of 80 columns each; agents' names take the room of the rarer columns."""
    rows = list(rows)
    headers, cells = ["seen", "step", "return", "normalised"], [[agent, *_cells(row)] for agent, row in rows]
    if any(agent for agent, _ in rows):
        return terminal_table(["agent", *headers], cells, title=heading)
    headers = [*headers[:3], "IQM", "noise\noff", headers[3], "noise\noff"]
    cells = [
        [*cell[1:4], *_rarer(row, "return"), cell[4], *_rarer(row, "normalised")[-1:]]
        for cell, (_, row) in zip(cells, rows, strict=True)
    ]
    return terminal_table(headers, cells, left=0, title=heading)


def notes(evaluation: Evaluation) -> str:
    """Say in whole sentences what stands behind the scores: seeds, effort, floor, optimum, speed and named numbers."""
    effort = f"each trained for {evaluation.steps:,} steps in {evaluation.wall_seconds / 60:.1f} min"
    played = f"{len(evaluation.task_vectors)} tasks, not trained"
    parts = [played if evaluation.reference else f"{replicates(evaluation)}, {effort}"]
    ends = []
    for kind in ("floor", "optimum"):
        if (returns := getattr(evaluation, kind)) is not None:
            called = getattr(evaluation, f"{kind}_name")
            name = "" if called in ("", kind) else f" ({called})"
            ends.append(f"the {kind}{name} earns {number(float(returns.mean()))}")
    parts += [" and ".join(ends)] if ends else []
    known = [f"{part} after {count}" for part, count in evaluation.speed.items() if count is not None]
    if known:
        parts.append(f"of the last score there is {', '.join(known)} episodes")
    elif len(evaluation.points) > 1:
        parts.append("the last score is no gain on the first")
    if evaluation.extra:
        named = ", ".join(f"{name} {value:.4g}" for name, value in evaluation.extra.items())
        parts.append(f"also measured: {named}")
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def fewshot_rows(evaluations: Sequence[FewShotEvaluation], reference: FewShotEvaluation | None = None) -> list[Row]:
    """Return one row for each shown figure of each few-shot evaluation, percentages from the best down.

    With a ``reference`` on the same episodes each row has the paired difference from it.
    """
    rows = []
    for each in evaluations:
        shown = {f" step {k}" for k in (*_STEPS_SHOWN, each.adaptations[-1])}
        apart = {} if reference is None else paired(each, reference)
        spent = {"adapt_seconds": each.adapt_seconds, "adapt_bytes": each.adapt_bytes}
        trained = {"iterations": each.iterations, "minutes": each.wall_seconds / 60, "parameters": each.parameters}
        for row in each.rows:
            name = row["figure"]
            step = name.partition(each.figure)[2]
            if not name.startswith("median") and (not step or step in shown):
                rows.append(
                    {
                        **row,
                        "trained_on": each.trained_on,
                        "dataset": each.dataset,
                        **apart,
                        "mark": each.mark,
                        **spent,
                        **trained,
                    }
                )
    best_is_most = not any(each.of_errors for each in evaluations)
    return sorted(rows, key=lambda row: -row["value"]) if best_is_most else rows


def fewshot_table(
    evaluations: Sequence[FewShotEvaluation], reference: FewShotEvaluation | None = None
) -> RenderableType:
    """Make the table of the rows of few-shot evaluations, and below it what stands behind them."""
    rows = fewshot_rows(evaluations, reference)
    sizes = " or ".join(sorted({f"{row['seeds']} × {row['episodes']:,}" for row in rows}))
    marks = sorted({row["mark"] for row in rows})
    words = (
        f"The scores are of {sizes} seeds × episodes of the {evaluations[0].split} split of {evaluations[0].dataset}, "
        f"{' and '.join(marks)}. In brackets stands a 95% interval. Adapting is to one task, and takes that long and "
        "so much memory."
    )
    if reference is not None:
        words += f" Differences are from {reference.called}, paired by episode."
    cells = []
    for row in rows:
        # Where only some refine their prototypes by the queries, each says so.
        learner = row["learner"] + f" ({row['mark']})" * (len(marks) > 1)
        score = [number(row["value"]), interval_text((row["low"], row["high"]))]
        if reference is not None:
            ends = (row["difference_low"], row["difference_high"])
            score += (
                ["", ""] if row["learner"] == reference.called else [number(row["difference"]), interval_text(ends)]
            )
        spent = (f"{1000 * row['adapt_seconds']:.1f} ms", f"{number(row['adapt_bytes'] / 2**20)} MB")
        cells.append((learner, row["figure"], *score, *spent, f"{row['minutes']:.1f} min"))
    against = () if reference is None else ("against", "")
    headers = ("learner", "figure", "mean", "", *against, "to adapt", "", "trained")
    return Group(terminal_table(headers, cells, left=2, kept=4 + len(against)), Text(words))


def _point_row(point: PointScore) -> Row:
    def entry(score: Estimate | None) -> Row | None:
        if score is None:
            return None
        t = None if score.t is None else list(score.t)
        return {"mean": score.value, "bootstrap": list(score.bootstrap), "t": t, "interval": list(score.interval)}

    return {
        "episodes": point.episodes,
        "adaptations": point.adaptations,
        "return": {**(entry(point.returns) or {}), "iqm": point.iqm},
        "normalised": entry(point.normalised),
        "return_deterministic": entry(point.returns_deterministic),
        "normalised_deterministic": entry(point.normalised_deterministic),
    }


def _cells(row: Row) -> list[str]:
    """Return the cells of a point that every table has: what was seen, and both scores with their intervals."""
    place = (TRIAL, "") if row["adaptations"] is None else (str(row["episodes"]), str(row["adaptations"]))
    return [*place, _judged(row["return"], None), _judged(row["normalised"], 3)]


def _rarer(row: Row, score: str) -> list[str]:
    """Return the interquartile mean of a point where it has one, and its mean without exploration noise."""
    digits, quiet = (None if score == "return" else 3), row[f"{score}_deterministic"]
    robust = [number(row[score]["iqm"])] if score == "return" else []
    return [*robust, "–" if quiet is None else number(quiet["mean"], digits)]


def _judged(entry: Row | None, digits: int | None) -> str:
    """Print a mean and the interval by which it is judged."""
    return "–" if entry is None else f"{number(entry['mean'], digits)} {interval_text(entry['interval'], digits)}"


def _reference(name: str, returns: np.ndarray[Any, np.dtype[np.float64]] | None) -> Row | None:
    return None if returns is None else {"name": name, "return": float(returns.mean())}
