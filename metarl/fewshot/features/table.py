"""Rows of tables: numbers standardised on the training rows, categories as one column for each value."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.fewshot.features.base import Encoder, Features
from metarl.fewshot.features.registry import register_encoder

_NUMBERS = 0.9  # share of a column's cells that are numbers, above which the others count as missing
_MOST_VALUES = 64  # of a category that get a column, the most frequent ones
_FAR = 5.0  # standard deviations, beyond which a number is cut


@register_encoder("table")
class Rows(Encoder):
    """Rows ``((column, cell), ...)``: a missing number becomes the training rows' mean, a new category nothing."""

    def fit(self, items: Sequence[Any]) -> None:
        """Learn the mean and standard deviation of each column of numbers, and the values of each category."""
        columns = {name: [dict(row)[name] for row in items] for name, _ in items[0]} if items else {}
        self.fitted = {"columns": {name: _learned(cells) for name, cells in columns.items()}}

    def __call__(self, items: Sequence[Any]) -> Features:
        known = self.fitted["columns"]
        rows = [dict(row) for row in items]
        for row in rows:
            if missing := [name for name in known if name not in row]:
                raise MetaRLError(f"The table has no column {missing[0]!r}, which training had; add it.")
        parts = [_encoded([row[name] for row in rows], learned) for name, learned in known.items()]
        return np.concatenate(parts, 1).astype(np.float32)


def _learned(cells: Sequence[str]) -> dict[str, Any]:
    numbers = _numbers(cells)
    there = np.isfinite(numbers)
    if there.any() and there.sum() >= _NUMBERS * sum(map(bool, cells)):
        spread = float(numbers[there].std())
        return {"mean": float(numbers[there].mean()), "spread": spread if spread > 0 else 1.0}
    values, counts = np.unique([cell for cell in cells if cell] or [""], return_counts=True)
    return {"values": values[np.argsort(-counts, kind="stable")[:_MOST_VALUES]].tolist()}


def _encoded(cells: Sequence[str], learned: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    if "values" in learned:
        return np.asarray(np.array(cells)[:, None] == np.array(learned["values"])[None], np.float64)
    scaled = (_numbers(cells) - learned["mean"]) / learned["spread"]
    return np.where(np.isfinite(scaled), scaled, 0).clip(-_FAR, _FAR)[:, None]


def _numbers(cells: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return cells as numbers, NaN where they are none."""
    return np.array([_number(cell) for cell in cells], np.float64)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
