"""Scores as tables for the terminal and as JSON, both made from the same rows, so that they cannot disagree."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metarl.errors import MetaRLError
from metarl.evaluate.scores import Evaluation, PointScore, short_name
from metarl.evaluate.statistics import Estimate, intervals_touch

Row: TypeAlias = dict[str, Any]

LEGEND = "95% intervals: b bootstrap over seeds × tasks, t over seeds. IQM: mean of the middle half."


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
        "speed": evaluation.speed,
        "extra": dict(evaluation.extra),
    }


def curve_table(evaluation: Evaluation) -> RenderableType:
    """The adaptation curve for the terminal; below each mean its bootstrap (b) and its t interval (t)."""
    return Group(
        _table(title(evaluation), [("", row) for row in curve_rows(evaluation)]),
        Text(f"{_notes(evaluation)}\n{LEGEND}"),
    )


def separation_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """For each two evaluations and each number of episodes that both have: who is ahead, and whether intervals touch.

    The scores are normalised ones where known, else returns, the intervals the wider ones.
    """
    rows = []
    for first, second in combinations(evaluations, 2):
        points = {point.episodes: point for point in second.points}
        for point in first.points:
            if point.episodes not in points:
                continue
            a, b = _judged(point), _judged(points[point.episodes])
            ahead, behind = (first, second) if a.value >= b.value else (second, first)
            rows.append(
                {
                    "episodes": point.episodes,
                    "ahead": ahead.agent,
                    "behind": behind.agent,
                    "by": abs(a.value - b.value),
                    "intervals_touch": intervals_touch(a.interval, b.interval),
                }
            )
    return rows


def comparison_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What ``comparison_table`` shows, as a dict for ``--json``; raises MetaRLError where tasks differ."""
    check_comparable(evaluations)
    return {"evaluations": [as_json(each) for each in evaluations], "separation": separation_rows(evaluations)}


def comparison_table(evaluations: Sequence[Evaluation]) -> RenderableType:
    """Several agents on the same tasks, for the terminal; raises MetaRLError where their tasks differ."""
    check_comparable(evaluations)
    rows = [(each.agent if i == 0 else "", row) for each in evaluations for i, row in enumerate(curve_rows(each))]
    first = evaluations[0]
    scores = _table(title(first).removeprefix(f"{first.agent} on "), rows)
    apart = Table("episodes", "ahead", "behind", "by", "intervals", box=None, title="Differences", title_justify="left")
    for row in separation_rows(evaluations):
        verdict = "touch" if row["intervals_touch"] else "do not touch"
        apart.add_row(str(row["episodes"]), row["ahead"], row["behind"], number(row["by"], 3), verdict)
    notes = "\n".join([*(f"{each.agent}: {_notes(each)}" for each in evaluations), LEGEND])
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
            str(row["episodes"]),
            str(row["adaptations"]),
            _stacked(row["return"], None),
            number(row["return"]["iqm"]),
            "–" if quiet is None else number(quiet["mean"]),
            "–" if row["normalised"] is None else _stacked(row["normalised"], 3),
            "–" if quiet_normalised is None else number(quiet_normalised["mean"], 3),
        ]
        table.add_row(*([agent] if named else []), *cells)
    return table


def _stacked(entry: Row, digits: int | None) -> str:
    b = "b [{}, {}]".format(*(number(end, digits) for end in entry["bootstrap"]))
    t = "t needs 2 seeds" if entry["t"] is None else "t [{}, {}]".format(*(number(end, digits) for end in entry["t"]))
    # The brackets of an interval are no markup of rich.
    return f"{number(entry['mean'], digits)}\n{b}\n{t}".replace("[", r"\[")


def _notes(evaluation: Evaluation) -> str:
    content = as_json(evaluation)
    effort = f"{evaluation.steps:,} steps and {evaluation.wall_seconds / 60:.1f} min a seed"
    parts = [f"{replicates(evaluation)}, {effort}"]
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


def _judged(point: PointScore) -> Estimate:
    return point.returns if point.normalised is None else point.normalised
