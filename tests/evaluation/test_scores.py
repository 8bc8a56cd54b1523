"""The evaluation record: normalised scores, split labels, speed, JSON and CSV; and the tables made from it."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from metarl.core.errors import MetaRLError
from metarl.evaluation.comparison import comparison_json, comparison_table, separation_rows
from metarl.evaluation.rows import number
from metarl.evaluation.scores import Evaluation, normalised_score, short_name, split_label
from metarl.evaluation.scores_csv import scores_csv
from metarl.evaluation.statistics import bootstrap_interval, interquartile_mean, t_interval
from metarl.evaluation.tables import curve_rows, curve_table, evaluation_json


def printed(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(renderable)
    return console.file.getvalue()


def test_the_normalised_score_is_a_ratio_of_means() -> None:
    # Closed: 9 of 10 and 0 of 1. The mean of the ratios would be .45.
    returns, floor, optimum = np.array([[9.0, 0.0]]), np.zeros(2), np.array([10.0, 1.0])
    assert normalised_score(returns, floor, optimum) == pytest.approx(9 / 11)


def test_floor_is_zero_and_optimum_one(make_evaluation) -> None:
    evaluation = make_evaluation()
    both = np.stack([evaluation.floor[0], evaluation.optimum[0]])[None]
    ends = make_evaluation(returns=both, seeds=(0,), shares=(0, 0), deterministic=False)
    assert ends.normalised.tolist() == [0, 1]


def test_floor_and_optimum_are_those_of_each_point(make_evaluation) -> None:
    luck = np.array([0.0, 30.0, -20.0, 10.0])[:, None]  # of the starts of each point, the same for all who play there
    plain = make_evaluation()
    shifted = make_evaluation(
        returns=plain.returns + luck,
        floor=plain.floor + luck,
        optimum=plain.optimum + luck,
        returns_deterministic=plain.returns_deterministic + luck,
    )
    assert shifted.normalised == pytest.approx(plain.normalised)
    for mine, other in zip(shifted.points, plain.points, strict=True):
        assert mine.normalised.interval == pytest.approx(other.normalised.interval)
        assert mine.normalised_deterministic.value == pytest.approx(other.normalised_deterministic.value)
    assert shifted.mean_of(1, 2).normalised.value == pytest.approx(plain.mean_of(1, 2).normalised.value)
    trials = [
        make_evaluation(episodes=(0, 1, 2, 3), trial=True, returns=e.returns, floor=e.floor, optimum=e.optimum)
        for e in (plain, shifted)
    ]
    assert trials[0].trial_total.normalised.value == pytest.approx(trials[1].trial_total.normalised.value)


def test_where_floor_and_optimum_earn_the_same_nothing_is_normalised(make_evaluation) -> None:
    plain = make_evaluation()
    optimum = np.array(plain.optimum)
    optimum[1] = plain.floor[1]
    evaluation = make_evaluation(optimum=optimum)
    assert evaluation.normalised is None
    assert [point.normalised is None for point in evaluation.points] == [False, True, False, False]
    # In the trial's total only some tasks count; resamples without them have no score and are left out.
    optimum = np.array(plain.floor)
    optimum[:, :2] += 1
    few = make_evaluation(optimum=optimum, returns=np.tile(optimum, (3, 1, 1)), deterministic=False)
    assert few.points[0].normalised.interval == pytest.approx((1.0, 1.0))


def test_intervals_end_where_an_exact_optimum_does(make_evaluation) -> None:
    # Three seeds of .37, .95 and .95 have a t interval that ends at 1.6.
    known = make_evaluation(deterministic=False)
    gap = known.optimum - known.floor
    returns = known.floor + np.array([0.37, 0.95, 0.95])[:, None, None] * gap
    loose = make_evaluation(returns=returns, deterministic=False).points[0]
    exact = make_evaluation(returns=returns, deterministic=False, exact_optimum=True).points[0]
    assert loose.normalised.t.high > 1.5
    assert exact.normalised.t == exact.normalised.interval == (loose.normalised.t.low, 1.0)
    assert exact.returns.t == (loose.returns.t.low, pytest.approx(known.optimum[0].mean()))
    assert exact.returns.bootstrap == loose.returns.bootstrap  # its resamples have other tasks, and other optima
    lucky = make_evaluation(
        returns=known.optimum + gap * np.array([0.0, 0.01, 0.02])[:, None, None], exact_optimum=True
    )
    score = lucky.points[0].normalised
    assert score.value == score.interval.high == pytest.approx(1.01)  # luck is no error


@pytest.mark.parametrize(
    ("split", "kind", "fixed"),
    [("test", "closed", True), ("val", "closed", True), ("ood", "closed", False), ("test", "disjoint", False)],
)
def test_on_a_closed_split_seeds_alone_are_resampled(make_evaluation, split: str, kind: str, fixed: bool) -> None:
    evaluation = make_evaluation(split=split, split_kind=kind)
    returns = evaluation.returns[:, 1]
    assert evaluation.fixed_tasks == fixed
    assert evaluation.points[1].returns.bootstrap == bootstrap_interval(returns, fixed_tasks=fixed)
    assert bootstrap_interval(returns, fixed_tasks=True).width < bootstrap_interval(returns).width / 2
    assert ("bootstrap over seeds and" in " ".join(printed(curve_table(evaluation)).split())) == fixed


def test_points_hold_every_score(make_evaluation) -> None:
    evaluation = make_evaluation()
    point, returns = evaluation.points[1], evaluation.returns[:, 1]
    assert (point.episodes, point.adaptations) == (20, 1)
    assert point.returns.value == pytest.approx(returns.mean())
    assert point.iqm == pytest.approx(float(interquartile_mean(returns)))
    assert point.returns.bootstrap == bootstrap_interval(returns)
    assert point.returns.t == t_interval(returns)
    assert point.normalised.value == pytest.approx(0.7, abs=0.01)
    gap = (evaluation.optimum - evaluation.floor)[1].mean()
    assert point.returns_deterministic.value == pytest.approx(returns.mean() + 0.5)
    assert point.normalised_deterministic.value == pytest.approx(point.normalised.value + 0.5 / gap)


@pytest.mark.parametrize("missing", ["floor", "optimum"])
def test_without_floor_or_optimum_nothing_is_normalised(make_evaluation, missing: str) -> None:
    evaluation = make_evaluation(**{missing: None}, deterministic=False)
    assert evaluation.normalised is None
    assert evaluation.points[0].normalised is None
    assert evaluation.points[0].returns_deterministic is None


def test_speed_uses_the_normalised_score_where_known(make_evaluation) -> None:
    # Half of .9 counted from the floor is reached before any adaptation, counted from the first point after it.
    shares = (0.5, 0.6, 0.9)
    assert make_evaluation(shares=shares).speed == {"50%": 0, "90%": 40}
    assert make_evaluation(shares=shares, floor=None).speed == {"50%": 40, "90%": 40}


@pytest.mark.parametrize(
    ("split", "kind", "label"),
    [
        ("test", "fresh", "test (fresh)"),
        ("test", "disjoint", "test (disjoint)"),
        ("test", "closed", "test (same tasks)"),
        ("train", "fresh", "train (same tasks)"),
        ("ood", "closed", "ood"),
        ("val", "fresh", "val (fresh)"),
        ("val", "disjoint", "val (disjoint)"),
        ("val", "closed", "val (same tasks)"),
    ],
)
def test_every_score_names_its_split(make_evaluation, split: str, kind: str, label: str) -> None:
    evaluation = make_evaluation(split=split, split_kind=kind)
    assert split_label(split, kind) == evaluation.split_label == evaluation_json(evaluation)["split"] == label
    assert label in printed(curve_table(evaluation))


@pytest.mark.parametrize("family", ["metarl/GridNavi-v0", "my_module:GridNavi", "GridNavi", "a/GridNavi-v12"])
def test_short_names(family: str) -> None:
    assert short_name(family) == "GridNavi"


def test_json_is_lossless(make_evaluation, tmp_path: Path) -> None:
    evaluation = make_evaluation(optimum=None)
    evaluation.save(tmp_path / "evaluation.json")
    again = Evaluation.load(tmp_path / "evaluation.json")
    assert np.array_equal(again.returns, evaluation.returns)
    assert again.optimum is None
    assert again.to_json() == evaluation.to_json()
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: text.replace('"steps"', '"stepz"'), r"missing or unknown \['steps', 'stepz'\]"),
        (lambda _: "[1]", "list"),
        (lambda text: text.replace('"streams": 2', '"streams": 1'), "another version.* evaluate the run again"),
        (lambda text: text.replace(', "streams": 2', ""), "another version.* evaluate the run again"),
    ],
)
def test_json_of_something_else_is_refused(make_evaluation, damage, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        Evaluation.from_json(damage(make_evaluation().to_json()))


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_damaged_file_is_refused_with_its_path(make_evaluation, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "evaluation.json"
    make_evaluation().save(path)
    text = path.read_text()
    for damaged in (text[:cut], text.replace("0", "1"), make_evaluation().to_json()):
        path.write_text(damaged)
        with pytest.raises(MetaRLError, match=r"evaluation\.json: .*checksum.*; evaluate the run again"):
            Evaluation.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"nothing\.json"):
        Evaluation.load(tmp_path / "nothing.json")


def test_csv_has_a_row_for_each_seed_point_and_task(make_evaluation) -> None:
    evaluation = make_evaluation(optimum=None, floor=np.random.default_rng(0).normal(-90, 9, (4, 20)))
    rows = list(csv.DictReader(io.StringIO(scores_csv(evaluation))))
    assert len(rows) == 3 * 4 * 20
    row = rows[(2 * 4 + 1) * 20 + 5]
    assert (row["seed"], row["episodes"], row["adaptations"], row["task"]) == ("2", "20", "1", "5")
    assert float(row["return"]) == pytest.approx(evaluation.returns[2, 1, 5], rel=1e-8)
    assert float(row["return_deterministic"]) == pytest.approx(evaluation.returns[2, 1, 5] + 0.5, rel=1e-8)
    assert float(row["floor"]) == pytest.approx(evaluation.floor[1, 5], rel=1e-8)
    assert row["optimum"] == ""
    assert float(row["task_1"]) == pytest.approx(evaluation.task_vectors[5, 1], rel=1e-8)
    assert float(row["sd"]) == 0.25


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"returns": np.ones((3, 4, 19))}, r"returns has shape \(3, 4, 19\); \(3, 4, 20\)"),
        ({"returns": np.full((3, 4, 20), np.nan)}, "NaN"),
        ({"returns_deterministic": np.ones((3, 4))}, "returns_deterministic has shape"),
        ({"floor": np.ones(3)}, "floor has shape"),
        ({"floor": np.ones(20)}, r"floor has shape \(20,\); \(4, 20\)"),
        ({"optimum": np.full((4, 20), -99.0)}, "not above the floor"),
        ({"task_vectors": np.ones(20)}, "task_vectors has shape"),
        ({"seeds": (0, 1, 1)}, "repeat"),
        ({"adaptations": (0, 1)}, "2 adaptations for 4 points"),
        ({"episodes": (0, 40, 20, 60)}, "count up"),
        ({"split": "validation"}, "train, val, test, ood"),
        ({"split_kind": "open"}, "fresh, disjoint, closed"),
        ({"extra": {"sd": float("inf")}}, "sd=inf"),
        ({"wall_seconds": float("nan")}, "wall_seconds"),
    ],
)
def test_bad_evaluations_are_refused(make_evaluation, fields: dict[str, object], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        make_evaluation(**fields)


def test_an_evaluation_keeps_its_own_numbers(make_evaluation) -> None:
    returns = np.ones((3, 4, 20))
    evaluation = make_evaluation(returns=returns)
    returns[:] = 7
    assert evaluation.returns.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        evaluation.returns[0] = 7


def test_the_table_shows_what_the_json_says(make_evaluation) -> None:
    evaluation = make_evaluation()
    text, content = printed(curve_table(evaluation)), evaluation_json(evaluation)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    for row in content["curve"]:
        for score, digits in ((row["return"], None), (row["normalised"], 3)):
            assert number(score["mean"], digits) in text
            assert score["interval"] in (score["bootstrap"], score["t"])
            low, high = (number(end, digits) for end in score["interval"])
            assert f"{number(score['mean'], digits)} [{low}, {high}]" in text
        assert number(row["return"]["iqm"]) in text
        assert number(row["return_deterministic"]["mean"]) in text
        assert number(row["normalised_deterministic"]["mean"], 3) in text
    assert "50% after 20, 90% after 40" in " ".join(text.split())
    assert content["speed"] == {"50%": 20, "90%": 40}
    assert "3 seeds × 20 tasks" in text
    assert "Also measured: sd 0.25." in " ".join(text.split())
    # A line for each point on 80 columns, below two of headings, and then whole sentences.
    assert [line.split()[0] for line in text.splitlines()[3:7]] == ["0", "20", "40", "60"]
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(line.strip() for line in text.splitlines()[7:]).endswith("the optimum 1.")
    assert f"standing still) earns {number(evaluation.floor.mean())}" in " ".join(text.split())
    assert "…" not in text  # nothing is cut off on 80 columns


def test_one_seed_says_that_it_has_no_t_interval(make_evaluation) -> None:
    evaluation = make_evaluation(seeds=(4,))
    assert curve_rows(evaluation)[0]["return"]["t"] is None
    one, several = (" ".join(printed(curve_table(each)).split()) for each in (evaluation, make_evaluation()))
    assert one.count("a 95% interval, cut") == one.count("one seed has no t interval") == 1
    assert "the wider of two 95% intervals" in several
    assert "no t interval" not in several
    both = " ".join(printed(comparison_table([evaluation, make_evaluation(agent="finetune")])).split())
    assert both.count("t over seeds; one seed has no t interval") == 1


def test_numbers_are_printed_with_three_digits() -> None:
    values = (-38.26, -0.51, 0.0, -0.001, 9.998, 1234.5, -100.4)
    assert [number(value) for value in values] == ["−38.3", "−0.51", "0.00", "0.00", "10.0", "1234", "−100"]
    assert number(0.7306, 3) == "0.731"


def test_a_comparison_says_where_intervals_touch(make_evaluation) -> None:
    ahead, behind = make_evaluation(), make_evaluation(agent="finetune", shares=(0.0, 0.2, 0.3, 0.4))
    rows = separation_rows([behind, ahead])
    assert [row["intervals_touch"] for row in rows] == [True, False, False, False]
    assert (rows[3]["ahead"], rows[3]["behind"], rows[3]["episodes"]) == ("maml", "finetune", 60)
    assert rows[3]["by"] == pytest.approx(0.57)
    content, text = comparison_json([ahead, behind]), printed(comparison_table([ahead, behind]))
    assert content["evaluations"] == [evaluation_json(ahead), evaluation_json(behind)]
    assert json.loads(json.dumps(content)) == content
    assert text.count("do not touch") == 3
    assert "…" not in text


def test_points_are_compared_at_the_same_number_of_episodes(make_evaluation) -> None:
    online = make_evaluation(agent="rl2", shares=(0.0, 0.5, 0.6), episodes=(0, 1, 20))
    assert [row["episodes"] for row in separation_rows([make_evaluation(), online])] == [0, 20]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"agent": "b", "family": "metarl/Other-v0"}, "family"),
        ({"agent": "b", "variant": "pearl"}, "variant"),
        ({"agent": "b", "split": "ood"}, "split"),
        ({"agent": "b", "task_vectors": np.zeros((20, 2))}, "different tasks"),
        ({}, "share a name"),
    ],
)
def test_only_like_is_compared_with_like(make_evaluation, fields: dict[str, object], message: str) -> None:
    pair = [make_evaluation(), make_evaluation(**fields)]
    with pytest.raises(MetaRLError, match=message):
        comparison_table(pair)
    with pytest.raises(MetaRLError, match=message):
        comparison_json(pair)


def test_nothing_is_compared_with_nothing() -> None:
    with pytest.raises(MetaRLError, match="name at least one run"):
        comparison_json([])


def test_rows_say_what_the_table_says(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation()
    rows, table = evaluation.rows, curve_rows(evaluation)
    assert [row["episodes"] for row in rows] == list(evaluation.episodes)
    for row, shown, point in zip(rows, table, evaluation.points, strict=True):
        assert row["return"] == shown["return"]["mean"]
        assert (row["return_low"], row["return_high"]) == tuple(point.returns.interval)
        assert row["normalised"] == shown["normalised"]["mean"]
        assert row["return_deterministic"] == shown["return_deterministic"]["mean"]
    unknown = make_evaluation(deterministic=False, floor=None).rows[0]
    assert unknown["normalised"] is unknown["normalised_low"] is unknown["return_deterministic"] is None


def test_a_dataframe_holds_the_rows(make_evaluation: Callable[..., Evaluation]) -> None:
    pytest.importorskip("pandas", reason="a DataFrame needs pandas")
    evaluation = make_evaluation()
    assert evaluation.to_dataframe().to_dict("records") == evaluation.rows


def test_without_pandas_one_line_says_so(
    make_evaluation: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MetaRLError, match=r"^A DataFrame needs pandas .*: pip install pandas, or take \.rows\.$"):
        make_evaluation().to_dataframe()
