"""The scores of entries for the terminal, 80 columns wide."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from metarl.evaluation.rows import interval_text, number, terminal_table
from metarl.evaluation.scores import short_name
from metarl.suite.entries import Verdict
from metarl.suite.protocol import SEEDS, VERSION, tier_cells
from metarl.suite.scores_file import Aggregate, Comparison, EntryScores


def entry_table(scores: EntryScores) -> RenderableType:
    """Make the table of an entry: each family's score over the trial and of its last episodes, and their IQM."""
    rows = []
    for cell in scores.cells:
        name = short_name(cell.family) + " (unofficial)" * (not cell.official)
        means = [number(float(np.mean(each)), 3) for each in (cell.mean, cell.last)]
        rows.append((name, str(len(cell.seeds)), f"{means[0]} {interval_text(cell.interval, 3)}", means[1]))
    parts = []
    if scores.official:
        first = {cell.family for cell in tier_cells(1)}
        here = sum(cell.family in first for cell in scores.official)
        over = f"{len(scores.official)} families ({here} of the {len(first)} of tier 1)"
        parts.append(f"IQM over {over}: {_told(scores.iqm())}, last {_told(scores.iqm('last'))}.")
        fewest = min(len(cell.seeds) for cell in scores.official)
        parts.append(f"A full entry has {SEEDS} seeds; here some family has {fewest}." * (fewest < SEEDS))
    parts.append(
        "0 is the floor, 1 the optimum. Trial: the mean over a trial's episodes. In brackets stands a 95% interval, of "
        "a family over seeds and tasks, of an IQM over seeds."
    )
    title = f"{scores.agent}, protocol {VERSION} ({scores.hash})"
    table = terminal_table(("family", "seeds", "trial", "last"), rows, title=title)
    return Group(table, Text(" ".join(filter(None, parts))))


def pair_table(found: Comparison) -> RenderableType:
    """Make the table of two entries: who is probably ahead on each family, and over all of them."""
    rows = []
    for i, family in enumerate(found.families):
        means = [
            number(float(np.mean(next(cell.mean for cell in each.cells if cell.family == family))), 3)
            for each in (found.first, found.second)
        ]
        rows.append((short_name(family), *means, number(found.by_family[i], 2)))
    names = found.first.agent, found.second.agent
    words = (
        f"P is the probability that a run of {names[0]} is above one of {names[1]}; over all families "
        f"{_told(found.improvement)}. The IQM of {names[0]} less that of {names[1]}: {_told(found.difference)}."
    )
    alone = " One seed each has no interval." * (found.difference.interval is None)
    return Group(terminal_table(("family", *names, "P"), rows), Text(words + alone))


def verdicts_table(verdicts: Sequence[Verdict]) -> RenderableType:
    """Make the table of entries that were scored again."""
    rows = [(each.entry, number(each.published, 3), number(each.anew, 3), each.words) for each in verdicts]
    return terminal_table(("entry", "published", "anew", "which is"), rows)


def plan_table(rows: list[tuple[str, int, str, float, float, bool]], jobs: int, folder: Path) -> RenderableType:
    """Make the table of a dry run.

    Args:
        rows: of each seed of each cell the family, the seed, its state, seconds in all and left, and whether measured.
        jobs: processes at a time.
        folder: where the runs are.
    """
    cells = [
        (name, str(seed), state, number(whole / 60, 1), number(left / 60, 1), "measured" if now else "recorded")
        for name, seed, state, whole, left, now in rows
    ]
    left = sum(row[4] for row in rows)
    each = max((row[4] for row in rows), default=0.0)
    together = number(max(left / jobs, each) / 60, 1)
    words = f"{number(left / 60, 1)} core minutes are left, about {together} with --jobs {jobs}."
    headers = ("family", "seed", "state", "minutes", "left", "speed")
    return Group(terminal_table(headers, cells, title=str(folder)), Text(words))


def _told(found: Aggregate) -> str:
    interval = "" if found.interval is None else f" {interval_text(found.interval, 3)}"
    return f"{number(found.value, 3)}{interval}"
