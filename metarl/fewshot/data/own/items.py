"""Raw items with their labels, from a table: what is wrong with a row is told by its line, and the rest is used."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.own.table import Table, lines_of, read_table
from metarl.fewshot.features.molecules import parse_smiles

_NO_NUMBERS = {"nan", "inf", "+inf", "-inf"}
Row = tuple[tuple[str, str], ...]
"""A row of a table as an item: the names of its columns, with their cells."""


@dataclass(frozen=True)
class Items:
    """The items of a file, without the rows that cannot be used."""

    name: str  # of the file, in messages
    kind: str  # what they are: text, smiles or table
    values: list[Any]  # a sentence, a SMILES or a Row each
    labels: dict[str, list[str]]  # by the column that they stand in; missing ones are empty
    tasks: list[str]  # the task of each item, empty where there is no column of tasks
    splits: list[str]  # the split of each item, likewise
    lines: list[int]  # where they stand in the file


def read_items(source: Any, options: Mapping[str, str], *, labelled: bool = True) -> Items:
    """Return the items of a table, with a warning of one line that names the rows left out and why.

    Args:
        source: a path, a data frame or a dict of columns.
        options: the columns: ``text`` or ``smiles``, or else the cells of all others are a row of numbers and
            categories (``columns`` names some, with commas between); ``label``, one or several with commas between,
            each of which is then a task; ``task`` and ``split``.
        labelled: whether rows need a label; without, ``label``, ``task`` and ``split`` are read only where they are.

    Raises:
        MetaRLError: where a column is missing or no row can be used.
    """
    table = read_table(source)
    if options.get("text") and options.get("smiles"):
        raise MetaRLError(f"{table.name}: give --text or --smiles, not both; an item is a sentence or a molecule.")
    kind = next((each for each in ("text", "smiles") if options.get(each)), "table")
    named = [each.strip() for each in options.get("label", "").split(",") if each.strip()]
    if labelled and not named:
        raise MetaRLError(
            f"{table.name}: which column holds the labels? Say --label COLUMN; there are "
            f"{', '.join(map(repr, table.columns))}."
        )
    about = {each: options[each] for each in ("task", "split") if options.get(each)}
    if not labelled:
        named = [each for each in named if each in table.columns]
        about = {each: column for each, column in about.items() if column in table.columns}
    labels = {each: _known(table.column(each)) for each in named}
    task, split = (table.column(about[each]) if each in about else [] for each in ("task", "split"))
    values: list[Any] = (
        _rows(table, options, [*named, *(options.get(each, "") for each in ("label", "task", "split"))])
        if kind == "table"
        else list(table.column(options[kind]))
    )
    wrong: dict[str, list[int]] = {}
    kept = []
    reasons = [_unusable(value, kind, options) for value in values]
    if kind == "smiles":
        parsed = parse_smiles(["" if reason else value for value, reason in zip(values, reasons, strict=True)])
        cannot = "a molecule that RDKit cannot parse"
        reasons = [r or ("" if m is not None else cannot) for r, m in zip(reasons, parsed, strict=True)]
    for i, (line, reason) in enumerate(zip(table.lines, reasons, strict=True)):
        if not reason and labelled and not any(cells[i] for cells in labels.values()):
            reason = "no label"
        if not reason and task and not task[i]:
            reason = "no task"
        if reason:
            wrong.setdefault(reason, []).append(line)
        else:
            kept.append(i)
    if kind == "table" and (holes := [table.lines[i] for i in kept if not all(cell for _, cell in values[i])]):
        warnings.warn(f"{table.name}: cells without a value in {lines_of(holes)} count as usual ones.", stacklevel=2)
    said = "; ".join(f"{reason} in {lines_of(lines)}" for reason, lines in wrong.items())
    if not kept:
        raise MetaRLError(f"{table.name} has no row that can be used: {said}.")
    if said:
        n = len(table.lines) - len(kept)
        warnings.warn(f"{table.name}: {n} of {len(table.lines)} rows are left out: {said}.", stacklevel=2)

    def of(cells: list[Any]) -> list[Any]:
        return [cells[i] for i in kept] if cells else []

    lines = [table.lines[i] for i in kept]
    return Items(table.name, kind, of(values), {n: of(c) for n, c in labels.items()}, of(task), of(split), lines)


def _rows(table: Table, options: Mapping[str, str], others: list[str]) -> list[Row]:
    """Return the rows of the columns that are neither labels nor tasks."""
    left_out = {each.strip() for cell in others for each in cell.split(",")}
    chosen = [each.strip() for each in options.get("columns", "").split(",") if each.strip()]
    chosen = chosen or [name for name in table.columns if name not in left_out]
    if not chosen:
        raise MetaRLError(f"{table.name} has no column beside {', '.join(table.columns)}; there is nothing to go by.")
    cells = [_known(table.column(name)) for name in chosen]
    return [tuple(zip(chosen, row, strict=True)) for row in zip(*cells, strict=True)]


def _known(cells: list[str]) -> list[str]:
    """Return cells with those that are no finite number empty."""
    return ["" if cell.lower() in _NO_NUMBERS else cell for cell in cells]


def _unusable(value: Any, kind: str, options: Mapping[str, str]) -> str:
    """Return what is wrong with an item, or nothing."""
    cells = [cell for _, cell in value] if kind == "table" else [value]
    if any("\ud800" <= each <= "\udfff" for cell in cells for each in cell):  # stand for bytes that are no UTF-8
        return "no UTF-8"
    if not any(cells):
        return f"empty {options[kind]}" if kind != "table" else "no cell"
    return ""
