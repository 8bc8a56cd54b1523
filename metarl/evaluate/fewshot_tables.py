"""Few-shot scores as tables for the terminal, as CSV and as JSON, all from the same rows."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from metarl.evaluate.fewshot import FewShotEvaluation
from metarl.evaluate.tables import number

_SHOWN = (0, 1, 5, 10)  # steps of adaptation that a table of errors shows, beside the last


def rows(evaluations: Sequence[FewShotEvaluation]) -> list[dict[str, Any]]:
    """One row for each shown figure of each evaluation, the best first where there is one figure each."""
    made = []
    for each in evaluations:
        shown = {f" step {k}" for k in (*_SHOWN, each.adaptations[-1])}
        for name, score in each.figures.items():
            step = name.partition(each.figure)[2]
            if name.startswith("median") or (step and step not in shown):
                continue
            low, high = score.interval
            about = {"learner": each.learner, "figure": name, "value": score.value, "low": low, "high": high}
            size = {"seeds": len(each.seeds), "episodes": each.values.shape[2], "mark": each.mark}
            spent = {"adapt_seconds": each.adapt_seconds, "adapt_bytes": each.adapt_bytes}
            trained = {"iterations": each.iterations, "minutes": each.wall_seconds / 60, "parameters": each.parameters}
            made.append({**about, **size, **spent, **trained})
    best_is_most = all(each.measure == "accuracy" for each in evaluations)
    return sorted(made, key=lambda row: -row["value"]) if best_is_most else made


def table(evaluations: Sequence[FewShotEvaluation]) -> Table:
    """For the terminal."""
    made = rows(evaluations)
    sizes = sorted({f"{row['seeds']} × {row['episodes']:,}" for row in made})
    marks = {row["mark"] for row in made}
    caption = (
        f"{evaluations[0].dataset}, {evaluations[0].part} part; {', '.join(sizes)} seeds × episodes, "
        f"{' and '.join(sorted(marks))}. In brackets 95%. To adapt: to one task, and the memory it takes."
    )
    shown = Table(box=None, caption=caption, caption_justify="left")
    listed = []
    for row in made:
        interval = f"[{number(row['low'])}, {number(row['high'])}]"
        spent = (f"{1000 * row['adapt_seconds']:.1f} ms", f"{number(row['adapt_bytes'] / 2**20)} MB")
        # Where only some refine their prototypes by the queries, each says so.
        learner = row["learner"] + f" ({row['mark']})" * (len(marks) > 1)
        listed.append((learner, row["figure"], number(row["value"]), interval, *spent, f"{row['minutes']:.1f} min"))
    names = ("learner", "figure", "mean", "", "to adapt", "", "trained")
    for i, (name, cells) in enumerate(zip(names, zip(*listed, strict=True), strict=True)):
        # A narrow terminal cuts other columns before the scores.
        least = max(map(len, cells)) if i < 4 else None
        shown.add_column(name, justify="left" if i < 2 else "right", no_wrap=True, min_width=least)
    for cells in listed:
        shown.add_row(*map(Text, cells))
    return shown


def table_csv(evaluations: Sequence[FewShotEvaluation]) -> str:
    """The same rows as CSV."""
    text, made = io.StringIO(), rows(evaluations)
    writer = csv.DictWriter(text, list(made[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return text.getvalue()
