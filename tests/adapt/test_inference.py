"""Pools of encodings: by hand, against torch's distributions, and their invariances."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

from metarl.adapt.inference import TOTAL, Attention, GaussianProduct, Mean, Pool, kl_to_standard_normal
from metarl.core.errors import MetaRLError

POOLS = [Mean(4), Attention(4, heads=2), GaussianProduct(4), GaussianProduct(4, prior=True)]
IDS = ["mean", "attention", "product", "product with prior"]
pools = pytest.mark.parametrize("pool", POOLS, ids=IDS)


def spread_of(variance: float) -> float:
    """The inverse of softplus."""
    return math.log(math.expm1(variance))


def encodings(pool: Pool, tasks: int = 3, n: int = 7, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tasks, n, pool.n_inputs, generator=generator, dtype=torch.float64)


def empty(pool: Pool, tasks: int = 3, groups: int = 1) -> dict[str, Tensor]:
    return pool.initial(tasks, groups, like=torch.zeros((), dtype=torch.float64))


def test_a_mean_by_hand() -> None:
    pool = Mean(2)
    state = pool.add(pool.initial(1), torch.tensor([[[1.0, 2], [3, 6]]]))
    assert pool.read(state).tolist() == [[[2, 4]]]
    assert pool.read(pool.add(state, torch.tensor([[[8.0, 1]]]))).tolist() == [[[4, 3]]]


def test_attention_by_hand() -> None:
    """Of two elements the second weighs three times as much, for the second half of the width as much as the first."""
    pool = Attention(2, heads=2)
    score = 10 * torch.atanh(torch.log(torch.tensor(3.0)) / 10)
    encoded = torch.stack([torch.tensor([0.0, 0, 0, 0]), torch.tensor([4.0, 4, float(score), 0])])[None]
    torch.testing.assert_close(pool.read(pool.add(pool.initial(1), encoded)), torch.tensor([[[3.0, 2]]]))


def test_a_product_of_gaussians_by_hand() -> None:
    """N(1, 1/2) and N(4, 1/4): precision 2 + 4, mean (2 · 1 + 4 · 4) / 6; with the prior (0 + 18) / 7."""
    encoded = torch.tensor([[[1.0, spread_of(0.5)], [4.0, spread_of(0.25)]]])
    for prior, mean, variance in ((False, 3.0, 1 / 6), (True, 18 / 7, 1 / 7)):
        pool = GaussianProduct(1, prior=prior)
        found = pool.moments(pool.add(pool.initial(1), encoded))
        assert [x.item() for x in found] == pytest.approx([mean, variance], rel=1e-6)


def test_a_product_is_the_normalised_product_of_the_densities() -> None:
    pool = GaussianProduct(4)
    encoded = encodings(pool)
    mean, variance = pool.moments(pool.add(empty(pool), encoded))
    factors = Normal(encoded[..., :4], softplus(encoded[..., 4:]).sqrt())
    posterior = Normal(mean[:, 0], variance[:, 0].sqrt())
    at = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None, None, None]
    # As functions of z the two logarithms differ by a constant.
    apart = factors.log_prob(at).sum(2) - posterior.log_prob(at[:, 0])
    torch.testing.assert_close(apart, apart[:1].expand_as(apart))


@pools
def test_the_order_does_not_matter_and_parts_add_up(pool: Pool) -> None:
    encoded = encodings(pool)
    whole = pool.read(pool.add(empty(pool), encoded))
    torch.testing.assert_close(pool.read(pool.add(empty(pool), encoded.flip(1))), whole)
    state = empty(pool)
    for start, end in pairwise((0, 2, 3, 7)):
        state = pool.add(state, encoded[:, start:end])
    torch.testing.assert_close(pool.read(state), whole)
    assert not torch.allclose(pool.read(pool.add(empty(pool), encoded[:, :6])), whole)


@pools
def test_groups_are_sets_of_their_own_and_what_belongs_to_none_does_not_count(pool: Pool) -> None:
    encoded = encodings(pool)
    encoded[:, 6] = 1e30 if not isinstance(pool, Attention) else 1e3  # padding: any finite number
    label = torch.tensor([0, 1, 1, 0, 2, 1, 9])
    member = (label == torch.arange(4)[:, None]).expand(3, 4, 7)
    found = pool.read(pool.add(empty(pool, groups=4), encoded, member))
    for group in range(3):
        alone = pool.read(pool.add(empty(pool), encoded[:, label == group]))
        torch.testing.assert_close(found[:, group : group + 1], alone)
    assert found[:, 3].eq(0).all()


@pools
def test_of_nothing_it_says_zero_and_the_posterior_is_the_prior(pool: Pool) -> None:
    state = empty(pool)
    assert pool.read(state).shape == (3, 1, 4)
    assert pool.read(state).eq(0).all()
    assert pool.nothing(state).all()
    assert not pool.nothing(pool.add(state, encodings(pool))).any()
    if isinstance(pool, GaussianProduct):
        mean, variance = pool.moments(state)
        assert kl_to_standard_normal(mean, variance).eq(0).all()


@pools
def test_gradients_reach_every_encoding_and_are_finite_for_extreme_ones(pool: Pool) -> None:
    encoded = encodings(pool).requires_grad_()
    (gradient,) = torch.autograd.grad(pool.read(pool.add(empty(pool), encoded)).square().sum(), encoded)
    assert gradient.abs().sum((0, 1)).gt(0).all()
    extreme = torch.tensor([[-200.0, 200.0]], dtype=torch.float64).repeat(1, pool.n_inputs)[:, : pool.n_inputs]
    extreme = torch.stack([extreme, -extreme], 1).expand(3, 2, -1).clone().requires_grad_()
    read = pool.read(pool.add(empty(pool), extreme))
    assert read.isfinite().all()
    assert torch.autograd.grad(read.sum(), extreme)[0].isfinite().all()


def test_more_elements_narrow_a_posterior() -> None:
    pool = GaussianProduct(4)
    encoded = encodings(pool)
    widths = [pool.moments(pool.add(empty(pool), encoded[:, :n]))[1] for n in (1, 3, 7)]
    assert all((one > other).all() for one, other in pairwise(widths))


def test_the_kl_is_torchs() -> None:
    mean, variance = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64) + 0.1
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(torch.zeros(()).double(), 1.0)).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(mean, variance), expected)


def test_the_state_has_tasks_first_and_the_type_asked_for() -> None:
    state = Mean(4).initial(3, 2, like=torch.zeros(1, dtype=torch.float64))
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == {TOTAL: ((3, 2, 5), torch.float64)}


@pytest.mark.parametrize("make", [lambda: Mean(0), lambda: Attention(6, heads=4), lambda: Attention(4, heads=0)])
def test_sizes_that_cannot_be_are_refused(make: object) -> None:
    with pytest.raises(MetaRLError, match="must"):
        make()  # type: ignore[operator]
