"""The aggregates are rliable's: by hand, and beside its code on the same data and the same draws."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import interquartile_mean
from metarl.suite.aggregates import (
    improvement_probability,
    iqm_difference,
    performance_profile,
    stratified_draws,
    stratified_interval,
)

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(0.6, 0.3, (5, 7)), RNG.normal(0.5, 0.3, (3, 7))
LEVELS = np.linspace(0, 1, 11)


@pytest.fixture
def rliable(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rliable's package; of arch it uses the bootstrap alone, and the rest does not import beside every pandas."""
    pytest.importorskip("rliable", reason="needs rliable, whose numbers ours are compared with")
    arch = importlib.util.find_spec("arch")
    if arch is None or arch.origin is None:
        pytest.skip("needs arch, which rliable stands on")
    alone = ModuleType("arch")
    alone.__path__ = [str(Path(arch.origin).parent)]
    monkeypatch.setitem(sys.modules, "arch", alone)
    import rliable.library
    import rliable.metrics

    return rliable


@pytest.mark.filterwarnings("ignore")
def test_statistics_are_those_of_rliable(rliable: ModuleType) -> None:
    metrics, library = rliable.metrics, rliable.library
    assert interquartile_mean(FIRST) == pytest.approx(metrics.aggregate_iqm(FIRST), abs=1e-15)
    assert improvement_probability(FIRST, SECOND) == pytest.approx(
        metrics.probability_of_improvement(FIRST, SECOND), abs=1e-15
    )
    tied = np.round(FIRST, 1), np.round(SECOND, 1)
    assert improvement_probability(*tied) == pytest.approx(metrics.probability_of_improvement(*tied), abs=1e-15)
    assert performance_profile(FIRST, LEVELS) == pytest.approx(library.score_distributions(FIRST, LEVELS), abs=1e-15)


@pytest.mark.filterwarnings("ignore")
def test_intervals_are_those_of_rliable_on_the_same_draws(rliable: ModuleType) -> None:
    n = 200

    def drawn(*shapes: tuple[int, int]) -> list[np.ndarray]:
        np.random.seed(7)  # rliable draws from the process's own generator
        rows = [[np.random.choice(len_, (len_, m)) for len_, m in shapes] for _ in range(n)]
        return [np.stack(each) for each in zip(*rows, strict=True)]

    draws = drawn(FIRST.shape)
    np.random.seed(7)
    _, theirs = rliable.library.get_interval_estimates(
        {"a": FIRST}, lambda x: np.array([rliable.metrics.aggregate_iqm(x)]), reps=n
    )
    ours = stratified_interval(interquartile_mean, FIRST, draws=draws)
    assert ours == pytest.approx(theirs["a"][:, 0], abs=1e-12)

    draws = drawn(FIRST.shape, SECOND.shape)
    np.random.seed(7)
    _, theirs = rliable.library.get_interval_estimates(
        {"a": [FIRST, SECOND]},
        lambda x, y: np.array([rliable.metrics.probability_of_improvement(x, y)]),
        reps=n,
    )
    ours = stratified_interval(improvement_probability, FIRST, SECOND, draws=draws)
    assert ours == pytest.approx(theirs["a"][:, 0], abs=1e-12)


def test_by_hand() -> None:
    first, second = np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[2.0, 0.0]])
    assert improvement_probability(first, second) == 0.5  # 1 of 2 above, and a tie
    assert iqm_difference(first, second) == 0.5 - 1.0  # the middle two of 0 0 1 3, and both of 0 2
    assert performance_profile(first, np.array([-1.0, 0.0, 1.0])).tolist() == [1.0, 0.5, 0.25]


def test_each_family_is_resampled_apart_and_one_seed_has_no_interval() -> None:
    draws = stratified_draws((3, 2), 4000)
    assert draws.shape == (4000, 3, 2)
    same = (draws[..., 0] == draws[..., 1]).all(1).mean()
    assert same == pytest.approx(1 / 27, abs=0.01)  # all three alike by chance alone
    assert stratified_interval(interquartile_mean, FIRST[:1]) is None
    low, high = stratified_interval(interquartile_mean, FIRST) or (0, 0)
    assert low < interquartile_mean(FIRST) < high
    with pytest.raises(MetaRLError, match="give finite ones"):
        stratified_interval(interquartile_mean, np.full((2, 2), np.nan))
