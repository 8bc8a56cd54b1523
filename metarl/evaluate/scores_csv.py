"""An evaluation as a tidy table in CSV."""

import csv
import io
from collections.abc import Iterable

from metarl.evaluate.scores import Evaluation
from metarl.evaluate.statistics import Array

CSV_HEADER = ("seed", "episodes", "adaptations", "task", "return", "return_deterministic", "floor", "optimum")
MOST_ROWS = 50_000  # of a table with a row for every task


def scores_csv(evaluation: Evaluation) -> str:
    """One row per seed, point and task; numbers to 9 digits, an empty cell where nothing is known.

    Beyond MOST_ROWS rows there is one per seed and point, the mean over all tasks, and its cells of the task are empty.
    """
    whole = evaluation.returns.size <= MOST_ROWS or len(evaluation.task_vectors) == 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    vector = [f"task_{i}" for i in range(evaluation.task_vectors.shape[1])] if whole else []
    writer.writerow([*CSV_HEADER, *vector, *evaluation.extra])
    tails = _tails(evaluation) if whole else [_cells(evaluation.extra.values())]
    for i, seed in enumerate(evaluation.seeds):
        for point, episodes in enumerate(evaluation.episodes):
            references = (None if array is None else array[point] for array in (evaluation.floor, evaluation.optimum))
            quiet = evaluation.returns_deterministic
            known = (evaluation.returns[i, point], None if quiet is None else quiet[i, point], *references)
            columns = [_column(array, whole, len(tails)) for array in known]
            for task, (cells, tail) in enumerate(zip(zip(*columns, strict=True), tails, strict=True)):
                place = [seed, episodes, evaluation.adaptations[point], task if whole else ""]
                writer.writerow([*place, *cells, *tail])
    return text.getvalue()


def _column(array: Array | None, whole: bool, rows: int) -> list[str]:
    """The cells of returns ``(task,)``, or of their mean alone."""
    return [""] * rows if array is None else _cells(array if whole else [array.mean()])


def _tails(evaluation: Evaluation) -> list[list[str]]:
    """What stands at the end of each task's rows: its vector, and the named numbers."""
    extra = _cells(evaluation.extra.values())
    return [[*_cells(vector), *extra] for vector in evaluation.task_vectors]


def _cells(values: Iterable[float] | Array) -> list[str]:
    return [f"{value:.9g}" for value in values]
