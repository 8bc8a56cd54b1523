"""Distributions of task parameters: quantiles, supports, and errors that say what to do."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from metarl.core.errors import MetaRLError
from metarl.core.random import Domain, stream_keys, uniforms64
from metarl.tasks import Choice, Dirichlet, Distribution, Grid, LogUniform, Normal, Ring, Uniform

EVERY = [
    Uniform(-2, 3, shape=(2,)),
    LogUniform(0.1, 10),
    Normal(1, 2, shape=(3, 2)),
    Dirichlet(0.5, shape=(4, 3)),
    Choice(((0, 1), (1, 0), (1, 1))),
    Grid(0, 1, 5),
    Ring(0, 3),
    Ring(1, 1.5),
]


def draw(distribution: Distribution, n: int = 4000) -> np.ndarray:
    return distribution.quantile(uniforms64(stream_keys(n, "test"), Domain.TASK, 0, distribution.draws).numpy())


@pytest.mark.parametrize("distribution", EVERY, ids=repr)
def test_a_draw_has_its_shape_and_lies_in_its_support(distribution: Distribution) -> None:
    values = draw(distribution, 50)
    assert values.shape == (50, *distribution.shape)
    assert values.dtype == np.float64
    assert all(distribution.contains(value) for value in values)
    # Through float32 on a device and back.
    assert all(distribution.contains(value.astype(np.float32).astype(np.float64)) for value in values)


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Uniform(-2, 3), stats.uniform(-2, 5)),
        (LogUniform(0.1, 10), stats.loguniform(0.1, 10)),
        (Normal(1, 2), stats.norm(1, 2)),
    ],
    ids=["uniform", "log-uniform", "normal"],
)
def test_continuous_ones_follow_their_law(distribution: Distribution, reference: stats.rv_continuous) -> None:
    assert stats.kstest(draw(distribution), reference.cdf).pvalue > 1e-3
    u = np.array([[0.01], [0.5], [0.99]])
    np.testing.assert_allclose(distribution.quantile(u), reference.ppf(u)[:, 0], rtol=1e-12)


def test_dirichlet_sums_to_one_and_has_beta_marginals() -> None:
    values = draw(Dirichlet(0.5, shape=(4, 3)))
    np.testing.assert_allclose(values.sum(-1), 1)
    assert stats.kstest(values[:, 1, 2], stats.beta(0.5, 1.0).cdf).pvalue > 1e-3
    assert stats.kstest(values[:, 3, 0], stats.beta(0.5, 1.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (1.0, 1.5)])
def test_a_ring_is_uniform_by_area_and_in_every_direction(low: float, high: float) -> None:
    values = draw(Ring(low, high))
    radius, angle = np.linalg.norm(values, axis=1), np.arctan2(values[:, 1], values[:, 0])
    assert stats.kstest((radius**2 - low**2) / (high**2 - low**2), stats.uniform.cdf).pvalue > 1e-3
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(radius, angle)[0, 1]) < 0.06


def test_a_disc_is_three_times_the_root_of_a_uniform_number_at_a_uniform_angle() -> None:
    u = np.array([[0.25, 0.0], [1.0, 0.25], [0.64, 0.5]])
    np.testing.assert_allclose(Ring(0, 3).quantile(u), [(1.5, 0), (0, 3), (-2.4, 0)], atol=1e-12)


def test_choices_are_equally_likely() -> None:
    values = draw(Grid(-1, 1, 5))
    found, counts = np.unique(values, return_counts=True)
    np.testing.assert_allclose(found, [-1, -0.5, 0, 0.5, 1])
    assert stats.chisquare(counts).pvalue > 1e-3
    np.testing.assert_array_equal(Grid(-1, 1, 5).support, found)


def test_only_finite_ones_have_a_support() -> None:
    assert [d.support is not None for d in EVERY] == [False, False, False, False, True, True, False, False]


def test_contains_refuses_what_lies_outside() -> None:
    assert not Uniform(-1, 1, shape=(2,)).contains(np.array([0, 1.01]))
    assert not LogUniform(0.1, 1).contains(np.array(0.05))
    assert not Normal().contains(np.array(np.nan))
    assert not Dirichlet(1, shape=(2,)).contains(np.array([0.5, 0.6]))
    assert not Dirichlet(1, shape=(2,)).contains(np.array([-0.5, 1.5]))
    assert not Choice((1, 2)).contains(np.array(1.5))
    assert not Uniform(-1, 1).contains(np.array(np.nan))
    assert not Ring(1, 2).contains(np.array([0.5, 0.5]))
    assert not Ring(1, 2).contains(np.array([2.0, 0.1]))
    assert not Ring(0, 2).contains(np.array([np.nan, 0.1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1, 1), "low must be below high"),
        (lambda: LogUniform(0, 1), "must be positive; use Uniform"),
        (lambda: Ring(2, 2), "needs 0 <= low < high"),
        (lambda: Ring(-1, 2), "needs 0 <= low < high"),
        (lambda: Normal(sd=0), "standard deviation must be positive"),
        (lambda: Dirichlet(1), r"shape=\(10,\)"),
        (lambda: Dirichlet(0, shape=(3,)), "concentration must be positive"),
        (lambda: Choice(()), "give at least one"),
        (lambda: Choice((1, (1, 2))), "values differ in shape"),
        (lambda: Grid(0, 1, 0), "num >= 1"),
        (lambda: Grid(0, 1, 2.5), "num >= 1"),
        (lambda: Grid(0, 1, True), "num >= 1"),
        (lambda: Grid(0, np.inf, 3), r"Grid\(high=inf\): give finite numbers"),
        (lambda: Normal(1, np.nan), r"Normal\(sd=nan\): give finite numbers"),
        (lambda: Normal(np.inf), r"Normal\(mean=inf\)"),
        (lambda: Normal(3e38, 1e37), "beyond float32"),
        (lambda: Normal(0, "1"), r"sd='1'"),
        (lambda: Choice((np.inf, 0)), r"value inf: give finite numbers"),
        (lambda: Choice((0, np.nan)), "value nan"),
        (lambda: Choice((1e39, 0)), "value 1e"),
        (lambda: Choice("12"), r"Choice\('12'\): give a tuple"),
        (lambda: Choice(("1", "2")), "value '1'"),
        (lambda: Choice((0, None)), "value None"),
        (lambda: Choice((True, 0)), "value True"),
        (lambda: Choice((1j, 0)), "value 1j"),
        (lambda: Choice(((), ())), r"value \[\]"),
        (lambda: Choice(((1, (2, 3)),)), "differ in shape"),
        (lambda: Choice(3), "give a tuple"),
        (lambda: Choice(np.array(1.0)), "give a tuple"),
        (lambda: Choice(torch.tensor(1.0)), "give a tuple"),
        (lambda: Choice((np.ma.masked, 0)), "value None"),
        (lambda: LogUniform(5e-324, 1e67), r"LogUniform\(high=1e\+67\)"),
        (lambda: LogUniform(5e-324, 1), "no scale left"),
        (lambda: Ring(0, 1e308), r"Ring\(high=1e\+308\): give finite numbers of at most 3.4e\+38"),
        (lambda: Ring(np.nan, 1), r"low=nan"),
        (lambda: Uniform(-1e308, 1e308), r"low=-1e\+308, high=1e\+308"),
        (lambda: Uniform(0, np.inf), "high=inf"),
        (lambda: Uniform(10**400, 1), "low=1000"),
        (lambda: Uniform(10**5000, 1), "low=an? int that cannot be printed"),
        (lambda: Uniform(False, True), "low=False, high=True"),
        (lambda: Uniform("0", "1"), "low='0'"),
        (lambda: Uniform(0, 1, shape=(-1,)), r"shape=\(-1,\): give integers of at least 1"),
        (lambda: Uniform(0, 1, shape=(0,)), r"shape=\(0,\)"),
        (lambda: Uniform(0, 1, shape=-2), "shape=-2"),
        (lambda: Uniform(0, 1, shape=2.0), "shape=2.0"),
        (lambda: Uniform(0, 1, shape=True), "shape=True"),
        (lambda: LogUniform(1, 2, shape="ab"), "shape='ab'"),
        (lambda: Normal(shape=(2, -1)), r"shape=\(2, -1\)"),
        (lambda: Dirichlet(1, shape=(-3,)), r"shape=\(-3,\)"),
        (lambda: Dirichlet(np.inf, shape=(3,)), "concentration=inf"),
        (lambda: Dirichlet(None, shape=(3,)), "concentration=None"),
        (lambda: Dirichlet(5e-324, shape=(3,)), "at least 1.2e-38"),
    ],
)
def test_nonsense_is_refused_at_construction(make, message: str) -> None:
    with pytest.raises(MetaRLError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "distribution",
    [Uniform(-3.4e38, 3.4e38), LogUniform(1.2e-38, 3.4e38), Normal(1e37, 1e37), Ring(0, 3.4e38), Dirichlet(3e38, (3,))],
    ids=repr,
)
def test_the_widest_that_is_allowed_stays_finite_in_float32(distribution: Distribution) -> None:
    assert np.isfinite(draw(distribution).astype(np.float32)).all()


def test_numpys_numbers_are_numbers() -> None:
    assert Uniform(np.float32(0), np.int64(1), shape=np.int64(2)).shape == (2,)
    assert Uniform(0, 1, shape=[np.int64(2), 3]).shape == (2, 3)
    assert Choice(np.array([[1, 2], [3, 4]])).shape == (2,)


def test_powers_and_angles_are_those_of_every_processor() -> None:
    # The last digit of NumPy's own powers is another where there is AVX-512.
    u = np.random.default_rng(0).random((10_000, 2))
    expected = [0.5 * math.pow(4.0, x) for x in u[:, 0].tolist()]
    assert LogUniform(0.5, 2.0).quantile(u[:, :1]).tolist() == expected
    radius, angle = np.sqrt(9 * u[:, 0]), 2 * np.pi * u[:, 1]
    places = zip(radius.tolist(), angle.tolist(), strict=True)
    assert Ring(0, 3).quantile(u).tolist() == [[r * math.cos(a), r * math.sin(a)] for r, a in places]
