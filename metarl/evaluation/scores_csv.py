"""An evaluation as a tidy table in CSV."""

from itertools import product

from metarl.evaluation.rows import Row, csv_of_rows
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.statistics import Array

MOST_ROWS = 50_000  # of a table with a row for every task


def scores_csv(evaluation: Evaluation) -> str:
    """Write one row per seed, point and task; numbers to 9 digits, an empty cell where nothing is known.

    Beyond MOST_ROWS rows there is one per seed and point, the mean over all tasks, and its cells of the task are empty.
    """
    whole = evaluation.returns.size <= MOST_ROWS or len(evaluation.task_vectors) == 1
    names = ("returns", "returns_deterministic", "floor", "optimum")
    known = (getattr(evaluation, name) for name in names)
    arrays = [array if array is None or whole else array.mean(axis=-1, keepdims=True) for array in known]
    rows: list[Row] = []
    tasks = range(len(evaluation.task_vectors)) if whole else [0]
    for (i, seed), (j, episodes), task in product(enumerate(evaluation.seeds), enumerate(evaluation.episodes), tasks):
        place = {"seed": seed, "episodes": episodes, "adaptations": evaluation.adaptations[j]}
        returns, quiet = (_at(array, i, j, task) for array in arrays[:2])
        floor, optimum = (_at(array, j, task) for array in arrays[2:])
        scores = {"return": returns, "return_deterministic": quiet, "floor": floor, "optimum": optimum}
        vector = {f"task_{k}": value for k, value in enumerate(evaluation.task_vectors[task])} if whole else {}
        rows.append({**place, "task": task if whole else None, **scores, **vector, **evaluation.extra})
    return csv_of_rows(rows)


def _at(array: Array | None, *index: int) -> float | None:
    return None if array is None else float(array[index])
