"""Several agents on the same tasks: who is ahead, as rows, for the terminal, as CSV and as JSON."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from metarl.core.errors import MetaRLError
from metarl.evaluation.rows import Row, csv_of_rows, number, score_columns, terminal_table
from metarl.evaluation.scores import Evaluation, PointScore
from metarl.evaluation.statistics import Estimate, intervals_touch
from metarl.evaluation.tables import TRIAL, evaluation_json, legend, notes, points_table, shown_rows, title


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


def separation_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """Say for each two evaluations, after each number of episodes of both, who is ahead and whether intervals touch.

    Reference policies are compared with agents, not with one another. The scores are normalised ones where both are
    known, else returns, the intervals the wider ones. Trials of as many episodes are compared by their totals too,
    whose ``episodes`` is "trial".
    """
    rows = []
    for first, second in combinations(evaluations, 2):
        if first.reference and second.reference:
            continue
        others = {point.episodes: point for point in second.points}
        pairs: list[tuple[int | str, PointScore, PointScore]] = [
            (point.episodes, point, others[point.episodes]) for point in first.points if point.episodes in others
        ]
        totals = first.trial_total, second.trial_total
        if totals[0] is not None and totals[1] is not None and totals[0].episodes == totals[1].episodes:
            pairs.append((TRIAL, totals[0], totals[1]))
        for episodes, one, other in pairs:
            known = one.normalised is not None and other.normalised is not None
            a, b = (_judged(point, known) for point in (one, other))
            ahead, behind = (first, second) if a.value >= b.value else (second, first)
            touch = intervals_touch(a.interval, b.interval)
            names = {"episodes": episodes, "ahead": ahead.agent, "behind": behind.agent}
            rows.append({**names, "by": abs(a.value - b.value), "intervals_touch": touch})
    return rows


def comparison_csv(evaluations: Sequence[Evaluation]) -> str:
    """Write one row for each agent and point, and for each trial's total, with the wider intervals, as CSV."""
    check_comparable(evaluations)
    rows = []
    for each in evaluations:
        total = [] if each.trial_total is None else [(TRIAL, None, each.trial_total)]
        for episodes, adaptations, point in [*((p.episodes, p.adaptations, p) for p in each.points), *total]:
            row: Row = {"agent": each.agent, "reference": each.reference}
            row |= {"seeds": None if each.reference else len(each.seeds)}
            row |= {"episodes": episodes, "adaptations": adaptations}
            rows.append(row | score_columns("return", point.returns) | score_columns("normalised", point.normalised))
    return csv_of_rows(rows)


def comparison_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return what ``comparison_table`` shows as a dict for ``--json``; raises MetaRLError where tasks differ."""
    check_comparable(evaluations)
    rows = separation_rows(evaluations)
    return {"evaluations": [evaluation_json(each) for each in evaluations], "separation": rows}


def comparison_table(evaluations: Sequence[Evaluation]) -> RenderableType:
    """Make the table of several agents on the same tasks; raises MetaRLError where their tasks differ."""
    check_comparable(evaluations)
    rows = [(each.agent if i == 0 else "", row) for each in evaluations for i, row in enumerate(shown_rows(each))]
    first = evaluations[0]
    scores = points_table(rows, title(first).removeprefix(f"{first.agent} on "))
    listed = {row["episodes"] for _, row in rows if row["adaptations"] is not None} | {TRIAL}
    verdicts = {True: "touch", False: "do not touch"}
    apart = [
        (str(row["episodes"]), row["ahead"], row["behind"], number(row["by"], 3), verdicts[row["intervals_touch"]])
        for row in separation_rows(evaluations)
        if row["episodes"] in listed
    ]
    words = Text("\n".join([*(f"{each.agent}: {notes(each)}" for each in evaluations), legend(*evaluations)]))
    if not apart:
        return Group(scores, words)
    headers = ("episodes", "ahead", "behind", "by", "intervals")
    return Group(scores, terminal_table(headers, apart, left=5, title="Differences"), words)


def _judged(point: PointScore, normalised: bool) -> Estimate:
    return point.normalised if normalised and point.normalised is not None else point.returns
