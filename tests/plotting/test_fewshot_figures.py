"""Pictures of few-shot learning: what is drawn is what was given, nothing is cut off, and bad input is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import Rectangle

from metarl.core.errors import MetaRLError
from metarl.evaluation.statistics import Estimate, Interval
from metarl.plotting.charts import Line, Ranked, lines_figure, ranking_figure
from metarl.plotting.fewshot.embedding import embedding_figure
from metarl.plotting.fewshot.episode import MOST_QUERIES, episode_figure
from metarl.plotting.fewshot.function import function_figure
from metarl.plotting.style import AGENTS, GOAL, INK, save_figure, short

TITLED: dict[str, Any] = {"title": "a title", "subtitle": "a subtitle"}
AXES: dict[str, Any] = {"x_label": "adaptation steps", "y_label": "accuracy"}
ROWS = [Ranked("worst", 0.5, 0.4, 0.6), Ranked("best", 0.9, 0.85, 0.95, "a note"), Ranked("middle", 0.7, 0.6, 0.75)]


def episode(way: int, shot: int, queries: int, wrong: int = 0, names: list[str] | None = None) -> dict[str, Any]:
    """One whose first queries are predicted as the next class; each sample has another first pixel of ink."""
    n, m = way * shot, way * queries
    support, asked = np.zeros((n, 8, 8)), np.zeros((m, 8, 8))
    support.reshape(n, -1)[np.arange(n), np.arange(n) % 64] = 1
    asked.reshape(m, -1)[np.arange(m), np.arange(m) % 64] = 1
    true = np.arange(m) % way  # not class by class
    return {
        "support": support,
        "support_labels": np.arange(n) % way,
        "queries": asked,
        "query_labels": true,
        "predicted": np.where(np.arange(m) < wrong, (true + 1) % way, true),
        "names": names or [f"character {i}" for i in range(way)],
        **TITLED,
    }


def features(way: int = 2, n: int = 4, d: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(0)
    labels = np.arange(way * n) % way
    made = {"support": random.normal(size=(way, d)), "queries": random.normal(size=(way * n, d))}
    return {
        **made,
        "support_labels": np.arange(way),
        "query_labels": labels,
        "prototypes": made["support"],
        "names": [f"character {i}" for i in range(way)],
        **TITLED,
    }


def texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    found = [*axes.texts, axes._left_title, axes.xaxis.label, *(legend.texts if legend else ())]
    return [text.get_text() for text in (*found, *axes.get_xticklabels())]


def line(steps: list[int], mean: list[float], low: list[float], high: list[float]) -> Line:
    ends = [Interval(*each) for each in zip(low, high, strict=True)]
    scores = [Estimate(value=y, bootstrap=end, t=None, interval=end) for y, end in zip(mean, ends, strict=True)]
    return Line(steps, scores)


def dots(axes: Axes, label: str) -> np.ndarray:
    found = [np.asarray(each.get_offsets()) for each in axes.collections if each.get_label() == label]
    places = np.concatenate(found) if found else np.empty((0, 2))
    return places[np.isfinite(places).all(1)]  # those of the legend are nowhere


def framed(axes: Axes) -> list[tuple[float, float]]:
    """Where the wrong ones' frames are."""
    frames = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_edgecolor() == to_rgba(GOAL)]
    return [each.get_xy() for each in frames]


def test_every_image_of_an_episode_is_drawn_in_the_row_of_its_class() -> None:
    made = episode(3, 2, 4)
    axes = episode_figure(**made).axes[0]
    assert len(axes.images) == 3 * (2 + 4)
    rows: dict[float, list[np.ndarray]] = {}
    for image in axes.images:
        _, _, bottom, top = image.get_extent()
        assert top < bottom  # y grows downwards
        rows.setdefault(top, []).append(1 - np.asarray(image.get_array()))
    for c, row in enumerate(rows[y] for y in sorted(rows)):
        wanted = [made["support"][made["support_labels"] == c], made["queries"][made["query_labels"] == c]]
        np.testing.assert_array_equal(row, np.concatenate(wanted))
    assert texts(axes).count("4/4") == 3
    assert not framed(axes)
    assert "queries" in texts(axes)


def test_wrong_predictions_are_framed_and_named() -> None:
    axes = episode_figure(**episode(3, 1, 4, wrong=1, names=["ant", "bee", "cow"])).axes[0]
    (x, y), (frame,) = (
        (axes.images[1].get_extent()[i] for i in (0, 3)),
        framed(axes),
    )  # the first query of the first row
    assert frame == pytest.approx((x, y))
    below = [text for text in axes.texts if to_hex(text.get_color()) == GOAL]
    assert [text.get_text() for text in below] == ["bee"]
    assert x < below[0].get_position()[0] < axes.images[1].get_extent()[1]
    assert below[0].get_position()[1] > axes.images[1].get_extent()[2]
    assert [text for text in texts(axes) if "/" in text] == ["3/4", "4/4", "4/4"]
    assert "a subtitle, wrong ones framed" in texts(axes)


def test_more_queries_than_fit_are_left_out_but_counted() -> None:
    axes = episode_figure(**episode(2, 12, 20, wrong=3)).axes[0]
    assert len(axes.images) == 2 * (10 + MOST_QUERIES)
    assert {"18/20", "19/20", "15 of 20 queries", "support, 10 of 12"} <= set(texts(axes))
    last = episode(2, 1, 20)
    last["predicted"][-1] = 0  # of the last of the second class, which is not shown
    assert not framed(episode_figure(**last).axes[0])
    assert "19/20" in texts(episode_figure(**last).axes[0])


def test_ink_is_dark_and_other_images_are_drawn_as_they_are() -> None:
    def first(scale: float = 1.0, **changed: Any) -> np.ndarray:
        made = {**episode(2, 1, 1), **changed}
        made["support"] = scale * made["support"]
        made["queries"] = scale * made["queries"]
        return np.asarray(episode_figure(**made).axes[0].images[0].get_array())

    assert first(255)[0, 0] == 0
    assert first(255)[1, 1] == 1
    assert first(ink=False)[0, 0] == 1
    ramp = np.linspace(-3, 5, 64).reshape(1, 8, 8).repeat(2, 0)
    assert first(support=ramp)[0, 0] == pytest.approx(0)
    assert first(support=ramp, ink=True)[0, 0] == pytest.approx(1)
    assert first(support=1 - episode(2, 1, 1)["support"], queries=1 - episode(2, 1, 1)["queries"])[0, 0] == 0
    colours = np.zeros((2, 3, 8, 8))
    colours[:, 1] = 2.0
    np.testing.assert_array_equal(first(support=colours, queries=colours)[4, 4], [0, 1, 0])
    assert first(support=ramp[:, None], queries=ramp[:, None]).shape == (8, 8)


def test_the_plane_is_that_of_the_greatest_variance() -> None:
    made = features()
    corners = np.array([[0, 2, 0], [0, -2, 0], [1, 0, 0], [-1, 0, 0]], float)
    made |= {"queries": corners, "query_labels": [0, 0, 1, 1], "support": corners, "support_labels": [0, 0, 1, 1]}
    made["prototypes"] = np.array([[0, 1, 9], [0.5, 0, 9]])  # what lies across the plane is not seen
    figure = embedding_figure(**made)
    (plane,) = figure.axes
    assert plane.get_xlabel() == "two principal components, with 80% and 20% of the variance"
    for kind in ("queries", "support"):
        np.testing.assert_allclose(np.abs(dots(plane, kind)), [[2, 0], [2, 0], [0, 1], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(np.abs(dots(plane, "prototypes")), [[1, 0], [0, 0.5]], atol=1e-12)
    queries = [each for each in plane.collections if each.get_label() == "queries"][:2]
    assert [to_hex(each.get_facecolor()[0]) for each in queries] == list(AGENTS[:2])
    named = [text.get_text() for text in figure.legends[0].texts]
    assert named == ["queries", "support", "prototypes", "character 0", "character 1"]


def test_features_of_one_number_or_none_that_vary_are_drawn_too() -> None:
    made = features(way=30, d=1) | {"prototypes": None}
    figure = embedding_figure(**made)
    assert "two principal components, with 100% and 0% of the variance" in texts(figure.axes[0])
    assert len(dots(figure.axes[0], "queries")) == 120
    assert not len(dots(figure.axes[0], "prototypes"))
    assert "prototypes" not in [text.get_text() for text in figure.legends[0].texts]
    same = features() | {"support": np.ones((2, 3)), "queries": np.ones((8, 3)), "prototypes": None}
    assert "two principal components, with 0% and 0% of the variance" in texts(embedding_figure(**same).axes[0])


def test_a_curve_has_its_band_and_its_name() -> None:
    long = ([0, 1, 5], [0.2, 0.8, 0.9], [0.1, 0.7, 0.8], [0.3, 0.9, 1.0])
    short_one = line([0, 1], [0.2, 0.95], [0.1, 0.9], [0.3, 0.97])
    figure, axes = lines_figure({"maml": line(*long), "meta-sgd": short_one}, **AXES, **TITLED)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.array(long[:2]).T)
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert [0, 0.1] in corners
    assert [5, 1.0] in corners
    assert [text.get_text() for text in axes.get_legend().texts] == ["meta-sgd", "maml"]  # as they end
    assert axes.get_xticks().tolist() == [0, 1, 5]
    assert axes.get_ylabel() == "accuracy"
    assert figure._suptitle.get_text() == "a title"


def test_learners_are_compared_from_the_best_down() -> None:
    (axes,) = ranking_figure(ROWS, floor=(0.3, "chance"), x_label="", form=".1%", **TITLED).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "middle", "worst"]
    top, bottom = (axes.transData.transform((0, y))[1] for y in (0, 2))
    assert top > bottom
    bars, values = axes.collections
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[0.85, 0.95], [0.6, 0.75], [0.4, 0.6]]
    assert np.asarray(values.get_offsets())[:, 0].tolist() == [0.9, 0.7, 0.5]
    (beside,) = axes.child_axes
    assert [label.get_text() for label in beside.get_yticklabels()] == ["90.0%   a note", "70.0%", "50.0%"]
    assert "chance 30.0%" in texts(axes)
    assert axes.lines[0].get_xdata() == [0.3, 0.3]
    (axes,) = ranking_figure(ROWS, lower_is_better=True, form=".2f", x_label="", **TITLED).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worst", "middle", "best"]
    assert axes.child_axes[0].get_yticklabels()[0].get_text() == "0.50"
    assert not axes.lines


def test_a_floor_far_off_is_named_at_the_end_of_the_axis() -> None:
    close = [Ranked("a", 0.98, 0.97, 0.99), Ranked("b", 0.97, 0.96, 0.98)]
    for floor, words in ((0.2, "← chance 20.0%"), (3.0, "chance 300.0% →")):
        (axes,) = ranking_figure(close, floor=(floor, "chance"), x_label="", form=".1%", **TITLED).axes
        assert words in texts(axes)
        assert not axes.lines
        assert axes.get_xlim() == pytest.approx((0.96 - 0.0015, 0.99 + 0.0015))


def test_a_task_of_regression_is_drawn_in_the_order_of_x() -> None:
    x, y = np.array([[2.0], [0.0], [1.0]]), np.array([4.0, 0.0, 1.0])
    predictions = {"before": np.array([300.0, 0.0, 0.0]), "after": y + 0.5}
    figure = function_figure(([0, 2], [0, 4]), (x, y), predictions, deviations={"after": [0.1, 0.2, 0.3]}, **TITLED)
    axes = figure.axes[0]
    lines = {each.get_label(): np.asarray(each.get_xydata()).tolist() for each in axes.lines}
    assert lines["true"] == [[0, 0], [1, 1], [2, 4]]
    assert lines["after"] == [[0, 0.5], [1, 1.5], [2, 4.5]]
    (band,) = axes.collections
    np.testing.assert_allclose(sorted({y for x, y in band.get_paths()[0].vertices if x == 1}), [0.9, 2.1])
    assert lines["support"] == [[0, 0], [2, 4]]
    assert axes.get_ylim() == pytest.approx((0 - 0.24, 8 + 0.24))  # not as far as 300
    assert {"before", "after", "true", "support"} <= set(texts(axes))
    alone = function_figure(([0, 2], [0, 4]), (x, y), {"only": y}, **TITLED).axes[0]
    assert alone.lines[1].get_color() != axes.lines[1].get_color()  # grey is for before any step
    assert {text.get_text(): text.get_color() for text in alone.get_legend().texts}["true"] == INK


@pytest.mark.parametrize(("way", "shot", "queries"), [(2, 1, 1), (2, 1, 5), (5, 1, 15), (20, 1, 5)])
def test_nothing_is_cut_off_whatever_the_episode(way: int, shot: int, queries: int, assert_legible) -> None:
    names = [
        "Angelic/character01/rot090",
        "Atemayar_Qelisayer/character26/rot180",
        *(f"character {i}" for i in range(18)),
    ]
    assert_legible(episode_figure(**episode(way, shot, queries, way + 3, names[:way])))
    made = features(way) | {"names": names[:way]}
    assert_legible(embedding_figure(**made))


def test_nothing_of_the_charts_is_cut_off(assert_legible) -> None:
    ones = [1.0] * 30
    names = ["maml", "meta-sgd, fully trained", "anil"]
    rows = [Ranked(name, 0.9, 0.89, 0.91, "a longer note than most") for name in names]
    for figure in (
        lines_figure(dict.fromkeys(names, line(list(range(30)), ones, ones, ones)), **AXES, **TITLED)[0],
        ranking_figure(rows, floor=(0.9, "chance"), x_label="accuracy", **TITLED),
        function_figure(([0], [0]), ([0, 1], [0, 1]), {name: [0, 1] for name in names}, **TITLED),
    ):
        assert_legible(figure)


def test_a_long_name_loses_its_middle() -> None:
    assert short("short") == "short"
    name = short("Angelic/character01/rot090", 12)
    assert (len(name), name) == (12, "Angeli…ot090")


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for i in range(2):
        save_figure(episode_figure(**episode(2, 1, 1, wrong=1)), tmp_path / f"episode{i}.png")
        save_figure(embedding_figure(**features()), tmp_path / f"embedding{i}.png")
        save_figure(ranking_figure(ROWS, x_label="accuracy", **TITLED), tmp_path / f"comparison{i}.pdf")
    for name in ("episode{}.png", "embedding{}.png", "comparison{}.pdf"):
        assert (tmp_path / name.format(0)).read_bytes() == (tmp_path / name.format(1)).read_bytes()


def test_a_ranking_of_nobody_is_refused() -> None:
    with pytest.raises(MetaRLError, match="0 rows"):
        ranking_figure([], x_label="accuracy", **TITLED)
