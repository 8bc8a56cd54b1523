"""Probes of beliefs: what can be read is read, what cannot is not; files and the picture."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from metarl.core.errors import MetaRLError
from metarl.evaluation.probe import MOST_POINTS, PROBES, Beliefs, linear_reading, parameter_names, probe
from metarl.plotting.belief import MOST_PANELS, belief_figure, posterior_figure, principal_plane
from metarl.tasks import Tasks

RNG = np.random.default_rng(0)


def beliefs_of(values: np.ndarray, tasks: np.ndarray, **fields: Any) -> Beliefs:
    names = tuple(f"p{i}" for i in range(tasks.shape[1]))
    content = {"episodes": tuple(range(values.shape[1])), "seeds": tuple(range(len(values))), "names": names}
    return Beliefs(values=values.astype(np.float32), tasks=tasks, **{**content, **fields})


def growing(n_tasks: int = 60, points: int = 4, seeds: int = 2) -> Beliefs:
    """The first parameter is in the belief from the first episode on, linearly; the second never is."""
    tasks = RNG.uniform(-1, 1, (n_tasks, 2))
    values = RNG.normal(size=(seeds, points, n_tasks, 6))
    values[:, 0] = 0  # knows nothing before any data
    values[:, 1:, :, 0] += 10 * tasks[:, 0]
    return beliefs_of(values, tasks)


def test_the_probe_reads_what_is_there_and_nothing_else() -> None:
    read = probe(growing())
    assert read is not None
    for name in PROBES:
        r2 = read.r2[name]
        assert r2.shape == (2, 4, 2)
        assert np.abs(r2[:, 0]).max() < 0.15  # the mean of other tasks, whatever the task
        assert r2[:, 1:, 0].min() > 0.7
        assert r2[:, :, 1].max() < 0.2
    assert read.last == {
        "probe R² episode 3": pytest.approx(read.r2["linear"][:, -1].mean()),
        "nonlinear probe R² episode 3": pytest.approx(read.r2["nonlinear"][:, -1].mean()),
    }


def test_what_is_there_in_another_form_is_read_by_the_nonlinear_probe_alone() -> None:
    angle = RNG.uniform(-np.pi, np.pi, (200, 1))
    read = probe(beliefs_of(angle[None, None], np.cos(2 * angle)))
    assert read is not None
    assert read.r2["linear"].max() < 0.1
    assert read.r2["nonlinear"].min() > 0.8


def test_a_sign_is_read_as_a_number_and_a_constant_is_left_out() -> None:
    sign = np.repeat([-1.0, 1.0], 20)  # in order: folds must mix them
    tasks = np.stack([np.ones(40), sign], axis=1)
    read = probe(beliefs_of(sign[None, None, :, None] + RNG.normal(0, 0.1, (1, 1, 40, 1)), tasks))
    assert read is not None
    assert read.names == ("p1",)
    assert read.r2["linear"].min() > 0.9


def test_too_few_tasks_or_tasks_all_alike_have_no_probe() -> None:
    assert probe(growing(n_tasks=9)) is None
    assert probe(growing(n_tasks=10)) is not None
    assert probe(beliefs_of(RNG.normal(size=(1, 2, 30, 3)), np.ones((30, 2)))) is None


def test_a_long_trial_is_probed_at_a_few_points() -> None:
    read = probe(growing(n_tasks=20, points=101, seeds=1))
    assert read is not None
    assert read.episodes == tuple(range(0, 101, 10))
    assert len(read.episodes) == MOST_POINTS


def test_the_probes_csv() -> None:
    read = probe(growing())
    assert read is not None
    rows = list(csv.DictReader(io.StringIO(read.to_csv())))
    assert len(rows) == 2 * 4 * 2
    row = rows[(1 * 4 + 2) * 2 + 0]
    assert (row["seed"], row["episodes"], row["parameter"]) == ("1", "2", "p0")
    assert float(row["nonlinear"]) == pytest.approx(read.r2["nonlinear"][1, 2, 0], abs=1e-5)


def test_beliefs_are_saved_without_pickle(tmp_path: Path) -> None:
    beliefs = growing()
    beliefs.save(tmp_path / "beliefs.npz")
    with np.load(tmp_path / "beliefs.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["beliefs"], beliefs.values)
        np.testing.assert_array_equal(saved["tasks"], beliefs.tasks)
        assert saved["names"].tolist() == ["p0", "p1"]
        assert saved["episodes"].tolist() == [0, 1, 2, 3]
        assert saved["seeds"].tolist() == [0, 1]


def test_parameters_are_named_in_the_order_of_the_vector() -> None:
    tasks = Tasks({"mass": np.ones(3), "goal": np.zeros((3, 2)), "table": np.zeros((3, 2, 2))})
    names = parameter_names(tasks)
    assert names == ("mass", "goal[0]", "goal[1]", "table[0,0]", "table[0,1]", "table[1,0]", "table[1,1]")
    assert len(names) == tasks.vector.shape[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"seeds": (0,)}, r"\(1, 4, 60\)"), ({"names": ("a",)}, "1 names"), ({"episodes": (0,)}, "is needed")],
)
def test_beliefs_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    sound = growing()
    with pytest.raises(MetaRLError, match=message):
        beliefs_of(sound.values, sound.tasks, **fields)
    with pytest.raises(MetaRLError, match="NaN"):
        beliefs_of(np.full((1, 1, 3, 2), np.nan), np.ones((3, 1)))


@pytest.mark.parametrize(("points", "panels"), [(2, 2), (4, 4), (101, MOST_PANELS)])
def test_the_picture_has_a_panel_for_a_few_numbers_of_episodes(points: int, panels: int) -> None:
    beliefs = growing(n_tasks=20, points=points)
    read = probe(beliefs)
    assert read is not None
    figure = belief_figure(beliefs, read, "an agent on a family")
    drawn = [axes for axes in figure.axes if axes.collections and len(axes.collections[0].get_offsets()) == 20]
    assert len(drawn) == panels
    assert drawn[0].get_xlabel() == "before any episode"
    assert drawn[-1].get_xlabel() == f"after {points - 1} episode{'s' * (points > 2)}"
    # The same plane in all panels, coloured by the parameter that is read best.
    assert len({axes.get_xlim() for axes in drawn}) == 1
    np.testing.assert_allclose(drawn[-1].collections[0].get_array(), beliefs.tasks[:, 0])
    assert "coloured by p0" in drawn[0].get_title(loc="left")
    lines = {each.get_label(): np.asarray(each.get_ydata()) for axes in figure.axes for each in axes.lines}
    for name in PROBES:
        np.testing.assert_allclose(lines[name], read.r2[name].mean(axis=(0, 2)))
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        for text in (*axes.texts, axes._left_title, axes.xaxis.label):
            extent = text.get_window_extent()
            assert extent.x0 >= -1, text
            assert extent.x1 <= figure.bbox.x1 + 1, text


def test_the_plane_keeps_distances_that_lie_in_it() -> None:
    flat = RNG.normal(size=(3, 10, 2)) @ np.linalg.qr(RNG.normal(size=(5, 5)))[0][:2]
    places = principal_plane(flat)
    apart = [np.linalg.norm(each[0, 0] - each[2, 7]) for each in (flat, places)]
    assert apart[0] == pytest.approx(apart[1])
    assert principal_plane(RNG.normal(size=(3, 10, 1))).shape == (3, 10, 2)


def narrowing(n_tasks: int = 30) -> Beliefs:
    """Means that tell p1, rotated, and no other parameter; variances that fall, one of them where p1 is not told."""
    tasks = RNG.uniform(-1, 1, (n_tasks, 2))
    mean = np.zeros((2, 4, n_tasks, 3))
    mean[:, 1:, :, 0] = 3 * tasks[:, 1]
    mean[0, 1, 0, 0] += 3  # the first task is mistaken after one episode
    log_variance = np.log(np.array([1.0, 0.3, 0.1, 0.01]))[:, None, None] + np.zeros((2, 4, n_tasks, 3))
    log_variance[..., 1:] = 5
    return beliefs_of(np.concatenate([mean, log_variance], -1), tasks, gaussian=True)


def test_a_posterior_is_read_in_the_units_of_the_parameter_that_it_tells() -> None:
    beliefs = narrowing()
    name, true, mean, deviation = linear_reading(beliefs)
    assert name == "p1"
    np.testing.assert_array_equal(true, beliefs.tasks[:, 1])
    np.testing.assert_allclose(mean[3], true, atol=0.01)
    assert np.ptp(mean[0]) < 1e-9  # nothing is known before any data
    assert mean[1, 0] == pytest.approx(true[0] + 1, abs=0.01)
    np.testing.assert_allclose(deviation[:, 0], np.sqrt([1.0, 0.3, 0.1, 0.01]) / 3, rtol=0.02)


def test_narrow_latents_are_read_as_well_as_wide_ones() -> None:
    wide, narrow = narrowing(), narrowing()
    small = 0.02 * narrow.values[..., :3], narrow.values[..., 3:] + 2 * np.log(0.02)
    _, true, mean, deviation = linear_reading(beliefs_of(np.concatenate(small, -1), narrow.tasks, gaussian=True))
    np.testing.assert_allclose(mean[3], true, atol=0.01)
    np.testing.assert_allclose(deviation[:, 0], linear_reading(wide)[3][:, 0], rtol=0.1)


def test_the_posterior_is_drawn_against_the_truth() -> None:
    beliefs = narrowing()
    figure = posterior_figure(beliefs, "an agent on a family")
    _, true, mean, deviation = linear_reading(beliefs)
    assert len(figure.axes) == 4
    for point, axes in enumerate(figure.axes):
        line, _, (bars,) = axes.containers[0]
        np.testing.assert_allclose(line.get_xydata(), np.stack([true, mean[point]], 1))
        lengths = [np.ptp(np.asarray(segment)[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(lengths, 4 * deviation[point], rtol=1e-6)
        assert axes.get_xlabel() == "true p1"
    FigureCanvasAgg(figure).draw()
