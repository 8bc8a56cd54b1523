"""Intervals, the interquartile mean and adaptation speed, against numbers computed by hand."""

import math
import time

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.evaluation import statistics
from metarl.evaluation.scores import normalised_score
from metarl.evaluation.statistics import (
    Estimate,
    Interval,
    Statistic,
    adaptation_speed,
    bootstrap_interval,
    estimate,
    interquartile_mean,
    intervals_touch,
    mean_score,
    median_score,
    t_interval,
    wider,
)

T_2 = 4.302652729911275  # Student's t, 97.5%, 2 degrees of freedom


def test_the_interquartile_mean_drops_a_quarter_at_either_end() -> None:
    scores = np.array([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 9.0, -100.0]])
    assert interquartile_mean(scores) == (2 + 3 + 4 + 5) / 4


def test_the_interquartile_mean_of_five_drops_one_at_either_end_and_of_three_none() -> None:
    assert interquartile_mean(np.array([[9.0, 1.0, 2.0, 3.0, -9.0]])) == 2
    assert interquartile_mean(np.array([[9.0, 0.0, 0.0]])) == 3


def test_statistics_keep_leading_axes() -> None:
    scores = np.arange(24.0).reshape(2, 3, 4)
    assert mean_score(scores).tolist() == [5.5, 17.5]
    assert interquartile_mean(scores).tolist() == [5.5, 17.5]


@pytest.mark.parametrize("statistic", [median_score, interquartile_mean])
def test_what_is_no_statistic_of_means_is_not_resampled_in_blocks(statistic: Statistic) -> None:
    """Means of skewed numbers lie elsewhere than their middle."""
    scores = np.exp(np.random.default_rng(0).normal(-2, 1.5, (1, 5000)))
    low, high = bootstrap_interval(scores, statistic=statistic)
    value = float(statistic(scores))
    assert low < value < high
    assert high - low < 0.15 * value


def test_t_interval_by_hand() -> None:
    # Means of the seeds 1, 2, 3: mean 2, standard deviation 1.
    low, high = t_interval(np.array([[0.0, 2.0], [2.0, 2.0], [5.0, 1.0]]))
    assert (low, high) == pytest.approx((2 - T_2 / math.sqrt(3), 2 + T_2 / math.sqrt(3)))


def test_t_interval_of_a_ratio_of_means() -> None:
    floor, optimum = np.array([0.0, 0.0]), np.array([1.0, 3.0])  # the gap's mean is 2
    low, high = t_interval(np.array([[0.0, 2.0], [2.0, 2.0], [5.0, 1.0]]), (floor, optimum), statistic=normalised_score)
    assert (low, high) == pytest.approx((1 - T_2 / math.sqrt(12), 1 + T_2 / math.sqrt(12)))


def test_one_seed_has_no_t_interval() -> None:
    assert t_interval(np.ones((1, 5))) is None


def test_the_bootstrap_is_deterministic_and_holds_its_mean() -> None:
    scores = np.random.default_rng(1).normal(size=(3, 30))
    first = bootstrap_interval(scores)
    assert first == bootstrap_interval(scores)
    assert first != bootstrap_interval(scores, seed=1)
    assert first.low < scores.mean() < first.high


def test_chunks_do_not_change_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).normal(size=(3, 30))
    whole = bootstrap_interval(scores)
    monkeypatch.setattr(statistics, "CHUNK", 7 * scores.size)
    assert bootstrap_interval(scores) == whole


def test_very_many_tasks_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    floor = rng.normal(0, 1, 6_007)
    optimum, scores = floor + 2 + rng.random(6_007), floor + rng.normal(1, 1, (2, 6_007))
    blocks = [estimate(scores), estimate(scores, (floor, optimum), statistic=normalised_score)]
    monkeypatch.setattr(statistics, "BLOCKS", 10_000)
    every = [estimate(scores), estimate(scores, (floor, optimum), statistic=normalised_score)]
    for fast, slow in zip(blocks, every, strict=True):
        assert fast.value == slow.value
        assert fast.bootstrap != slow.bootstrap
        assert fast.bootstrap.width == pytest.approx(slow.bootstrap.width, rel=0.1)
        assert fast.bootstrap.low == pytest.approx(slow.bootstrap.low, abs=0.1 * slow.bootstrap.width)


def test_intervals_of_a_hundred_thousand_tasks_take_no_time() -> None:
    scores = np.random.default_rng(0).random((1, 100_000))
    started = time.process_time()
    interval = bootstrap_interval(scores)
    assert time.process_time() - started < 0.7  # all tasks one by one take 2 s
    assert interval.width == pytest.approx(2 * 1.96 * scores.std() / np.sqrt(100_000), rel=0.1)


def test_the_bootstrap_resamples_seeds() -> None:
    # All tasks alike: over 3 seeds a resample of the lowest alone has probability 1/27, more than the tail's 2.5%.
    scores = np.repeat([[0.0], [1.0], [5.0]], 10, axis=1)
    assert bootstrap_interval(scores, resamples=20_000) == (0.0, 5.0)


def test_the_bootstrap_resamples_tasks_even_for_one_seed() -> None:
    # 100 tasks of 0 or 1: the standard error is .05, its 95% interval 2 x .098 wide.
    scores = np.tile([0.0, 1.0], 50)[None]
    assert bootstrap_interval(scores, resamples=20_000) == pytest.approx((0.402, 0.598), abs=0.01)


def test_the_bootstrap_draws_the_same_tasks_for_all_seeds() -> None:
    # Seeds that agree on every task say no more about the tasks than one: more seeds must not narrow the interval.
    one = np.tile([0.0, 1.0], 50)[None]
    many = np.repeat(one, 20, axis=0)
    assert bootstrap_interval(many).width == pytest.approx(bootstrap_interval(one).width, rel=0.05)


def test_floor_and_optimum_follow_the_resampled_tasks() -> None:
    # Each task closes exactly half of its own gap, so the ratio of means is a half on every resample of tasks,
    # and on none where floor and optimum stayed behind.
    floor = np.random.default_rng(0).uniform(-70, -1, 40)
    optimum = np.zeros(40)
    interval = bootstrap_interval(np.stack([floor / 2] * 3), (floor, optimum), statistic=normalised_score)
    assert interval == pytest.approx((0.5, 0.5))


def test_coverage_over_three_seeds() -> None:
    """The percentile bootstrap falls short of its 95%, the t interval does not (the reference's pitfall 15)."""
    simulations = 1500
    # Seeds differ with standard deviation 1 around a true score of 0; two tasks that all seeds play equally well.
    draws = np.random.default_rng(5).normal(size=(simulations, 3, 1)).repeat(2, axis=2)
    boots = [bootstrap_interval(scores, resamples=400) for scores in draws]
    ts = [t_interval(scores) for scores in draws]
    covered_by_bootstrap = np.mean([low <= 0 <= high for low, high in boots])
    covered_by_t = np.mean([low <= 0 <= high for low, high in ts])
    # At most all three draws' range, which misses 0 when they share a sign: 1 - 2/8.
    assert covered_by_bootstrap == pytest.approx(0.74, abs=0.04)
    assert covered_by_t == pytest.approx(0.95, abs=0.02)


def test_the_wider_interval() -> None:
    narrow, wide = Interval(0.0, 1.0), Interval(-3.0, -1.0)
    assert wider(narrow, wide) is wide
    assert wider(wide, narrow) is wide
    assert wider(narrow, None) is narrow


@pytest.mark.parametrize(
    ("first", "second", "touch"),
    [((0, 1), (1, 2), True), ((0, 1), (1.01, 2), False), ((0, 9), (3, 4), True), ((5, 6), (1, 2), False)],
)
def test_intervals_touch(first: tuple[float, float], second: tuple[float, float], touch: bool) -> None:
    assert intervals_touch(Interval(*first), Interval(*second)) is touch
    assert intervals_touch(Interval(*second), Interval(*first)) is touch


def test_an_estimate_is_judged_by_its_wider_interval() -> None:
    scores = np.array([[0.0, 2.0], [2.0, 2.0], [5.0, 1.0]])
    found = estimate(scores)
    bootstrap, t = bootstrap_interval(scores), t_interval(scores)
    assert found == Estimate(value=2.0, bootstrap=bootstrap, t=t, interval=t)
    assert estimate(scores[:1]).interval == bootstrap_interval(scores[:1])


def test_intervals_are_cut_at_what_is_possible() -> None:
    scores = np.array([[0.5, 0.9], [0.9, 0.9], [1.0, 1.0]])  # of things that succeed or do not
    whole, cut = estimate(scores), estimate(scores, bounds=Interval(0, 1))
    assert whole.t is not None
    assert whole.t.high > 1 >= whole.bootstrap.high
    assert cut.t == cut.interval == (whole.t.low, 1)
    assert cut.bootstrap == whole.bootstrap
    # On these tasks no more than .95 is to be had: of resamples with other tasks that says nothing.
    here = estimate(scores, bounds_here=Interval(0, 0.95))
    assert here.t == here.interval == (whole.t.low, 0.95)
    assert here.bootstrap == whole.bootstrap
    # What was wider decides, though it is narrower once it is cut.
    assert estimate(scores, bounds_here=Interval(0.85, 0.9)).interval == (0.85, 0.9)


def test_tasks_that_are_all_there_are_are_not_resampled() -> None:
    scores = np.array([[0.0, 10.0, 20.0], [1.0, 11.0, 21.0], [2.0, 12.0, 22.0]])
    assert bootstrap_interval(scores, fixed_tasks=True) == (10.0, 12.0)
    assert bootstrap_interval(scores).width > 10
    tasks = np.array([0.0, 10.0, 20.0])
    share = bootstrap_interval(scores, (tasks, tasks + 1), statistic=normalised_score, fixed_tasks=True)
    assert share == pytest.approx((0.0, 2.0))
    # One seed has nothing but its tasks.
    assert bootstrap_interval(scores[:1], fixed_tasks=True) == bootstrap_interval(scores[:1])


def test_speed_counts_normalised_scores_from_the_floor() -> None:
    # Half of .96 is .48, nine tenths .864: both reached at a point, none interpolated.
    assert adaptation_speed((0, 20, 40, 60), (0.1, 0.5, 0.8, 0.96), 0.5, start=0.0) == 20
    assert adaptation_speed((0, 20, 40, 60), (0.1, 0.5, 0.8, 0.96), 0.9, start=0.0) == 60
    assert adaptation_speed((0, 20), (0.6, 0.9), 0.5, start=0.0) == 0


def test_speed_counts_returns_from_the_first_point() -> None:
    # From -40 to 0: half the gain is -20.
    assert adaptation_speed((0, 10, 20, 30), (-40, -21, -19, 0), 0.5) == 20
    assert adaptation_speed((0, 10, 20, 30), (-40, 5, -19, 0), 0.9) == 10


def test_speed_is_unknown_where_nothing_is_gained() -> None:
    assert adaptation_speed((0, 10), (-1.0, -2.0), 0.5) is None
    assert adaptation_speed((0, 10), (-0.2, -0.1), 0.5, start=0.0) is None


def test_the_whole_score_is_reached_at_the_end_at_the_latest() -> None:
    # .1 + .2 - .1 is not .2: rounding must not leave the final point short of itself.
    assert adaptation_speed((0, 7), (0.1, 0.1 + 0.2), 1.0) == 7


@pytest.mark.parametrize(
    ("scores", "per_task", "message"),
    [
        (np.ones(3), (), r"\(3,\); give \(seed, task\)"),
        (np.ones((0, 3)), (), "neither of them empty"),
        (np.ones((2, 3)), (np.ones(2),), r"give \(task,\)"),
        (np.array([[1.0, np.nan]]), (), "NaN"),
    ],
)
def test_bad_scores_are_refused(scores: np.ndarray, per_task: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        bootstrap_interval(scores, per_task)
    with pytest.raises(MetaRLError, match=message):
        t_interval(scores, per_task)


def test_a_gap_that_vanishes_is_refused() -> None:
    with pytest.raises(MetaRLError, match="finite on no resample"):
        bootstrap_interval(np.ones((2, 3)), (np.zeros(3), np.zeros(3)), statistic=normalised_score)


@pytest.mark.parametrize(("curve", "fraction"), [((1.0,), 0.5), ((1.0, 2.0), 0.0), ((1.0, 2.0), 1.1)])
def test_bad_speeds_are_refused(curve: tuple[float, ...], fraction: float) -> None:
    with pytest.raises(MetaRLError):
        adaptation_speed((0, 10), curve, fraction)
