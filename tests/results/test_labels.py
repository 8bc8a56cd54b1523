"""Labels: each branch of the one function that gives them, and every label that is published."""

import re
from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import MetaRLError
from results.files import load_results
from results.labels import earned_label, lower_is_better, published_number, satisfies


@pytest.mark.parametrize(
    ("value", "target", "reached"),
    [
        (0.98, ">= 0.98", True),
        (0.979, ">= 0.98", False),
        (0.98, "> 0.98", False),
        (0.3, "<= 0.3", True),
        (0.3, "< 0.3", False),
        (-3.0, ">= -3.5", True),
    ],
)
def test_targets_are_comparisons(value: float, target: str, reached: bool) -> None:
    assert satisfies(value, target) is reached


@pytest.mark.parametrize("target", ["0.98", "=> 0.98", ">= much", ">= 0.98 of it"])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(MetaRLError, match="write a comparison and a number"):
        satisfies(1.0, target)


def test_published_is_a_number_or_begins_with_one() -> None:
    assert published_number(98) == 98
    assert published_number("98.7, transductive") == 98.7
    assert published_number("-3, at 1M steps") == -3
    for wrong in ("-", "98.7", "about 50, as read off", "98.7,", True):
        with pytest.raises(MetaRLError, match="give what a paper printed"):
            published_number(wrong)


def test_errors_are_better_where_they_are_lower() -> None:
    assert all(map(lower_is_better, ("mse 10-shot", "median mse 10-shot step 1", "rmse")))
    assert not any(map(lower_is_better, ("return", "normalised step 1", "5w1s", "rocauc 10-shot", "n=10")))


@pytest.mark.parametrize(
    ("low", "high", "asked", "earned"),
    [
        # The target alone: the whole interval satisfies it, its bound lies inside, or nothing of it does.
        (0.98, 0.99, {"target": ">= 0.98"}, "met"),
        (0.97, 0.99, {"target": ">= 0.98"}, "within noise"),
        (0.97, 0.98, {"target": ">= 0.98"}, "within noise"),
        (0.96, 0.97, {"target": ">= 0.98"}, "below"),
        (0.98, 0.99, {"target": "> 0.98"}, "within noise"),
        (0.97, 0.98, {"target": "> 0.98"}, "below"),
        # The published figure decides on "reproduced", whatever the target says of it.
        (82.6, 85.0, {"target": ">= 85.1", "published": 84.9}, "reproduced"),
        (84.8, 84.9, {"published": 84.9}, "reproduced"),
        (86.0, 87.0, {"target": ">= 90", "published": 84.9}, "reproduced"),
        (98.0, 98.8, {"published": "98.7, transductive"}, "reproduced"),
        # Where it is not reached, the target decides, and never on "reproduced".
        (82.7, 82.8, {"target": ">= 80.4", "published": 84.9}, "met"),
        (82.7, 82.8, {"target": ">= 82.75", "published": 84.9}, "within noise"),
        (82.7, 82.8, {"target": ">= 84", "published": 84.9}, "below"),
        (82.7, 82.8, {"published": 84.9}, "below"),
        (98.0, 98.6, {"target": ">= 98", "published": "98.7, transductive"}, "met"),
        # Too few steps to reproduce anything, whatever was reached by then; as many as the reference's are enough.
        (0.98, 0.99, {"target": ">= 0.5", "published": 0.5, "budget": 101}, "met, at 100 steps"),
        (0.1, 0.2, {"target": ">= 0.5", "budget": 101}, "below, at 100 steps"),
        (0.98, 0.99, {"published": 0.5, "budget": 101}, "at 100 steps"),
        (0.98, 0.99, {"published": 0.5, "budget": 100}, "reproduced"),
        (0.98, 0.99, {"target": ">= 0.5", "budget": 99}, "met"),
        # Nothing to measure it against.
        (0.98, 0.99, {}, None),
    ],
)
def test_labels_are_earned(low: float, high: float, asked: dict[str, Any], earned: str | None) -> None:
    assert earned_label("return", low, high, steps=100, **asked) == earned


@pytest.mark.parametrize(
    ("low", "high", "asked", "earned"),
    [
        (0.2, 0.3, {"target": "<= 0.3"}, "met"),
        (0.2, 0.31, {"target": "<= 0.3"}, "within noise"),
        (0.31, 0.4, {"target": "<= 0.3"}, "below"),
        (0.2, 0.3, {"target": "<= 0.1", "published": 0.25}, "reproduced"),
        (0.2, 0.3, {"published": 0.5}, "reproduced"),
        (0.2, 0.3, {"target": "<= 0.4", "published": 0.1}, "met"),
        (0.2, 0.3, {"published": 0.1}, "below"),
    ],
)
def test_less_of_an_error_is_better(low: float, high: float, asked: dict[str, Any], earned: str) -> None:
    assert earned_label("mse 10-shot step 1", low, high, steps=100, **asked) == earned


def test_published_labels_say_what_the_figures_have_shown(root: Path) -> None:
    """Derived here once more from the summaries alone: by whom reproduced is said, and by which figure."""
    figures = [
        (result, each) for result in load_results(root / "results") for each in result.summary["figures"]
    ]  # loading refuses a label that is not the function's
    assert len(figures) > 30
    for result, each in figures:
        said, low, high, known = each["label"], each["low"], each["high"], each["published"]
        steps, error = result.summary["steps"], "mse" in each["name"]
        if said == "reproduced":
            number = float(known.split(",")[0]) if isinstance(known, str) else known
            assert low <= number if error else high >= number, result.name
            assert steps >= (each["budget"] or 0), result.name
            continue
        if said.endswith(" steps"):
            assert said.endswith(f"at {steps} steps"), result.name
            assert steps < each["budget"], result.name
        if each["target"]:
            comparison, bound = each["target"].split()
            assert {comparison[0]} == ({"<"} if error else {">"}), result.name
            side = [(end <= float(bound)) if error else (end >= float(bound)) for end in (low, high)]
            assert said.partition(",")[0] == {2: "met", 1: "within noise", 0: "below"}[sum(side)], result.name


def test_published_figures_say_what_they_are_measured_against(root: Path) -> None:
    for result in load_results(root / "results"):
        for each in result.summary["figures"]:
            assert each["published"] is not None or each["basis"], result.name
    every = (root / "results" / "README.md").read_text()
    assert not re.search(r"\| – \| reproduced \|", every)
