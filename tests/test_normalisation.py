"""Running statistics: pooled exactly, over what is valid."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.normalisation import Standardiser, trained
from metarl.core.types import Params

X = Standardiser("x")


def part(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Values far from zero, whose scale differs from part to part, NaN where they do not count."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(4, 6, generator=generator) < 0.6
    values = 1e4 + (seed + 1) * torch.randn(4, 6, *shape, generator=generator, dtype=torch.float64)
    values[~valid] = torch.nan
    return values, valid


def of(parts: list[tuple[Tensor, Tensor]], shape: tuple[int, ...] = ()) -> Params:
    params: Params = Standardiser("x", shape).init()
    for values, valid in parts:
        params = X.update(params, values, valid)
    return params


@pytest.mark.parametrize("shape", [(), (3,)])
def test_pooled_statistics_are_those_of_all_data(shape: tuple[int, ...]) -> None:
    parts = [part(seed, *shape) for seed in range(4)]
    params = of(parts, shape)
    data = np.concatenate([values[valid].numpy() for values, valid in parts])
    np.testing.assert_allclose(params["moments.x.mean"], data.mean(0), rtol=1e-12)
    np.testing.assert_allclose(params["moments.x.variance"], data.var(0), rtol=1e-9)
    assert params["moments.x.count"] == len(data)
    np.testing.assert_allclose(X.deviation(params), data.std(0), rtol=1e-6)


def test_data_of_which_nothing_is_valid_changes_nothing() -> None:
    values, valid = part(0)
    params = of([part(1)])
    after = X.update(params, values, torch.zeros_like(valid))
    assert all(torch.equal(after[name], value) for name, value in params.items())


def test_new_data_leaves_those_before_it_alone() -> None:
    params = of([part(1)])
    before = {name: value.clone() for name, value in params.items()}
    X.update(params, *part(2))
    assert all(torch.equal(value, before[name]) for name, value in params.items())


def test_without_data_and_without_statistics_values_stay() -> None:
    values = torch.tensor([-3.0, 0.1, 9.0])
    assert torch.equal(X(X.init(), values), values)
    far = torch.tensor([1e6])
    assert torch.equal(X(Standardiser("y").init(), far), far)
    assert X.update({}, values, values > 0) == {}


def test_standardised_by_hand_and_clipped() -> None:
    # Mean 4 and deviation 2.
    params = X.update(X.init(), torch.tensor([2.0, 6.0]), torch.ones(2, dtype=torch.bool))
    found = X(params, torch.tensor([4.0, 5.0, 0.0, 25.0, -1e9]))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, [0, 0.5, -2, 10, -10], atol=1e-6)
    assert torch.equal(X(X.prepare(params), torch.tensor([4.0, 5.0, 0.0, 25.0, -1e9])), found)
    double = torch.tensor([1.0], dtype=torch.float64)
    assert torch.equal(X(X.prepare(params), double), X(params, double))  # prepared for another type


def test_a_constant_gives_zeros() -> None:
    params = X.update(X.init(), torch.full((5,), 7.0), torch.ones(5, dtype=torch.bool))
    assert X(params, torch.tensor([7.0])).tolist() == [0]


def test_statistics_are_no_parameters_that_are_trained() -> None:
    assert list(trained({**X.init(), "w": torch.ones(1)})) == ["w"]
