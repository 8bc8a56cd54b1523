"""Tables of words: CSV, Parquet, or what has columns as a data frame does, each row with its line."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError, did_you_mean, shown
from metarl.core.files import using
from metarl.fewshot.features.base import optional

_MOST_CELL = 2**20  # characters of a cell: a sentence, not a file


@dataclass(frozen=True)
class Table:
    """Columns of cells by name, missing ones empty; ``lines`` says where in the file each row begins."""

    name: str  # in messages
    columns: dict[str, list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return a column's cells; raise with the names of all columns where there is no such column."""
        if name not in self.columns:
            raise MetaRLError(
                f"{self.name} has no column {name!r}; it has {', '.join(map(repr, self.columns))}."
                f"{did_you_mean(name, self.columns)}"
            )
        return self.columns[name]


def read_table(source: Any) -> Table:
    """Return the table in a ``.csv``, ``.tsv`` or ``.parquet`` file, or of a data frame or mapping of columns."""
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise MetaRLError(f"There is no file {path}; give the path of a .csv, .tsv or .parquet file.")
        return _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if not isinstance(source, Mapping) and not hasattr(source, "columns"):
        raise MetaRLError(f"{shown(source)} is no table; give a path, a data frame, or a dict of columns.")
    names = source if isinstance(source, Mapping) else source.columns
    return _of_columns("table", {str(name): list(source[name]) for name in names}, first=1)


def _csv(path: Path) -> Table:
    with using(path):
        content = path.read_bytes()
    # Bytes that are no UTF-8 stay in their cells, so that only the rows that have some are left out.
    text = content.decode("utf-8-sig", errors="surrogateescape").replace("\0", "")
    head = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    csv.field_size_limit(_MOST_CELL)
    rows, lines, before = [], [], 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row:  # a blank line has none
                rows.append(row)
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise MetaRLError(f"{path}, line {reader.line_num}: {error}; mend its quotes.") from error
    if len(rows) < 2:
        raise MetaRLError(f"{path} has no row below a line of column names; its first line should name the columns.")
    names = [name.strip() for name in rows[0]]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise MetaRLError(f"{path} names the column {doubled[0]!r} twice in line {lines[0]}; rename one.")
    if wrong := [line for row, line in zip(rows[1:], lines[1:], strict=True) if len(row) != len(names)]:
        raise MetaRLError(
            f"{path} has other than {len(names)} cells in {lines_of(wrong)}; quote cells that hold {delimiter!r}."
        )
    return Table(str(path), {n: [row[i].strip() for row in rows[1:]] for i, n in enumerate(names)}, lines[1:])


def _parquet(path: Path) -> Table:
    library = optional("pyarrow.parquet", "of .parquet files", "pip install 'metarl-suite[parquet]', or give a .csv")
    try:
        with using(path):
            columns: dict[str, list[Any]] = library.read_table(path).to_pydict()
    except MetaRLError:
        raise
    except Exception as error:  # pyarrow's errors share no class but this
        raise MetaRLError(f"{path} is damaged or no Parquet ({str(error).partition(chr(10))[0]}).") from error
    return _of_columns(str(path), columns, first=1)


def _of_columns(name: str, columns: Mapping[str, Sequence[Any]], first: int) -> Table:
    """Return columns of any values as words; one of lists of numbers becomes a column for each number."""
    made: dict[str, list[str]] = {}
    for called, values in columns.items():
        if values and isinstance(values[0], Sequence | np.ndarray) and not isinstance(values[0], str):
            widths = {len(each) for each in values}
            if len(widths) > 1:
                raise MetaRLError(f"{name}: the lists in column {called!r} have lengths {sorted(widths)}; make one.")
            made |= {f"{called}.{i}": [_word(each[i]) for each in values] for i in range(widths.pop())}
        else:
            made[called] = [_word(each) for each in values]
    n = {len(values) for values in made.values()}
    if len(n) != 1 or n == {0}:
        raise MetaRLError(f"{name} has columns of lengths {sorted(n)}; give at least one row, and all the same.")
    return Table(name, made, list(range(first, first + n.pop())))


def _word(value: Any) -> str:
    """Return a cell as a word, a missing one as an empty one, a whole number without its point."""
    if value is None or value != value or str(value) == "<NA>":
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def lines_of(numbers: Sequence[int], most: int = 10) -> str:
    """Return ``line 4``, ``lines 4, 7 and 9`` or, of many, the first ten and how many more there are."""
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    listed = [str(each) for each in numbers[:most]]
    if len(numbers) > most:
        return f"lines {', '.join(listed)} and {len(numbers) - most} more"
    return f"lines {', '.join(listed[:-1])} and {listed[-1]}"
