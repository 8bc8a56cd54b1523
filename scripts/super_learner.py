"""Score a super learner beside its base learners: ``python scripts/super_learner.py RUN RUN --output super.csv``."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import tyro

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.fewshot_super_learner import rows_of, stream_of
from metarl.evaluation.published import open_fewshot_run
from metarl.evaluation.rows import csv_of_rows


def main(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    output: Path = Path("super_learner.csv"),
    shots: tuple[int, ...] = (1, 2, 5, 10, 20),
    way: int = 5,
    training: int = 40,
    episodes: int = 100,
) -> int:
    """Score on the tasks of each run's data set, pooled over shots, and of several runs on all tasks together too.

    Args:
        runs: folders of few-shot learners trained on classes, each on a data set of its own.
        output: the table as CSV.
        shots: labelled samples of each class.
        way: classes of an episode.
        training: episodes of each number of shots by which the gate is learned.
        episodes: of each that are scored.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # that small folds lack samples
    try:
        if not runs:
            raise MetaRLError("Name run folders: python scripts/super_learner.py RUN RUN ...")
        streams = [stream_of(open_fewshot_run(run), shots, training, episodes, way) for run in runs]
        each = [[stream] for stream in streams] + ([streams] if len(streams) > 1 else [])
        rows = [row for some in each for row in rows_of(some)]
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        ends = f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
        print(f"{row['data']:40.40} {row['learner']:24} {row['value']:6.2f}  {ends} above {row['above']}")
    names = list(dict.fromkeys(name for row in rows for name in row))  # shots may differ
    write_atomic(output, csv_of_rows([{name: row.get(name) for name in names} for row in rows]))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
