"""Scores as tables for the terminal and as JSON, both made from the same rows, so that they cannot disagree."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metarl.core.errors import MetaRLError
from metarl.evaluate.scores import Evaluation, PointScore, evenly, short_name
from metarl.evaluate.statistics import Estimate, intervals_touch

Row: TypeAlias = dict[str, Any]
_TRIAL = "trial"  # in the place of a number of episodes

MOST_ROWS = 8  # of one curve in a table for the terminal


def legend(*evaluations: Evaluation) -> str:
    """Say what the intervals of evaluations on the same tasks are, and once that a single seed has no t interval."""
    trained = [len(each.seeds) for each in evaluations if not each.reference]  # a reference policy has no seeds
    fixed = evaluations[0].fixed_tasks and max(trained, default=1) > 1
    over = "seeds" if fixed else "seeds × tasks"
    t = ", t over seeds" * (max(trained, default=1) > 1)
    none = "; 1 seed has no t interval" * (1 in trained)
    return f"95% intervals, cut at what is possible: b bootstrap over {over}{t}{none}. IQM: mean of the middle half."


def number(value: float, digits: int | None = None) -> str:
    """A number as tables print it: ``digits`` decimals, by default three significant digits; a true minus sign."""
    rounded = abs(float(f"{value:.2e}"))  # 9.998 is printed as 10.0, with the decimals of 10
    places = digits if digits is not None else max(0, 2 - int(np.log10(max(rounded, 1.0))))
    text = f"{value:.{places}f}"
    return "−" + text[1:] if text.startswith("-") and float(text) != 0 else text.removeprefix("-")


def title(evaluation: Evaluation) -> str:
    """One line that names agent, family, variant and split with its kind."""
    variant = f" ({evaluation.variant})" if evaluation.variant else ""
    return f"{evaluation.agent} on {short_name(evaluation.family)}{variant}, {evaluation.split_label}"


def replicates(*evaluations: Evaluation) -> str:
    """How many seeds and tasks stand behind the scores of evaluations on the same tasks, in words."""
    counts = sorted({len(each.seeds) for each in evaluations})
    n_tasks = len(evaluations[0].task_vectors)
    seeds = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{seeds} seed{'s' * (counts[-1] > 1)} × {n_tasks} task{'s' * (n_tasks > 1)}"


def curve_rows(evaluation: Evaluation) -> list[Row]:
    """One row a point: its scores with noise on and off, each {mean, bootstrap, t}, or None where unknown."""
    return [_point_row(point) for point in evaluation.points]


def trial_row(evaluation: Evaluation) -> Row | None:
    """The sum over a trial's episodes, as a row like those of ``curve_rows``; None where the points are not one trial.

    ``episodes`` says how many it sums.
    """
    total = evaluation.trial_total
    return None if total is None else {**_point_row(total), "adaptations": None}


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """What ``curve_table`` shows, as a dict for ``--json``."""
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
    """The adaptation curve for the terminal; below each mean its bootstrap (b) and its t interval (t).

    Of a long curve MOST_ROWS points are shown, evenly chosen, and below them the total of the trial.
    """
    return Group(
        _table(title(evaluation), [("", row) for row in _shown(evaluation)]),
        Text(f"{_notes(evaluation)}\n{legend(evaluation)}"),
    )


def separation_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """For each two evaluations and each number of episodes that both have: who is ahead, and whether intervals touch.

    Reference policies are compared with agents, not with one another. The scores are normalised ones where both are
    known, else returns, the intervals the wider ones. Trials of as many episodes are compared by their totals too,
    whose ``episodes`` is "trial".
    """
    rows = []
    for first, second in combinations(evaluations, 2):
        if first.reference and second.reference:
            continue
        points = {point.episodes: point for point in second.points}
        pairs: list[tuple[int | str, PointScore, PointScore]] = [
            (point.episodes, point, points[point.episodes]) for point in first.points if point.episodes in points
        ]
        totals = first.trial_total, second.trial_total
        if totals[0] is not None and totals[1] is not None and totals[0].episodes == totals[1].episodes:
            pairs.append((_TRIAL, totals[0], totals[1]))
        for episodes, one, other in pairs:
            known = one.normalised is not None and other.normalised is not None
            a, b = (_judged(point, known) for point in (one, other))
            ahead, behind = (first, second) if a.value >= b.value else (second, first)
            rows.append(
                {
                    "episodes": episodes,
                    "ahead": ahead.agent,
                    "behind": behind.agent,
                    "by": abs(a.value - b.value),
                    "intervals_touch": intervals_touch(a.interval, b.interval),
                }
            )
    return rows


def comparison_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row for each agent and point, and for each trial's total, with the wider intervals."""
    check_comparable(evaluations)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = ("return", "normalised")
    columns = [f"{score}{suffix}" for score in scores for suffix in ("", "_low", "_high")]
    writer.writerow(["agent", "player", "seeds", "episodes", "adaptations", *columns])
    for each in evaluations:
        total = [] if each.trial_total is None else [(_TRIAL, "", each.trial_total)]
        for episodes, adaptations, point in [*((p.episodes, p.adaptations, p) for p in each.points), *total]:
            cells: list[str] = []
            for score in (point.returns, point.normalised):
                known = ["", "", ""] if score is None else [score.value, *score.interval]
                cells += [cell if isinstance(cell, str) else f"{cell:.9g}" for cell in known]
            seeds = "" if each.reference else len(each.seeds)
            writer.writerow([each.agent, int(each.reference), seeds, episodes, adaptations, *cells])
    return text.getvalue()


def comparison_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What ``comparison_table`` shows, as a dict for ``--json``; raises MetaRLError where tasks differ."""
    check_comparable(evaluations)
    return {"evaluations": [as_json(each) for each in evaluations], "separation": separation_rows(evaluations)}


def comparison_table(evaluations: Sequence[Evaluation]) -> RenderableType:
    """Several agents on the same tasks, for the terminal; raises MetaRLError where their tasks differ."""
    check_comparable(evaluations)
    rows = [(each.agent if i == 0 else "", row) for each in evaluations for i, row in enumerate(_shown(each))]
    first = evaluations[0]
    scores = _table(title(first).removeprefix(f"{first.agent} on "), rows)
    apart = Table("episodes", "ahead", "behind", "by", "intervals", box=None, title="Differences", title_justify="left")
    listed = {row["episodes"] for _, row in rows if row["adaptations"] is not None} | {_TRIAL}
    for row in separation_rows(evaluations):
        if row["episodes"] not in listed:
            continue
        verdict = "touch" if row["intervals_touch"] else "do not touch"
        apart.add_row(str(row["episodes"]), row["ahead"], row["behind"], number(row["by"], 3), verdict)
    notes = "\n".join([*(f"{each.agent}: {_notes(each)}" for each in evaluations), legend(*evaluations)])
    return Group(scores, apart, Text(notes)) if apart.rows else Group(scores, Text(notes))


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Raise MetaRLError unless all were scored on the same tasks, and each agent has its own name."""
    if not evaluations:
        raise MetaRLError("nothing to compare; name at least one run")
    first = evaluations[0]
    for other in evaluations[1:]:
        for name in ("family", "variant", "split"):
            if getattr(first, name) != getattr(other, name):
                raise MetaRLError(
                    f"{first.agent} was scored on {name}={getattr(first, name)!r}, {other.agent} on "
                    f"{getattr(other, name)!r}; compare runs of one family, variant and split"
                )
        if not np.array_equal(first.task_vectors, other.task_vectors):
            raise MetaRLError(f"{first.agent} and {other.agent} were scored on different tasks; evaluate both again")
    names = [each.agent for each in evaluations]
    if len(set(names)) < len(names):
        raise MetaRLError(f"agents {names} share a name; give each run its own label")


def _shown(evaluation: Evaluation) -> list[Row]:
    total = trial_row(evaluation)
    rows = [*evenly(curve_rows(evaluation), MOST_ROWS), *([] if total is None else [total])]
    return [{**row, "player": evaluation.reference} for row in rows]


def _point_row(point: PointScore) -> Row:
    def entry(score: Estimate | None) -> Row | None:
        if score is None:
            return None
        return {
            "mean": score.value,
            "bootstrap": list(score.bootstrap),
            "t": None if score.t is None else list(score.t),
        }

    returns = entry(point.returns)
    assert returns is not None  # for mypy: a point always has returns
    return {
        "episodes": point.episodes,
        "adaptations": point.adaptations,
        "return": {**returns, "iqm": point.iqm},
        "normalised": entry(point.normalised),
        "return_deterministic": entry(point.returns_deterministic),
        "normalised_deterministic": entry(point.normalised_deterministic),
    }


def _table(heading: str, rows: Iterable[tuple[str, Row]]) -> Table:
    """The table of (agent, row); the agent's column is left out where no row names one."""
    listed = list(rows)
    named = any(agent for agent, _ in listed)
    table = Table(
        title=heading, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False
    )
    headers = ["episodes\nseen", "step", "return", "IQM", "noise\noff", "normalised", "noise\noff"]
    if named:
        table.add_column("agent", vertical="top")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for agent, row in listed:
        quiet, quiet_normalised = row["return_deterministic"], row["normalised_deterministic"]
        cells = [
            *((_TRIAL, "") if row["adaptations"] is None else (str(row["episodes"]), str(row["adaptations"]))),
            _stacked(row["return"], None),
            number(row["return"]["iqm"]),
            "–" if quiet is None else number(quiet["mean"]),
            "–" if row["normalised"] is None else _stacked(row["normalised"], 3),
            "–" if quiet_normalised is None else number(quiet_normalised["mean"], 3),
        ]
        table.add_row(*([agent] if named else []), *cells)
    return table


def _stacked(entry: Row, digits: int | None) -> str:
    kinds = (("b", entry["bootstrap"]), ("t", entry["t"]))
    intervals = [
        f"{kind} [{', '.join(number(end, digits) for end in ends)}]" for kind, ends in kinds if ends is not None
    ]
    lines = [number(entry["mean"], digits), *intervals]
    # The brackets of an interval are no markup of rich.
    return "\n".join(lines).replace("[", r"\[")


def _notes(evaluation: Evaluation) -> str:
    content = as_json(evaluation)
    effort = f"{evaluation.steps:,} steps and {evaluation.wall_seconds / 60:.1f} min a seed"
    played = f"{len(evaluation.task_vectors)} tasks, not trained"
    parts = [played if evaluation.reference else f"{replicates(evaluation)}, {effort}"]
    for kind in ("floor", "optimum"):
        if content[kind] is not None:
            name = "" if content[kind]["name"] in ("", kind) else f" ({content[kind]['name']})"
            parts.append(f"{kind}{name} {number(content[kind]['return'])}")
    known = [f"{part} after {count}" for part, count in content["speed"].items() if count is not None]
    parts.append(f"of the final score {', '.join(known)} episodes" if known else "the final score is no gain")
    parts.extend(f"{name}: {value:.4g}" for name, value in content["extra"].items())
    return "; ".join(parts) + "."


def _reference(name: str, returns: np.ndarray[Any, np.dtype[np.float64]] | None) -> Row | None:
    return None if returns is None else {"name": name, "return": float(returns.mean())}


def _judged(point: PointScore, normalised: bool) -> Estimate:
    return point.normalised if normalised and point.normalised is not None else point.returns
