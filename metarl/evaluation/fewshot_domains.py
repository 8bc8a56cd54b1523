"""Few-shot learners on several data sets side by side: where a learner is above another, and where it hurts."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.rows import Row, interval_text, number, terminal_table
from metarl.evaluation.statistics import estimate
from metarl.evaluation.tables import fewshot_rows

Domain: TypeAlias = tuple[Sequence[FewShotEvaluation], FewShotEvaluation | None]
"""The evaluations on one data set, and the one from which differences are taken."""


def domains_rows(domains: Sequence[Domain]) -> list[Row]:
    """Return the rows of every data set, each with its paired difference and whether that is better or worse."""
    found = []
    for made, reference in domains:
        for row in fewshot_rows(made, reference):
            found.append({**row, "verdict": _verdict(row, made[0])})
    return found


def domains_table(domains: Sequence[Domain]) -> RenderableType:
    """Make the table of learners by data set beside what each is compared with, and say below it where one is worse."""
    cells, apart = [], dict[str, list[Row]]()
    for made, reference in domains:
        rows = domains_rows([(made, reference)])
        base = next((row["value"] for row in rows if reference and row["learner"] == reference.called), None)
        for row in rows:
            difference, between = "", ""
            if base is not None:
                if row["learner"] == row["above"]:
                    continue  # it has a column
                apart.setdefault(row["learner"].partition(" trained on ")[0], []).append(row)
                difference = number(row["difference"])
                between = interval_text((row["difference_low"], row["difference_high"]))
            score = (number(row["value"]), "" if base is None else number(base))
            cells.append((f"{row['learner']} on {row['dataset']}", *score, difference, between, row["verdict"]))
    first = domains[0][0][0]
    words = (
        f"{first.figure}: the scores are of {first.values.shape[2]:,} episodes of the {first.split} split of each data "
        f"set, {first.mark}. Differences are paired by episode; in brackets stands a 95% interval."
    )
    lines = [words, *(_summary(name, rows) for name, rows in apart.items())]
    return Group(terminal_table(("learner", "mean", "against", "", "", ""), cells, kept=6), *map(Text, lines))


def _verdict(row: Row, made: FewShotEvaluation) -> str:
    """Return whether the interval of a difference lies on one side of zero: ``better``, ``worse`` or nothing."""
    if row.get("above") in (None, row["learner"]):
        return ""
    sign = int(row["difference_low"] > 0) - int(row["difference_high"] < 0)
    return {0: "", 1: "better", -1: "worse"}[-sign if made.of_errors else sign]


def _summary(name: str, rows: Sequence[Row]) -> str:
    """Say of one learner on how many data sets it is better or worse, and by how much over all of them."""
    found = estimate(np.array([row["difference"] for row in rows])[None])
    better, worse = ([row["dataset"] for row in rows if row["verdict"] == each] for each in ("better", "worse"))
    hurts = f"; it hurts on {', '.join(dict.fromkeys(worse))}" if worse else "; it hurts on none"
    return (
        f"{name} against {' and '.join(dict.fromkeys(row['above'] for row in rows))}: better in {len(better)} of "
        f"{len(rows)}, worse in {len(worse)}{hurts}. Over all {number(found.value)} {interval_text(found.interval)}, a "
        "bootstrap over data sets."
    )
