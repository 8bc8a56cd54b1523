"""Splits: what may be trained on, what is scored, and that both stay what they are."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.tasks import Closed, Disjoint, Fresh, Grid, LogUniform, Split, SplitRule, Tasks, TaskSpace, Uniform

LINE = TaskSpace(x=Uniform(-1, 1))
WIDE = TaskSpace(x=Uniform(-2, 2))
FINITE = TaskSpace(x=Grid(0, 1, 10))
KEYS = stream_keys(500, "test")


def test_fresh_freezes_its_test_tasks_and_draws_its_training_tasks() -> None:
    split = Fresh().make("a", LINE)
    assert (split.kind, len(split.test), split.train_set) == ("fresh", 100, None)
    train = split.train(KEYS)
    assert len(set(train.rows())) == 500
    assert not set(train.rows()) & set(split.test.rows())
    assert train == split.train(KEYS)
    assert train != split.train(KEYS, 1)
    assert train[7:8] == split.train(KEYS[7:8])


def test_fresh_on_a_finite_space_never_trains_on_a_test_task() -> None:
    split = Fresh(test=3).make("a", FINITE)
    train = split.train(KEYS)
    assert not set(train.rows()) & set(split.test.rows())
    assert len(set(train.rows())) == 10 - len(set(split.test.rows()))
    assert train[7:8] == split.train(KEYS[7:8])  # redraws do not depend on the others


def test_a_test_set_that_leaves_nothing_to_train_on_is_refused() -> None:
    split = Fresh(test=200).make("a", TaskSpace(x=Grid(0, 1, 2)))
    with pytest.raises(MetaRLError, match="nothing to train on"):
        split.train(KEYS)


@pytest.mark.parametrize("space", [LINE, FINITE], ids=["continuous", "finite"])
def test_disjoint_cuts_a_finite_set_in_two(space: TaskSpace) -> None:
    total = space.size or 100
    split = Disjoint(test=4).make("a", space)
    assert split.train_set is not None
    assert (split.kind, len(split.test), len(split.train_set)) == ("disjoint", 4, total - 4)
    assert len({*split.test.rows(), *split.train_set.rows()}) == total
    assert set(split.train(KEYS).rows()) == set(split.train_set.rows())
    assert split.part("train") == split.train_set


def test_closed_trains_on_the_test_tasks_and_says_so() -> None:
    split = Closed().make("a", FINITE)
    assert (split.kind, split.label, split.train_set) == ("closed", "same tasks", split.test)
    split.check_training(split.test)


@pytest.mark.parametrize("rule", [Fresh(), Disjoint(), Closed()], ids=lambda rule: rule.kind)
def test_a_split_is_the_same_when_made_anew_and_another_under_another_name(rule: SplitRule) -> None:
    assert rule.make("a", LINE).hash == rule.make("a", LINE).hash
    assert rule.make("a", LINE).hash != rule.make("b", LINE).hash


def test_a_frozen_set_stays_frozen() -> None:
    # Scores are compared across versions: a change here makes every published figure another one's.
    split = Fresh(test=3).make("frozen", LINE)
    np.testing.assert_allclose(
        split.test.values["x"], [-0.6501366219100115, -0.04766342719568217, -0.38156881739122706], rtol=0, atol=0
    )


def test_ood_tasks_lie_outside_the_training_range() -> None:
    split = Fresh(ood=50).make("a", LINE, WIDE)
    assert split.ood is not None
    x = split.ood.values["x"]
    assert len(x) == 50
    assert (np.abs(x) > 1).all()
    assert (np.abs(x) <= 2).all()
    with pytest.raises(MetaRLError, match="inside the training range"):
        Fresh(ood=1).make("a", WIDE, LINE)


def test_another_number_of_test_tasks_keeps_the_first_ones() -> None:
    few, many = Fresh().make("a", LINE, test=10), Fresh().make("a", LINE, test=50)
    assert many.test[:10] == few.test
    with pytest.raises(MetaRLError, match="at least 1"):
        Fresh().make("a", LINE, test=0)
    with pytest.raises(MetaRLError, match="leave none to train on"):
        Disjoint().make("a", FINITE, test=10)


@pytest.mark.parametrize("rule", [Fresh, Disjoint, Closed])
@pytest.mark.parametrize("number", [None, 0, -1, 1.5, "3", (2,), True, float("nan")])
def test_numbers_of_tasks_are_integers_of_at_least_one(rule: type[SplitRule], number: Any) -> None:
    for name in ("test", "ood", *(["total"] if rule is not Fresh else [])):
        with pytest.raises(MetaRLError, match=rf"{name}=.* asked for; ask for at least 1, as an integer"):
            rule(**{name: number})
    if number is not None:
        with pytest.raises(MetaRLError, match="ask for at least 1, as an integer"):
            rule().make("a", LINE, test=number)


@pytest.mark.parametrize("rule", [Fresh(test=7), Disjoint(test=7)], ids=lambda rule: rule.kind)
@pytest.mark.parametrize("space", [LINE, TaskSpace(x=Grid(0, 1, 64))], ids=["continuous", "finite"])
def test_validation_tasks_are_neither_trained_nor_tested_on(rule: SplitRule, space: TaskSpace) -> None:
    split = rule.make("a", space)
    assert split.part("val") is split.val
    assert split.val is not None
    assert len(split.val) == len(set(split.val.rows())) == 7
    trained = {*split.train(KEYS).rows(), *(() if split.train_set is None else split.train_set.rows())}
    assert not set(split.val.rows()) & {*split.test.rows(), *trained}
    if space is LINE:
        assert split.val == rule.make("a", space, test=5).val
    assert all(space.parameters["x"].contains(x) for x in split.val.values["x"])
    with pytest.raises(MetaRLError, match=r"2 of 2 training tasks belong to the val split: \{'x': "):
        split.check_training(split.val[:2])
    if space.size is not None:
        # 57 tasks are no test tasks, and an eighth of those is held out.
        assert len(trained) + len({*split.test.rows(), *split.val.rows()}) == 64


def test_validation_leaves_what_continuous_splits_train_and_test_on() -> None:
    # These hashes are of the version before there was a val part: runs of that time go on.
    assert Fresh().make("a", LINE, WIDE).hash == "ecbd4eab1c55f757"
    assert Disjoint().make("a", LINE, WIDE).hash == "d035be64d818918d"
    assert Closed().make("a", FINITE).hash == "337fcd7855023ac6"
    finite = Disjoint(test=4, val_space=LINE).make("a", FINITE)
    assert finite.hash == "885144ee36366c98"
    assert finite.val is not None
    assert not set(finite.val.rows()) & set(FINITE.enumerate().rows())


def test_a_closed_split_validates_on_its_only_tasks() -> None:
    split = Closed().make("a", FINITE)
    assert split.val == split.test == split.train_set


def test_a_val_part_that_is_tested_on_is_refused() -> None:
    tasks = FINITE.enumerate()
    with pytest.raises(MetaRLError, match="val part belong to the test part"):
        Split("disjoint", FINITE, tasks[:2], tasks[4:], val=tasks[1:3])
    with pytest.raises(MetaRLError, match="1 of 6 training tasks belong to the val split"):
        Split("disjoint", FINITE, tasks[:2], tasks[4:], val=tasks[3:5])


def test_a_finite_space_of_few_tasks_spares_none() -> None:
    split = Disjoint(test=4).make("a", FINITE)
    assert split.val is None
    with pytest.raises(MetaRLError, match="too few tasks to spare any for validation"):
        split.part("val")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train", "draws from the distribution"),
        ("ood", "no ood range"),
        ("tset", "train, val, test, ood"),
        (["test"], "train, val, test, ood"),
    ],
)
def test_a_part_that_is_not_there_is_refused(name: Any, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        Fresh().make("a", LINE).part(name)


def test_training_on_test_tasks_is_refused_by_name() -> None:
    split = Disjoint(test=2).make("a", FINITE)
    with pytest.raises(
        MetaRLError, match=r"2 of 2 training tasks belong to the test split: \{'x': .*declare the split closed"
    ):
        split.check_training(split.test)
    with pytest.raises(MetaRLError, match="2 of 10"):
        Split("disjoint", FINITE, split.test, FINITE.enumerate())
    split.check_training(split.part("train"))


MANY = TaskSpace(x=Uniform(-1, 1), y=Grid(-1, 1, 3))


SAME: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as they are": lambda test: test,
    "through float32": lambda test: {name: value.astype(np.float32) for name, value in test.items()},
    "a billionth away": lambda test: {name: value + 1e-9 for name, value in test.items()},
    "minus zero": lambda test: {"x": test["x"], "y": np.where(test["y"] == 0, -0.0, test["y"])},
    "another order": lambda test: {"y": test["y"], "x": test["x"]},
}


@pytest.mark.parametrize("written", SAME.values(), ids=SAME)
def test_test_tasks_are_found_however_they_are_written(written: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    split = Fresh(test=60).make("a", MANY)
    assert 0 in split.test.values["y"]
    with pytest.raises(MetaRLError, match="60 of 60 training tasks belong to the test split"):
        split.check_training(Tasks(written(split.test.values)))


def test_tasks_are_compared_within_float32s_rounding_and_by_name() -> None:
    split = Fresh(test=60).make("a", MANY)
    test = split.test.values
    # Other tasks may be as near as tasks of their own are drawn.
    split.check_training(Tasks({"x": test["x"] + 1e-6, "y": test["y"]}))
    split.check_training(Tasks({"x": test["x"][[0]], "y": 1 - test["y"][[0]]}))
    mixed = Tasks({"x": [0.5, *test["x"][:2]], "y": [0, *test["y"][:2]]})
    with pytest.raises(MetaRLError, match="2 of 3 training tasks"):
        split.check_training(mixed)
    with pytest.raises(MetaRLError, match="cannot be compared"):
        split.check_training(Tasks({"x": [0.5]}))


def test_small_scales_are_not_taken_for_the_same() -> None:
    split = Fresh(test=20).make("a", TaskSpace(mass=LogUniform(1e-9, 1e-7)))
    split.check_training(split.train(KEYS))
    with pytest.raises(MetaRLError, match="20 of 20"):
        split.check_training(Tasks({"mass": split.test.values["mass"].astype(np.float32)}))


def test_a_training_set_a_rounding_away_from_the_test_set_is_refused() -> None:
    split = Disjoint(test=2).make("a", FINITE)
    with pytest.raises(MetaRLError, match="2 of 2 training tasks"):
        Split("disjoint", FINITE, split.test, Tasks({"x": split.test.values["x"] + 1e-9}))


def test_a_finite_space_never_trains_on_a_test_task_that_is_written_in_another_way() -> None:
    space = TaskSpace(x=Grid(-1, 1, 3), y=Grid(0, 1, 2))
    test = Tasks({"y": [0.0, 1.0], "x": [-0.0, 1.0]})
    drawn = Split("fresh", space, test).train(KEYS)
    found = {(float(x), float(y)) for x, y in zip(drawn.values["x"], drawn.values["y"], strict=True)}
    assert found == {(-1, 0), (-1, 1), (0, 1), (1, 0)}


def test_ood_tasks_are_not_to_train_on_either_whatever_the_split() -> None:
    for rule in (Fresh(), Disjoint(), Closed()):
        split = rule.make("a", LINE, WIDE)
        assert split.ood is not None
        with pytest.raises(MetaRLError, match="100 of 100 training tasks belong to the ood split"):
            split.check_training(split.ood)


def test_nonsense_is_refused() -> None:
    tasks = FINITE.enumerate()
    with pytest.raises(MetaRLError, match="choose fresh, disjoint or closed"):
        Split("open", FINITE, tasks)  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="closed split needs its training tasks"):
        Split("closed", FINITE, tasks)
    with pytest.raises(MetaRLError, match="fresh split draws its training tasks"):
        Split("fresh", FINITE, tasks[:2], tasks[2:])
    with pytest.raises(MetaRLError, match=r"The train part of a split is \(1, 2\); give Tasks"):
        Split("closed", FINITE, tasks, (1, 2))  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="The test part of a split is None"):
        Split("fresh", FINITE, None)  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="choose fresh, disjoint or closed"):
        Split(np.array([1, 2]), FINITE, tasks)  # type: ignore[arg-type]
    for other in (Tasks({"y": [0.0]}), Tasks({"x": [[0.0, 0.0]]}), Tasks({"x": [0.0], "y": [0.0]})):
        with pytest.raises(MetaRLError, match="The test tasks have parameters of shapes"):
            Split("fresh", FINITE, other)


@pytest.mark.parametrize("rule", [Fresh(), Disjoint(), Closed()], ids=lambda rule: rule.kind)
def test_a_saved_split_is_loaded_exactly(rule: SplitRule, tmp_path) -> None:
    split = rule.make("a", LINE, WIDE)
    split.save(tmp_path / "split.json")
    loaded = Split.load(tmp_path / "split.json", LINE)
    assert loaded.hash == split.hash
    assert loaded.val == split.val
    assert (loaded.kind, loaded.test, loaded.ood, loaded.train_set) == (
        split.kind,
        split.test,
        split.ood,
        split.train_set,
    )


def test_a_damaged_or_foreign_file_is_refused(tmp_path) -> None:
    path = tmp_path / "split.json"
    split = Fresh().make("a", LINE)
    split.save(path)
    with pytest.raises(MetaRLError, match="belongs to another family"):
        Split.load(path, WIDE)
    saved = json.loads(path.read_text())
    changed = json.loads(path.read_text())
    changed["val"]["x"][0] += 1e-9
    path.write_text(json.dumps(changed))
    with pytest.raises(MetaRLError, match="its val tasks were changed"):
        Split.load(path, LINE)
    before = {name: value for name, value in saved.items() if not name.startswith("val")}
    path.write_text(json.dumps(before))
    assert Split.load(path, LINE).hash == split.hash  # of a run from before there were val tasks
    saved["test"]["x"][0] += 1e-9
    path.write_text(json.dumps(saved))
    with pytest.raises(MetaRLError, match="the file was changed"):
        Split.load(path, LINE)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(MetaRLError, match="no readable split file"):
        Split.load(path, LINE)
    with pytest.raises(MetaRLError, match="no readable split file"):
        Split.load(tmp_path / "missing.json", LINE)


HUGE = TaskSpace(**{f"rule_{i}": Grid(0, 9, 10) for i in range(9)})


def test_a_space_of_many_millions_is_drawn_from_and_never_listed() -> None:
    assert HUGE.size == 10**9
    split = Fresh(test=50).make("huge", HUGE, None)
    assert split.val is not None
    assert len(split.test) == len(split.val) == 50
    assert not set(split.test.rows()) & set(split.val.rows())
    drawn = split.train(stream_keys(200, "train"))
    assert not {*drawn.rows()} & {*split.test.rows(), *split.val.rows()}


@pytest.mark.parametrize("rule", [Disjoint(), Closed()])
def test_a_split_that_has_to_list_them_is_refused_in_one_line(rule: SplitRule) -> None:
    with pytest.raises(MetaRLError, match=r"1,000,000,000 tasks, too many to list .* declare split = Fresh\(\)"):
        rule.make("huge", HUGE, None)
