"""Committed comparisons: the schema, who is ahead, and that what was changed or misplaced is named."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from metarl.core.errors import MetaRLError
from results.comparisons import (
    check_comparison,
    comparisons_table,
    comparisons_text,
    load_comparisons,
    write_comparison,
)
from results.files import load_results


def row(learner: str, value: float, difference: float | None) -> dict[str, Any]:
    """A learner's row whose intervals reach .5 to either side."""
    ends = (None, None) if difference is None else (difference - 0.5, difference + 0.5)
    apart = {"difference": difference, "difference_low": ends[0], "difference_high": ends[1]}
    return {
        "learner": learner,
        "value": value,
        "low": value - 0.5,
        "high": value + 0.5,
        **apart,
        "seeds": 3,
        "repeats": 600,
    }


@pytest.fixture
def content() -> dict[str, Any]:
    """A valid comparison of three learners."""
    return {
        **{"subject": "clinc150-01", "setting": "5w1s", "measure": "accuracy, %", "lower_is_better": False},
        **{"split": "test", "tuned_on": "val", "against": "nearest-mean", "note": "Seen before.", "headline": True},
        **{"commands": ["metarl fewshot compare ..."], "configs": {"head": {"lr": 0.1}}},
        **{"machine": "2 cores", "version": "0.1.0"},
        "rows": [row("nearest-mean", 94.0, None), row("head", 96.0, 2.0), row("other", 94.2, 0.2)],
    }


@pytest.fixture
def results(tmp_path: Path, content: dict[str, Any]) -> Path:
    """A folder of results with that comparison."""
    write_comparison(tmp_path, content, Figure())
    return tmp_path


def test_a_comparison_is_written_and_read(results: Path, content: dict[str, Any]) -> None:
    ((file, made),) = load_comparisons(results)
    assert file == results / "comparisons" / "clinc150-01" / "5w1s.json"
    assert made == content
    assert load_results(results) == []  # its folder is no agent's
    assert (results / "SHA256SUMS").read_text().count("comparisons/clinc150-01/5w1s") == 2


def test_the_best_stands_first_and_is_better_only_where_the_interval_says_so(results: Path) -> None:
    text = comparisons_text(results)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| head", "| other", "| nearest-mean"]
    assert "| head | 96.0 [95.5, 96.5] | 2.00 [1.50, 2.50] | better | 3 | 600 |" in text
    assert "| other | 94.2 [93.7, 94.7] | 0.20 [−0.30, 0.70] | not apart |" in text
    assert "Seen before." in text
    assert "(comparisons/clinc150-01/5w1s.png)" in text
    assert "| clinc150-01 | 5w1s | accuracy, % | head | 96.0 [95.5, 96.5] | nearest-mean | 94.0" in comparisons_table(
        results
    )


def test_of_errors_less_is_better(tmp_path: Path, content: dict[str, Any]) -> None:
    write_comparison(tmp_path, {**content, "lower_is_better": True, "measure": "rmse"}, Figure())
    text = comparisons_text(tmp_path)
    assert "| head | 96.0 [95.5, 96.5] | 2.00 [1.50, 2.50] | worse |" in text
    assert text.index("| nearest-mean |") < text.index("| head |")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": ""}, "subject='' *; it must be text"),
        ({"tuned_on": "luck"}, "tuned_on='luck'; allowed are"),
        ({"commands": []}, "name the commands that make it"),
        ({"lower_is_better": 1}, "lower_is_better and headline are true or false"),
        ({"configs": []}, "give an object by learner"),
        ({"against": "knn"}, "'knn'"),
        ({"rows": [row("nearest-mean", 94.0, None)] * 2}, "each has a row of its own"),
        ({"rows": [row("nearest-mean", 94.0, None), row("head", 96.0, None)]}, "only that learner has no difference"),
        ({"rows": [{**row("nearest-mean", 94.0, None), "low": 95.0}]}, "outside its interval"),
        ({"rows": [{**row("nearest-mean", 94.0, None), "seeds": -1}]}, "seeds holds -1"),
        ({"extra": 1}, "has unknown extra"),
    ],
)
def test_the_schema_refuses(content: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        check_comparison({**copy.deepcopy(content), **change})


def test_what_was_changed_moved_or_lost_is_named(results: Path, content: dict[str, Any]) -> None:
    file = results / "comparisons" / "clinc150-01" / "5w1s.json"
    file.write_text(json.dumps({**content, "note": ""}))
    with pytest.raises(MetaRLError, match=r"5w1s\.json is not what was published"):
        load_results(results)
    file.write_text(json.dumps({**content, "setting": "5w5s"}))
    file.with_suffix(".png").unlink()
    with pytest.raises(MetaRLError, match="move it there"):
        load_comparisons(results)
    file.write_text(json.dumps(content))
    with pytest.raises(MetaRLError, match="its picture is missing"):
        load_comparisons(results)
