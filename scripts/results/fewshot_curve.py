"""The curve.csv of a few-shot learner's result, which must bear out the figures of its summary."""

import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np

from metarl.core.errors import MetaRLError
from results.schema import Summary

_COLUMNS = ["figure", "seed", "step", "episodes", "mean", "median", "sd"]
_TOLERANCE = 1e-6  # relative: curve.csv keeps 9 digits


def check_fewshot_curve(path: Path, content: Summary) -> None:
    """Raise unless every figure that is a mean is that of the table's rows, over the summary's seeds.

    A median over all seeds is not that of theirs, and is not checked.
    """
    means: dict[str, list[float]] = defaultdict(list)
    seeds = set()
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(), newline=""))
        if reader.fieldnames != _COLUMNS:
            raise MetaRLError(f"curve.csv has columns {reader.fieldnames}; a few-shot learner's are {_COLUMNS}")
        rows = [(row["figure"], int(row["seed"]), int(row["step"]), float(row["mean"])) for row in reader]
    except (TypeError, ValueError, csv.Error) as error:
        if isinstance(error, MetaRLError):
            raise
        raise MetaRLError(f"curve.csv is damaged ({error}); write it again") from error
    last = {(figure, seed): step for figure, seed, step, _ in rows}  # the file has them in order
    for figure, seed, step, mean in rows:
        seeds.add(seed)
        means[f"{figure} step {step}"].append(mean)
        if last[figure, seed] == step:
            means[figure].append(mean)
    if sorted(seeds) != sorted(content["seeds"]):
        raise MetaRLError(
            f"curve.csv has seeds {sorted(seeds)}, the summary {content['seeds']}; write both from one run"
        )
    for each in content["figures"]:
        name, said = each["name"], each["value"]
        if name.startswith("median"):
            continue
        counted = float(np.mean(means[name])) if name in means else float("nan")
        if not abs(said - counted) <= _TOLERANCE * max(1.0, abs(counted)):
            raise MetaRLError(f"the summary says {name} {said}, curve.csv {counted}; write both from one run")
