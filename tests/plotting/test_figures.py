"""Pictures: what is drawn is what was measured, nothing is cut off, and files are written whole."""

import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from metarl.core.errors import MetaRLError
from metarl.plotting import style
from metarl.plotting.curves import comparison_figure, curve_figure, learning_figure, overview_figure
from metarl.plotting.paths import draw_paths
from metarl.plotting.style import GOAL, new_figure, save_figure, step_colours


def texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    found = [*axes.texts, axes._left_title, *(legend.texts if legend else ())]
    return [text.get_text() for text in found]


def paths_figure(*arguments, **options) -> Figure:
    figure = new_figure(6, 4.8)
    draw_paths(figure, *arguments, **options)
    return figure


def line(axes: Axes, **wanted: object) -> np.ndarray:
    """The (x, y) of the one line with these properties."""
    found = [each for each in axes.lines if all(getattr(each, f"get_{k}")() == v for k, v in wanted.items())]
    assert len(found) == 1
    return np.asarray(found[0].get_xydata())


def sample_paths(n_steps: int = 4, n_tasks: int = 6) -> tuple[np.ndarray, np.ndarray]:
    n_envs, length = 2, 30
    rng = np.random.default_rng(0)
    goals = rng.uniform(-0.5, 0.5, (n_tasks, 2))
    share = np.linspace(0, 1, length)[:, None] * np.linspace(0, 1, n_steps)[:, None, None, None, None]
    return share * goals[:, None, None] + np.zeros((n_steps, n_tasks, n_envs, length, 2)), goals


def test_the_curve_is_the_mean_with_its_wider_interval_and_the_tasks_behind_it(make_evaluation) -> None:
    evaluation = make_evaluation()
    axes = curve_figure(evaluation).axes[0]
    mean = line(axes, linewidth=2.4)
    assert mean[:, 0].tolist() == [0, 20, 40, 60]
    assert mean[:, 1] == pytest.approx(evaluation.returns.mean(axis=(0, 2)))
    tasks = np.array([each.get_ydata() for each in axes.lines if each.get_linewidth() == 0.7])
    assert tasks == pytest.approx(evaluation.returns.mean(axis=0).T)
    band = axes.collections[0].get_paths()[0].vertices
    for point in evaluation.points:
        at_point = band[band[:, 0] == point.episodes, 1]
        assert (at_point.min(), at_point.max()) == pytest.approx(tuple(point.returns.interval))


def test_floor_and_optimum_are_labelled_lines(make_evaluation) -> None:
    evaluation = make_evaluation()
    axes = curve_figure(evaluation).axes[0]
    levels = [each.get_ydata()[0] for each in axes.lines if each.get_linestyle() == "--"]
    assert sorted(levels) == pytest.approx([evaluation.floor.mean(), evaluation.optimum.mean()])
    assert any(text.startswith("standing still −") for text in texts(axes))
    assert any(text.startswith("straight line −") for text in texts(axes))


def test_the_second_axis_is_the_normalised_score(make_evaluation) -> None:
    evaluation = make_evaluation()
    figure = curve_figure(evaluation)
    FigureCanvasAgg(figure).draw()
    (second,) = figure.axes[0].child_axes
    low, high = figure.axes[0].get_ylim()
    floor, optimum = evaluation.floor.mean(), evaluation.optimum.mean()
    assert second.get_ylim() == pytest.approx(((low - floor) / (optimum - floor), (high - floor) / (optimum - floor)))
    assert "70%" in texts(figure.axes[0])


def test_without_an_optimum_there_is_one_axis_and_returns_are_written(make_evaluation) -> None:
    evaluation = make_evaluation(optimum=None)
    axes = curve_figure(evaluation).axes[0]
    assert not axes.child_axes
    assert f"{evaluation.returns[:, 1].mean():.1f}".replace("-", "−") in texts(axes)


def test_a_task_that_goes_astray_does_not_squeeze_the_curve(make_evaluation) -> None:
    returns = np.array(make_evaluation(n_tasks=100).returns)
    returns[:, 2, 3] = -4000
    low, _ = curve_figure(make_evaluation(n_tasks=100, returns=returns)).axes[0].get_ylim()
    assert low > -400


def test_a_long_title_is_broken(make_evaluation, assert_legible) -> None:
    short, long = (curve_figure(make_evaluation(agent=name)) for name in ("maml", "a-name-of-" * 6))
    assert_legible(short)
    assert_legible(long)
    one, two = (each._suptitle.get_window_extent() for each in (short, long))
    assert two.height > 1.5 * one.height


def test_the_learning_curve_of_an_agent_that_does_not_adapt_names_no_step(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("steps,rollout/return\n1,2\n2,3\n")
    figure = learning_figure([tmp_path / "progress.csv"], steps="steps", returns=["rollout/return"])
    assert "return" in texts(figure.axes[0])
    assert "before adaptation" not in texts(figure.axes[0])


def test_a_long_curve_is_a_line_without_markers(make_evaluation) -> None:
    axes = curve_figure(make_evaluation(shares=tuple(np.linspace(0, 0.9, 40)), floor=None)).axes[0]
    assert len(axes.collections) == 1  # the band
    assert len(axes.get_xticks()) < 20


def test_a_comparison_draws_each_agent_labelled_at_its_end(make_evaluation, assert_legible) -> None:
    pair = [make_evaluation(), make_evaluation(agent="finetune", shares=(0.0, 0.2, 0.3, 0.4))]
    figure = comparison_figure(pair)
    axes = figure.axes[0]
    for each in pair:
        assert line(axes, label=each.agent)[:, 1] == pytest.approx(each.normalised)
        assert each.agent in texts(axes)
    assert len({each.get_color() for each in axes.lines if each.get_label() in ("maml", "finetune")}) == 2
    assert axes.get_ylabel() == "normalised score"
    assert_legible(figure)


def test_a_comparison_without_an_optimum_is_of_returns(make_evaluation) -> None:
    pair = [make_evaluation(optimum=None), make_evaluation(agent="finetune")]
    axes = comparison_figure(pair).axes[0]
    assert axes.get_ylabel() == "return"
    assert line(axes, label="finetune")[:, 1] == pytest.approx(pair[1].returns.mean(axis=(0, 2)))


def test_different_tasks_are_not_drawn_into_one_plot(make_evaluation) -> None:
    with pytest.raises(MetaRLError, match="different tasks"):
        comparison_figure([make_evaluation(), make_evaluation(agent="b", task_vectors=np.zeros((20, 2)))])


def test_the_learning_curve_is_the_mean_over_seeds_at_common_steps(tmp_path: Path, assert_legible) -> None:
    header = "time/total_timesteps,return_0,return_1\n"
    (tmp_path / "a.csv").write_text(f"{header}100,-4,-2\n200,,\n300,-3,-1\n400,-3,-1\n")
    (tmp_path / "b.csv").write_text(f"{header}100,-6,-4\n200,-5,-3\n300,-5,-3\n")
    progress = [tmp_path / "a.csv", tmp_path / "b.csv"]
    figure = learning_figure(progress, steps="time/total_timesteps", returns=["return_0", "return_1"])
    axes = figure.axes[0]
    assert line(axes, label="before adaptation").tolist() == [[100, -5], [300, -4]]
    assert line(axes, label="1 step").tolist() == [[100, -3], [300, -2]]
    assert {"before adaptation", "1 step", "2 seeds"} <= set(texts(axes))
    assert_legible(figure)


def test_seeds_whose_episodes_end_early_have_steps_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("steps,return\n100,1\n200,2\n300,3\n")
    (tmp_path / "b.csv").write_text("steps,return\n90,0\n190,1\n290,2\n")
    figure = learning_figure([tmp_path / "a.csv", tmp_path / "b.csv"], steps="steps", returns=["return"])
    np.testing.assert_allclose(line(figure.axes[0], label="before adaptation"), [[100, 0.55], [200, 1.55]])


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("steps,loss\n1,2\n")
    with pytest.raises(MetaRLError, match="no column 'return'; it has steps, loss"):
        learning_figure([tmp_path / "progress.csv"], steps="steps", returns=["return"])


def test_seeds_without_a_common_step_are_refused(tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"{i}.csv").write_text(f"steps,return\n{i},2\n")
    with pytest.raises(MetaRLError, match="train the seeds alike"):
        learning_figure([tmp_path / "1.csv", tmp_path / "2.csv"], steps="steps", returns=["return"])


def test_paths_have_a_panel_for_each_task_with_its_goal_and_steps() -> None:
    paths, goals = sample_paths()
    panels = paths_figure(paths, goals).axes
    assert len(panels) == 6
    for task, axes in enumerate(panels):
        star = line(axes, marker="*", color=GOAL)
        assert star[0] == pytest.approx(goals[task])
        for step, colour in enumerate(step_colours(4)):
            assert line(axes, color=colour, marker="None") == pytest.approx(paths[step, task, 0])


def test_padding_is_not_drawn() -> None:
    paths, goals = sample_paths()
    valid = np.ones(paths.shape[:-1], dtype=bool)
    valid[3, 2, 0, 12:] = False
    paths[3, 2, 0, 12:] = np.nan
    axes = paths_figure(paths, goals, valid).axes[2]
    colour = step_colours(4)[3]
    assert len(line(axes, color=colour, marker="None")) == 12
    assert line(axes, color=colour, marker="o")[0] == pytest.approx(paths[3, 2, 0, 11])


def test_lanes_and_panels_can_be_chosen() -> None:
    paths, goals = sample_paths(n_steps=2, n_tasks=2)
    assert len(paths_figure(paths, goals).axes) == 2
    drawn = [len(paths_figure(paths, goals, n_envs=n_envs).axes[0].lines) for n_envs in (1, 2, 9)]
    assert drawn[1] == drawn[0] + 4  # two steps, each a line and its end
    assert drawn[2] == drawn[1]


def test_panels_are_square_apart_and_inside_the_figure() -> None:
    for n_tasks in (1, 4, 6, 12):
        paths, goals = sample_paths(n_tasks=n_tasks)
        figure = paths_figure(paths, goals)
        FigureCanvasAgg(figure).draw()
        boxes = [axes.get_window_extent() for axes in figure.axes]
        for i, box in enumerate(boxes):
            assert box.width == pytest.approx(box.height, abs=1)
            assert box.x0 > 0
            assert box.y0 > 0
            assert box.x1 < figure.bbox.x1
            assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize(
    ("paths", "goals", "valid", "message"),
    [
        (np.zeros((4, 6, 2, 30)), np.zeros((6, 2)), None, r"\(step, task, env, time, 2\)"),
        (np.zeros((4, 6, 2, 30, 2)), np.zeros((5, 2)), None, r"goals \(5, 2\)"),
        (np.zeros((4, 6, 2, 30, 2)), np.zeros((6, 2)), np.ones((4, 6, 2)), r"valid \(4, 6, 2\)"),
    ],
)
def test_paths_of_another_shape_are_refused(paths, goals, valid, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        paths_figure(paths, goals, valid)


def test_the_overview_joins_paths_and_curve_in_the_same_colours(make_evaluation, assert_legible) -> None:
    evaluation = make_evaluation()
    figure = overview_figure(evaluation, *sample_paths())
    assert len(figure.axes) == 7
    curve = figure.axes[-1]
    markers = curve.collections[1].get_facecolors()[:, :3]
    assert markers == pytest.approx(np.array([to_rgb(colour) for colour in step_colours(4)]))
    assert [each._suptitle.get_text() for each in figure.subfigs] == [
        "maml on PointNavigation (maml)",
        "Return, test (fresh)",
    ]
    FigureCanvasAgg(figure).draw()
    panels_end = max(axes.get_window_extent().x1 for axes in figure.axes[:-1])
    assert curve.get_tightbbox().x0 > panels_end
    assert_legible(figure)


def test_the_overview_of_a_long_trial_names_a_few_episodes_beside_the_curve(make_evaluation, assert_legible) -> None:
    shares = tuple(np.linspace(0, 0.9, 20))
    evaluation = make_evaluation(shares=shares, episodes=tuple(range(20)), trial=True)
    figure = overview_figure(evaluation, *sample_paths(n_steps=20))
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.texts] == ["episode 1", "episode 11", "episode 20", "hidden goal"]
    FigureCanvasAgg(figure).draw()
    assert legend.get_window_extent().x1 < figure.axes[-1].get_tightbbox().x0
    assert all(tick == round(tick) for tick in figure.axes[-1].get_xticks())
    assert_legible(figure)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_file(make_evaluation, tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        with matplotlib.rc_context({"svg.hashsalt": "fixed"}):
            save_figure(curve_figure(make_evaluation()), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_picture_that_fails_leaves_the_old_one(make_evaluation, tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("disk full")

    path = tmp_path / "curve.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(style, "write_atomic", fail)
    with pytest.raises(RuntimeError):
        save_figure(curve_figure(make_evaluation()), path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["curve.png"]


def test_an_unknown_format_is_refused(make_evaluation, tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"\.png, \.svg, \.pdf"):
        save_figure(curve_figure(make_evaluation()), tmp_path / "curve.jpeg")


def test_no_global_state_is_touched(make_evaluation) -> None:
    def settings() -> dict[str, object]:
        # Merely reading the backend would look one up.
        return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}

    before = settings()
    curve_figure(make_evaluation())
    assert settings() == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_steps_start_grey_and_darken() -> None:
    for n_steps in range(1, 12):
        colours = [to_rgb(colour) for colour in step_colours(n_steps)]
        assert len(colours) == n_steps
        assert max(colours[0]) - min(colours[0]) < 0.1
        lightness = [sum(colour) for colour in colours[1:]]
        assert all(later < earlier for earlier, later in pairwise(lightness))
