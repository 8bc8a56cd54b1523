"""Task spaces and batches of tasks."""

from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.tasks import Choice, Grid, Normal, Tasks, TaskSpace, Uniform

SPACE = TaskSpace(goal=Uniform(-1, 1, shape=(2,)), gain=Normal(1, 0.5))
KEYS = stream_keys(20, "test")


def test_a_task_is_a_function_of_its_key_and_trial_alone() -> None:
    whole = SPACE.sample(KEYS, 3)
    assert whole == SPACE.sample(KEYS, torch.full((20,), 3))
    assert whole[5:9] == SPACE.sample(KEYS[5:9], 3)
    assert whole != SPACE.sample(KEYS, 4)
    assert len(set(whole.rows())) == 20


def test_parameters_are_drawn_independently() -> None:
    values = SPACE.sample(stream_keys(4000, "test")).vector
    assert values.shape == (4000, 3)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 5 / np.sqrt(4000)


def test_a_finite_space_lists_its_tasks() -> None:
    space = TaskSpace(a=Grid(0, 1, 3), b=Choice(((0, 1), (1, 0))))
    assert space.size == 6
    listed = space.enumerate()
    assert len(set(listed.rows())) == 6
    np.testing.assert_array_equal(listed.values["a"], [0, 0, 0.5, 0.5, 1, 1])
    assert set(space.sample(KEYS).rows()) <= set(listed.rows())


def test_an_infinite_space_cannot_be_listed() -> None:
    assert TaskSpace(a=Grid(0, 1, 3), b=Uniform(0, 1)).size is None
    with pytest.raises(MetaRLError, match=r"not finite \(\['b'\]"):
        TaskSpace(a=Grid(0, 1, 3), b=Uniform(0, 1)).enumerate()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"goal": (0, 0)}, r"needs the parameters \['gain', 'goal'\]"),
        ({"goal": (0, 0), "gain": 1, "speed": 2}, "got .*speed"),
        ({"goal": 0.5, "gain": 1}, r"'goal' has shape \(\), it must be \(2,\)"),
        ({"goal": (0, 2), "gain": 1}, r"'goal' = \[0.0, 2.0\] lies outside"),
        ({"goal": (0, np.nan), "gain": 1}, "'goal' .* lies outside"),
        ({"goal": ("left", "up"), "gain": 1}, "'goal' must be numbers"),
    ],
)
def test_a_task_outside_the_space_is_refused_by_name(task: dict, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        SPACE.validate(task)


def test_a_valid_task_comes_back_as_arrays() -> None:
    task = SPACE.validate({"gain": 1, "goal": [0.5, -1]})
    assert {name: value.dtype for name, value in task.items()} == {"goal": np.float64, "gain": np.float64}
    np.testing.assert_array_equal(task["goal"], [0.5, -1])


@pytest.mark.parametrize("make", [TaskSpace, lambda: TaskSpace(goal=0.5)])
def test_a_space_needs_distributions(make) -> None:
    with pytest.raises(MetaRLError, match="TaskSpace"):
        make()


def test_a_batch_is_indexed_stacked_and_repeated() -> None:
    tasks = SPACE.sample(KEYS)
    assert Tasks.stack(list(tasks)) == tasks
    assert tasks[[2, 2]] == tasks[2:3].repeat(2)
    np.testing.assert_array_equal(tasks[-1]["goal"], tasks.values["goal"][-1])
    tasks[0]["goal"][:] = 9  # a copy
    assert tasks.values["goal"].max() <= 1
    assert len(tasks) == 20
    with pytest.raises(MetaRLError, match="same number of rows"):
        Tasks({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize("values", [[1.0], 3, None, {"a": 3.0}, {"a": ["one"]}, {"a": [[1, 2], [3]]}, {}], ids=repr)
def test_what_is_no_batch_of_tasks_is_one_line(values: Any) -> None:
    with pytest.raises(MetaRLError, match="batch of tasks") as raised:
        Tasks(values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("task", [None, 3, "goal", [1.0], {1: 2.0, "goal": 3.0}, {"goal": None}], ids=repr)
def test_what_is_no_task_is_one_line(task: Any) -> None:
    with pytest.raises(MetaRLError, match="task") as raised:
        SPACE.validate(task)
    assert "\n" not in str(raised.value)


def test_no_tasks_are_no_batch() -> None:
    with pytest.raises(MetaRLError, match="at least one"):
        Tasks.stack([])


def test_the_hash_sees_names_shapes_and_values() -> None:
    a = Tasks({"x": [1.0, 2.0]})
    assert a == Tasks({"x": [1, 2]})
    assert a.hash != Tasks({"y": [1.0, 2.0]}).hash
    assert a.hash != Tasks({"x": [[1.0], [2.0]]}).hash
    assert a.hash != Tasks({"x": [1.0, np.nextafter(2.0, 3)]}).hash


def test_tensors_are_float32_unless_asked() -> None:
    tasks = SPACE.sample(KEYS)
    assert {value.dtype for value in tasks.tensors().values()} == {torch.float32}
    wide = tasks.tensors(dtype=torch.float64)
    np.testing.assert_array_equal(wide["goal"].numpy(), tasks.values["goal"])


def test_tensors_share_no_memory_with_the_tasks() -> None:
    tasks = TaskSpace(x=Uniform(0, 1)).sample(stream_keys(3, "test"))
    before = tasks.values["x"].copy()
    tasks.tensors(dtype=torch.float64)["x"].zero_()
    assert np.array_equal(tasks.values["x"], before)
