"""Committed results: written as folders, and checked as a whole.

``results/AGENT/FAMILY[-VARIANT]/`` and ``results/fewshot/LEARNER/DATASET/`` hold config.json, curve.csv, curve.png and
summary.json each, and the weights of every seed (``weights.py``), which those published earlier lack;
``results/comparisons/`` holds what ``comparisons.py`` says, ``results/suite/`` what ``metarl.suite.entries`` does.
``schema.py`` has the schema of summary.json, ``summaries.py`` makes one of an evaluation; ``report.py`` makes the
tables that people read. ``sums.py`` keeps checksums of all files.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.scores import Evaluation, short_name
from metarl.evaluation.scores_csv import scores_csv
from metarl.evaluation.sums import check_sums
from metarl.evaluation.weights import remove_weights, weights_files
from metarl.plotting.curves import curve_figure
from metarl.plotting.style import save_figure
from metarl.suite.entries import FOLDER as SUITE
from results.comparisons import FOLDER
from results.curve_files import COLUMNS, check_fewshot_curve, read_curve
from results.schema import Summary, check_summary

FILES = ("config.json", "curve.csv", "curve.png", "summary.json")


class Result(NamedTuple):
    """A checked folder of results."""

    folder: Path
    name: str  # its path below results/
    summary: Summary
    points: dict[tuple[int, int], dict[str, float]]  # (episodes, adaptations) -> means of curve.csv's columns


def write_result(results_dir: str | Path, evaluation: Evaluation, content: Summary, config: Mapping[str, Any]) -> Path:
    """Write the four files of an evaluation's result, and check them; returns its folder."""
    return write_files(results_dir, content, config, scores_csv(evaluation), curve_figure(evaluation))


def write_files(
    results_dir: str | Path, content: Summary, config: Mapping[str, Any], curve_csv: str, curve: Figure
) -> Path:
    """Write a result's four files, of an agent or of a few-shot learner, and check them; returns their folder."""
    check_summary(content)
    folder = Path(results_dir, *["fewshot"] * ("fewshot" in content), content["agent"], _folder_name(content))
    remove_weights(folder)
    write_atomic(folder / "config.json", json.dumps(dict(config), indent=2, sort_keys=True) + "\n")
    write_atomic(folder / "curve.csv", curve_csv)
    save_figure(curve, folder / "curve.png")
    write_atomic(folder / "summary.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    check_result(folder, results_dir)
    return folder


def check_result(folder: str | Path, results_dir: str | Path) -> Result:
    """Return the result in a folder below results_dir; raises a MetaRLError that says, with the path, what is wrong."""
    place = Path(folder)
    name = place.relative_to(results_dir).as_posix()
    missing = [file for file in FILES if not (place / file).is_file()]
    if missing:
        raise MetaRLError(f"{place} lacks {', '.join(missing)}; a result has {', '.join(FILES)}")
    try:
        _json(place / "config.json")
        content = check_summary(_json(place / "summary.json"))
        expected = f"{content['agent']}/{_folder_name(content)}"
        if name.removeprefix("fewshot/") != expected:
            raise MetaRLError(f"agent, family and variant belong into {expected}; move the folder or mend summary.json")
        if not (place / "curve.png").read_bytes().startswith(b"\x89PNG\r\n"):
            raise MetaRLError("curve.png is no PNG picture; write it again")
        # Few-shot learners earn accuracies and errors: their curve.csv has columns of its own.
        fewshot = name.startswith("fewshot/")
        if fewshot != ("fewshot" in content):
            raise MetaRLError("what has few-shot's fields belongs below fewshot/, and nothing else; move the folder")
        if fewshot:
            check_fewshot_curve(place / "curve.csv", content)
        points = {} if fewshot else read_curve(place / "curve.csv", content)
        weights = list(weights_files(place))
        if weights and sorted(weights) != sorted(content["seeds"]):
            raise MetaRLError(f"its weights are of seeds {weights}, its scores of {content['seeds']}; publish it again")
    except MetaRLError as error:
        raise MetaRLError(f"{place}: {error}") from error
    return Result(place, name, content, points)


def load_results(results_dir: str | Path) -> list[Result]:
    """Return all results below a folder, checked, by family, variant, split and score; raises all faults in one."""
    root = Path(results_dir)
    folders = [path for path in (*root.glob("*/*"), *root.glob("fewshot/*/*")) if path.is_dir()]
    apart = (root / "fewshot", root / FOLDER, root / SUITE)  # those of the suite are metarl.suite.entries' own
    folders = [path for path in folders if path.parent not in apart]
    faults = [
        f"{path} lies outside AGENT/FAMILY[-VARIANT]/ and fewshot/LEARNER/DATASET/; move it there"
        for path in sorted(root.rglob("summary.json"))
        if path.parent not in folders and root / SUITE not in path.parents
    ]
    faults += check_sums(root)
    results = []
    for folder in sorted(folders):
        try:
            results.append(check_result(folder, root))
        except MetaRLError as error:
            faults.append(str(error))
    if faults:
        raise MetaRLError("\n".join(faults))
    return sorted(results, key=_rank)


def extras(result: Result) -> dict[str, float]:
    """Return a run's named numbers, such as its learnt sd: curve.csv's columns beside those of every curve."""
    first = next(iter(result.points.values()), {})
    derived = {"normalised", "normalised_deterministic"}
    return {k: v for k, v in first.items() if k not in COLUMNS | derived and not re.fullmatch(r"task_\d+", k)}


def _rank(result: Result) -> tuple[Any, ...]:
    """Return what results are sorted by: family, variant and split, the best final score first."""
    content = result.summary
    normalised = (content.get("curve") or [{}])[-1].get("normalised") or {"mean": -np.inf}
    return short_name(content["family"]), content["variant"], content["split"], -normalised["mean"], result.name


def _folder_name(content: Summary) -> str:
    return short_name(content["family"]) + (f"-{content['variant']}" if content["variant"] else "")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise MetaRLError(f"{path.name} is no JSON ({error}); write it again") from error
    if not isinstance(content, dict):
        raise MetaRLError(f"{path.name} holds a {type(content).__name__}; it must be an object")
    return content
