"""Rows, from which all tables, CSV and JSON of agents and few-shot learners are made, so that they cannot disagree."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from rich.table import Table
from rich.text import Text

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import Estimate

Row: TypeAlias = dict[str, Any]


def number(value: float, digits: int | None = None) -> str:
    """Print a number with ``digits`` decimals, by default three significant digits, and a true minus sign."""
    rounded = abs(float(f"{value:.2e}"))  # 9.998 is printed as 10.0, with the decimals of 10
    places = digits if digits is not None else max(0, 2 - int(np.log10(max(rounded, 1.0))))
    text = f"{value:.{places}f}"
    return "−" + text[1:] if text.startswith("-") and float(text) != 0 else text.removeprefix("-")


def interval_text(ends: Sequence[float], digits: int | None = None) -> str:
    """Print an interval as "[low, high]"."""
    return f"[{', '.join(number(end, digits) for end in ends)}]"


def score_columns(name: str, score: Estimate | None) -> Row:
    """Return a score's value and the wider of its intervals as the columns NAME, NAME_low and NAME_high."""
    known = (None, None, None) if score is None else (score.value, *score.interval)
    return dict(zip((name, f"{name}_low", f"{name}_high"), known, strict=True))


class Tabular(ABC):
    """Scores as flat rows, and as a DataFrame."""

    @property
    @abstractmethod
    def rows(self) -> list[Row]:
        """Rows of the same columns; None stands where a score is not known."""

    def to_dataframe(self) -> Any:
        """Return ``rows`` as a pandas DataFrame; raises MetaRLError where pandas is not installed."""
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise MetaRLError(f"A DataFrame needs pandas ({error}): pip install pandas, or take .rows.") from error
        return DataFrame(self.rows)


def csv_of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows of the same columns as CSV: numbers to 9 digits, an empty cell for None, true and false as 1 and 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return text.getvalue()


def terminal_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    kept: int = 0,
    title: str | None = None,
) -> Table:
    """Make a table for the terminal.

    Args:
        headers: of the columns.
        rows: the cells of each.
        left: the number of columns that are flush left; the others are flush right.
        kept: the number of columns that a narrow terminal does not cut; where there are none, it breaks the left ones.
        title: a line above.
    """
    table = Table(title=title, title_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = "left"
    for i, header in enumerate(headers):
        # Of names of several words the least is the longest word, for they are broken before anything is cut.
        cells = [header, *(word for row in rows for word in (row[i].split(" ") if i == 0 else [row[i]]))]
        least = max(map(len, cells)) if i < kept else None
        wraps = i == 0 or (i < left and not kept)
        table.add_column(header, justify="left" if i < left else "right", no_wrap=not wraps, min_width=least)
    for row in rows:
        table.add_row(*map(Text, row))  # the brackets of an interval are no markup
    return table


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return int(value) if isinstance(value, bool) else f"{value:.9g}" if isinstance(value, float) else value
