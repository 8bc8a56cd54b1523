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
from metarl.fewshot.measures import MSE

TRIAL = "trial"  # in the place of a number of episodes
MOST_ROWS = 8  # of one curve in a table for the terminal
_STEPS_SHOWN = (0, 1, 5, 10)  # steps of adaptation that a table of errors shows, beside the last


def legend(*evaluations: Evaluation) -> str:
    """Say what the intervals of evaluations on the same tasks are, and once that a single seed has no t interval."""
    trained = [len(each.seeds) for each in evaluations if not each.reference]  # a reference policy has no seeds
    fixed = evaluations[0].fixed_tasks and max(trained, default=1) > 1
    over = "seeds" if fixed else "seeds × tasks"
    t = ", t over seeds" * (max(trained, default=1) > 1)
    none = "; 1 seed has no t interval" * (1 in trained)
    return f"95% intervals, cut at what is possible: b bootstrap over {over}{t}{none}. IQM: mean of the middle half."


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
    """Make the table of an adaptation curve; below each mean its bootstrap (b) and its t interval (t).

    Of a long curve MOST_ROWS points are shown, evenly chosen, and below them the total of the trial.
    """
    table = points_table([("", row) for row in shown_rows(evaluation)], title(evaluation))
    return Group(table, Text(f"{notes(evaluation)}\n{legend(evaluation)}"))


def shown_rows(evaluation: Evaluation) -> list[Row]:
    """Return the rows that the terminal shows: at most MOST_ROWS points, and the trial's total."""
    total = trial_row(evaluation)
    return [*evenly(curve_rows(evaluation), MOST_ROWS), *([] if total is None else [total])]


def points_table(rows: Iterable[tuple[str, Row]], heading: str) -> Table:
    """Make the table of (agent, row); the agent's column is left out where no row names one."""
    headers = ["episodes\nseen", "step", "return", "IQM", "noise\noff", "normalised", "noise\noff"]
    cells = [[agent, *_cells(row)] for agent, row in rows]
    if any(agent for agent, *_ in cells):
        return terminal_table(["agent", *headers], cells, title=heading)
    return terminal_table(headers, [row[1:] for row in cells], left=0, title=heading)


def notes(evaluation: Evaluation) -> str:
    """Say in one sentence what stands behind the scores: seeds, effort, floor, optimum, speed and named numbers."""
    effort = f"{evaluation.steps:,} steps and {evaluation.wall_seconds / 60:.1f} min a seed"
    played = f"{len(evaluation.task_vectors)} tasks, not trained"
    parts = [played if evaluation.reference else f"{replicates(evaluation)}, {effort}"]
    for kind in ("floor", "optimum"):
        if (returns := getattr(evaluation, kind)) is not None:
            called = getattr(evaluation, f"{kind}_name")
            name = "" if called in ("", kind) else f" ({called})"
            parts.append(f"{kind}{name} {number(float(returns.mean()))}")
    known = [f"{part} after {count}" for part, count in evaluation.speed.items() if count is not None]
    parts.append(f"of the final score {', '.join(known)} episodes" if known else "the final score is no gain")
    parts.extend(f"{name}: {value:.4g}" for name, value in evaluation.extra.items())
    return "; ".join(parts) + "."


def fewshot_rows(evaluations: Sequence[FewShotEvaluation], reference: FewShotEvaluation | None = None) -> list[Row]:
    """Return one row for each shown figure of each few-shot evaluation, percentages from the best down.

    With a ``reference`` on the same episodes each row has the paired difference from it.
    """
    rows = []
    for each in evaluations:
        shown = {f" step {k}" for k in (*_STEPS_SHOWN, each.adaptations[-1])}
        apart = {} if reference is None else paired(each, reference)
        for name, score in each.figures.items():
            step = name.partition(each.figure)[2]
            if name.startswith("median") or (step and step not in shown):
                continue
            low, high = score.interval
            about = {"learner": each.learner, "figure": name, "value": score.value, "low": low, "high": high, **apart}
            size = {"seeds": len(each.seeds), "episodes": each.values.shape[2], "mark": each.mark}
            spent = {"adapt_seconds": each.adapt_seconds, "adapt_bytes": each.adapt_bytes}
            trained = {"iterations": each.iterations, "minutes": each.wall_seconds / 60, "parameters": each.parameters}
            rows.append({**about, **size, **spent, **trained})
    best_is_most = all(each.measure != MSE for each in evaluations)
    return sorted(rows, key=lambda row: -row["value"]) if best_is_most else rows


def fewshot_table(evaluations: Sequence[FewShotEvaluation], reference: FewShotEvaluation | None = None) -> Table:
    """Make the table of the rows of few-shot evaluations."""
    rows = fewshot_rows(evaluations, reference)
    sizes = ", ".join(sorted({f"{row['seeds']} × {row['episodes']:,}" for row in rows}))
    marks = sorted({row["mark"] for row in rows})
    caption = (
        f"{evaluations[0].dataset}, {evaluations[0].split} split; {sizes} seeds × episodes, {' and '.join(marks)}. In "
        "brackets 95%. To adapt: to one task, and the memory it takes."
    )
    if reference is not None:
        caption += f" Against: {reference.learner}, paired by episode."
    cells = []
    for row in rows:
        # Where only some refine their prototypes by the queries, each says so.
        learner = row["learner"] + f" ({row['mark']})" * (len(marks) > 1)
        score = [number(row["value"]), interval_text((row["low"], row["high"]))]
        if reference is not None:
            ends = (row["difference_low"], row["difference_high"])
            score += (
                ["", ""] if row["learner"] == reference.learner else [number(row["difference"]), interval_text(ends)]
            )
        spent = (f"{1000 * row['adapt_seconds']:.1f} ms", f"{number(row['adapt_bytes'] / 2**20)} MB")
        cells.append((learner, row["figure"], *score, *spent, f"{row['minutes']:.1f} min"))
    against = () if reference is None else ("against", "")
    headers = ("learner", "figure", "mean", "", *against, "to adapt", "", "trained")
    return terminal_table(headers, cells, left=2, kept=4 + len(against), caption=caption)


def _point_row(point: PointScore) -> Row:
    def entry(score: Estimate | None) -> Row | None:
        if score is None:
            return None
        t = None if score.t is None else list(score.t)
        return {"mean": score.value, "bootstrap": list(score.bootstrap), "t": t}

    return {
        "episodes": point.episodes,
        "adaptations": point.adaptations,
        "return": {**(entry(point.returns) or {}), "iqm": point.iqm},
        "normalised": entry(point.normalised),
        "return_deterministic": entry(point.returns_deterministic),
        "normalised_deterministic": entry(point.normalised_deterministic),
    }


def _cells(row: Row) -> list[str]:
    quiet, quiet_normalised = row["return_deterministic"], row["normalised_deterministic"]
    return [
        *((TRIAL, "") if row["adaptations"] is None else (str(row["episodes"]), str(row["adaptations"]))),
        _stacked(row["return"], None),
        number(row["return"]["iqm"]),
        "–" if quiet is None else number(quiet["mean"]),
        "–" if row["normalised"] is None else _stacked(row["normalised"], 3),
        "–" if quiet_normalised is None else number(quiet_normalised["mean"], 3),
    ]


def _stacked(entry: Row, digits: int | None) -> str:
    """Print a mean, and below it both of its intervals."""
    known = [(kind, entry[name]) for kind, name in (("b", "bootstrap"), ("t", "t")) if entry[name] is not None]
    return "\n".join(
        [number(entry["mean"], digits), *(f"{kind} {interval_text(ends, digits)}" for kind, ends in known)]
    )


def _reference(name: str, returns: np.ndarray[Any, np.dtype[np.float64]] | None) -> Row | None:
    return None if returns is None else {"name": name, "return": float(returns.mean())}
