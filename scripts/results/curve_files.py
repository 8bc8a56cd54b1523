"""The curve.csv of a result, which must bear out its summary."""

import csv
import io
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from results.schema import Summary

NEEDED = ("seed", "episodes", "adaptations", "return")
COLUMNS = {*NEEDED, "task", "return_deterministic", "floor", "optimum"}  # those behind NEEDED may be empty
_FEWSHOT_COLUMNS = ["figure", "seed", "step", "episodes", "mean", "median", "sd"]
_TOLERANCE = 1e-6  # relative: curve.csv keeps 9 digits


def read_curve(path: Path, content: Summary) -> dict[tuple[int, int], dict[str, float]]:
    """Return means over seeds and tasks of an agent's curve.csv, by (episodes, adaptations).

    Raises unless they bear out the summary's curve, trial and seeds.
    """
    names, rows = _rows(path)
    if not set(names) >= COLUMNS:
        raise MetaRLError(f"curve.csv has columns {names}; it needs {', '.join(sorted(COLUMNS))}")
    try:
        values = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise MetaRLError(f"curve.csv is damaged ({error}); write it again") from error
    # Means over very many tasks belong to none.
    needed = NEEDED if np.isnan(values["task"]).all() else (*NEEDED, "task")
    if any(np.isnan(values[name]).any() for name in needed):
        raise MetaRLError(f"curve.csv lacks a number among {', '.join(needed)}; write it again")
    if sorted(set(values["seed"])) != sorted(content["seeds"]):
        raise MetaRLError(f"curve.csv has other seeds than the summary's {content['seeds']}; write both from one run")
    points = {}
    for key in dict.fromkeys(zip(values["episodes"].astype(int), values["adaptations"].astype(int), strict=True)):
        here = (values["episodes"] == key[0]) & (values["adaptations"] == key[1])
        mean = {name: float(column[here].mean()) for name, column in values.items()}
        gap = mean["optimum"] - mean["floor"]
        for name, returns in (("normalised", "return"), ("normalised_deterministic", "return_deterministic")):
            mean[name] = (mean[returns] - mean["floor"]) / gap if gap > 0 else math.nan
        points[int(key[0]), int(key[1])] = mean
    trial = content.get("trial")
    if trial is not None:
        said, counted = trial["return"]["mean"], sum(mean["return"] for mean in points.values())
        if trial["episodes"] != len(points) or not _near(said, counted):
            raise MetaRLError(
                f"the summary says {said} for a trial of {trial['episodes']} episodes, curve.csv {counted} for "
                f"{len(points)}; write both from one run"
            )
    claimed = {(point["episodes"], point["adaptations"]): point for point in content.get("curve", [])}
    if claimed and set(claimed) != set(points):
        raise MetaRLError(f"the summary's curve has points {sorted(claimed)}, curve.csv {sorted(points)}")
    for key, point in claimed.items():
        for name in ("return", "normalised"):
            if point[name] is not None and not _near(said := point[name]["mean"], counted := points[key][name]):
                raise MetaRLError(
                    f"the summary says {name} {said} at {key}, curve.csv {counted}; write both from one run"
                )
    return points


def check_fewshot_curve(path: Path, content: Summary) -> None:
    """Raise unless every figure that is a mean is that of the rows of a few-shot learner's curve.csv.

    A median over all seeds is not that of theirs, and is not checked.
    """
    names, rows = _rows(path)
    if names != _FEWSHOT_COLUMNS:
        raise MetaRLError(f"curve.csv has columns {names}; a few-shot learner's are {_FEWSHOT_COLUMNS}")
    means: dict[str, list[float]] = defaultdict(list)
    try:
        read = [(row["figure"], int(row["seed"]), int(row["step"]), float(row["mean"])) for row in rows]
    except (TypeError, ValueError) as error:
        raise MetaRLError(f"curve.csv is damaged ({error}); write it again") from error
    last = {(figure, seed): step for figure, seed, step, _ in read}  # the file has them in order
    for figure, seed, step, mean in read:
        means[f"{figure} step {step}"].append(mean)
        if last[figure, seed] == step:
            means[figure].append(mean)
    if (seeds := sorted({seed for _, seed, _, _ in read})) != sorted(content["seeds"]):
        raise MetaRLError(f"curve.csv has seeds {seeds}, the summary {content['seeds']}; write both from one run")
    for each in content["figures"]:
        name, said = each["name"], each["value"]
        counted = float(np.mean(means[name])) if name in means else math.nan
        if not name.startswith("median") and not _near(said, counted):
            raise MetaRLError(f"the summary says {name} {said}, curve.csv {counted}; write both from one run")


def _rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and rows of a CSV."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(), newline=""))
        return list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MetaRLError(f"curve.csv is damaged ({error}); write it again") from error


def _near(said: float, counted: float) -> bool:
    return abs(said - counted) <= _TOLERANCE * max(1.0, abs(counted))
