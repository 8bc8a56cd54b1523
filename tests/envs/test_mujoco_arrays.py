"""The families' functions take NumPy's arrays and torch's tensors alike, so that an engine on a GPU can step them."""

from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.random import stream_keys
from metarl.envs import FAMILIES
from metarl.envs.engine.arrays import join, namespace
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family.registry import family_class

N = 5
CASES = [
    (name, variant)
    for name in FAMILIES
    if issubclass(family_class(name), MujocoFamily)
    for variant in family_class(name).variants()
]


def tensors(values: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(np.array(value)) for name, value in values.items()}


def flat(result: Any) -> list[Any]:
    """The arrays of a result, in order."""
    if isinstance(result, dict):
        return [result[name] for name in sorted(result)]
    if isinstance(result, tuple):
        return [array for each in result for array in (flat(each) if isinstance(each, dict) else [each])]
    return [result]


@pytest.mark.parametrize(("name", "variant"), CASES, ids=lambda value: value.removeprefix("metarl/"))
def test_tensors_give_what_arrays_give(name: str, variant: str) -> None:
    family: Any = family_class(name)(variant)
    rng = np.random.default_rng(0)
    batch = family.batch(family.tasks.sample(stream_keys(N, "test")), stream_keys(N, "test"))
    batch.reset()
    before = {key: np.array(value) for key, value in batch._before.items()}
    batch.step(torch.from_numpy(rng.uniform(-0.3, 0.3, (N, family.model.nu))))
    data, task = {key: np.array(value) for key, value in batch._data.items()}, batch.task
    u, action = rng.random((N, family.draws[0])), np.array(batch._controls)
    arrays = [family.start(task, u), family.observe(data, task), family.outcome(before, data, action, task)]
    arrays.append(family.physics(task))
    privileged_params, seen, earlier = tensors(task), tensors(data), tensors(before)
    u, action = torch.from_numpy(u), torch.from_numpy(action)
    others = [
        family.start(privileged_params, u),
        family.observe(seen, privileged_params),
        family.outcome(earlier, seen, action, privileged_params),
    ]
    others.append(family.physics(privileged_params))
    for here, there in zip(arrays, others, strict=True):
        for array, tensor in zip(flat(here), flat(there), strict=True):
            if array is None:
                assert tensor is None
                continue
            assert isinstance(array, np.ndarray)
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12, atol=1e-12)


def test_join_puts_rows_side_by_side() -> None:
    one, two = np.arange(4.0).reshape(2, 2), np.arange(8.0).reshape(2, 2, 2)
    joined = [[0, 1, 0, 1, 2, 3], [2, 3, 4, 5, 6, 7]]
    assert join(one, two).tolist() == joined
    assert join(torch.from_numpy(one), torch.from_numpy(two)).tolist() == joined


def test_a_namespace_is_that_of_the_kind() -> None:
    assert isinstance(namespace(np.zeros(1)).cos(np.zeros(1)), np.ndarray)
    assert isinstance(namespace(torch.zeros(1)).cos(torch.zeros(1)), torch.Tensor)
