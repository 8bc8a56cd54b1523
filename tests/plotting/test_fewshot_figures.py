"""Pictures of few-shot learning: what is drawn is what was given, nothing is cut off, and bad input is refused."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metarl.core.errors import MetaRLError
from metarl.plotting.fewshot.episode import (
    MOST_QUERIES,
    comparison_figure,
    embedding_figure,
    episode_figure,
    regression_figure,
    save_figure,
    steps_figure,
)
from metarl.plotting.fewshot.layout import cut, text_width
from metarl.plotting.style import AGENTS, DPI, GOAL, INK

TITLED: dict[str, Any] = {"title": "a title", "subtitle": "a subtitle"}
ROWS = [("worst", 0.5, 0.4, 0.6, ""), ("best", 0.9, 0.85, 0.95, "a note"), ("middle", 0.7, 0.6, 0.75, "")]


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
    return [text.get_text() for text in axes.texts]


def dots(axes: Axes, label: str) -> np.ndarray:
    found = [np.asarray(each.get_offsets()) for each in axes.collections if each.get_label() == label]
    return np.concatenate(found) if found else np.empty((0, 2))


def framed(axes: Axes) -> list[tuple[float, float]]:
    """Where the wrong ones' frames are."""
    frames = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_edgecolor() == to_rgba(GOAL)]
    return [each.get_xy() for each in frames]


def assert_nothing_is_cut_off_or_covered(figure: Figure) -> None:
    figure.set_dpi(DPI)  # at which it is saved: widths of letters are whole pixels
    FigureCanvasAgg(figure).draw()
    boxes = []
    for axes in [each for top in figure.axes for each in (top, *top.child_axes)]:
        low, high = sorted(axes.get_ylim())
        ticks = [label for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
        labels = (*ticks, axes.xaxis.label, axes.yaxis.label) if axes.axison else ()
        for text in (*axes.texts, *labels):
            if text.get_text().strip() and text.get_visible():
                extent = text.get_window_extent()
                assert extent.x0 >= -1, text
                assert extent.y0 >= -1, text
                assert extent.x1 <= figure.bbox.x1 + 1, text
                assert extent.y1 <= figure.bbox.y1 + 1, text
                boxes.append((extent, text))
        boxes += [(image.get_window_extent(), image) for image in axes.images]
    for (one, name), (other, other_name) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, down) <= 1.5, (name, other_name)


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
    assert "queries, framed where wrong" in texts(axes)


def test_more_queries_than_fit_are_left_out_but_counted() -> None:
    axes = episode_figure(**episode(2, 12, 20, wrong=3)).axes[0]
    assert len(axes.images) == 2 * (10 + MOST_QUERIES)
    assert {"18/20", "19/20", "15 of 20 queries, framed where wrong", "support, 10 of 12"} <= set(texts(axes))
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
    sheet = figure.axes[0]
    (plane,) = sheet.child_axes
    assert "two principal components, with 80% and 20% of the variance" in texts(sheet)
    for kind in ("queries", "support"):
        np.testing.assert_allclose(np.abs(dots(plane, kind)), [[2, 0], [2, 0], [0, 1], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(np.abs(dots(plane, "prototypes")), [[1, 0], [0, 0.5]], atol=1e-12)
    queries = [each for each in plane.collections if each.get_label() == "queries"]
    assert [to_hex(each.get_facecolor()[0]) for each in queries] == list(AGENTS[:2])
    assert plane.get_position().x0 == pytest.approx(sheet.get_position().x0)
    assert plane.get_position().y1 == pytest.approx(sheet.get_position().y1)
    assert [text for text in texts(sheet) if "character" in text] == ["character 0", "character 1"]


def test_features_of_one_number_or_none_that_vary_are_drawn_too() -> None:
    made = features(way=30, d=1) | {"prototypes": None}
    sheet = embedding_figure(**made).axes[0]
    assert "two principal components, with 100% and 0% of the variance" in texts(sheet)
    assert len(dots(sheet.child_axes[0], "queries")) == 120
    assert not len(dots(sheet.child_axes[0], "prototypes"))
    assert "prototypes" not in texts(sheet)
    same = features() | {"support": np.ones((2, 3)), "queries": np.ones((8, 3)), "prototypes": None}
    assert "two principal components, with 0% and 0% of the variance" in texts(embedding_figure(**same).axes[0])


def test_a_curve_has_its_band_and_its_name_and_a_short_one_is_led_there() -> None:
    long = ([0, 1, 5], [0.2, 0.8, 0.9], [0.1, 0.7, 0.8], [0.3, 0.9, 1.0])
    axes = steps_figure(
        {"maml": long, "meta-sgd": ([0, 1], [0.2, 0.95], [0.1, 0.9], [0.3, 0.97])}, y_label="accuracy", **TITLED
    ).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.array(long[:2]).T)
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert [0, 0.1] in corners
    assert [5, 1.0] in corners
    (leader,) = (each for each in axes.collections if isinstance(each, LineCollection))
    np.testing.assert_allclose(leader.get_segments()[0], [[1, 0.95], [5, 0.95]])
    assert {"maml", "meta-sgd", "a title", "a subtitle"} == set(texts(axes))
    assert axes.get_xticks().tolist() == [0, 1, 5]
    assert axes.get_ylabel() == "accuracy"


def test_learners_are_compared_from_the_best_down() -> None:
    (axes,) = comparison_figure(ROWS, floor=(0.3, "chance"), **TITLED).axes[0].child_axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "middle", "worst"]
    top, bottom = (axes.transData.transform((0, y))[1] for y in (0, 2))
    assert top > bottom
    bars, values = axes.collections
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[0.85, 0.95], [0.6, 0.75], [0.4, 0.6]]
    assert np.asarray(values.get_offsets())[:, 0].tolist() == [0.9, 0.7, 0.5]
    assert [text.strip() for text in texts(axes) if text.strip()] == [
        "90.0%",
        "a note",
        "70.0%",
        "50.0%",
        "chance 30.0%",
    ]
    assert axes.lines[0].get_xdata() == [0.3, 0.3]
    (axes,) = comparison_figure(ROWS, lower_is_better=True, form=".2f", **TITLED).axes[0].child_axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worst", "middle", "best"]
    assert "0.50" in texts(axes)
    assert not axes.lines


def test_a_floor_far_off_is_named_at_the_end_of_the_axis() -> None:
    close = [("a", 0.98, 0.97, 0.99, ""), ("b", 0.97, 0.96, 0.98, "")]
    for floor, words in ((0.2, "← chance 20.0%"), (3.0, "chance 300.0% →")):
        (axes,) = comparison_figure(close, floor=(floor, "chance"), **TITLED).axes[0].child_axes
        assert words in texts(axes)
        assert not axes.lines
        assert axes.get_xlim() == pytest.approx((0.96 - 0.0015, 0.99 + 0.0015))


def test_a_task_of_regression_is_drawn_in_the_order_of_x() -> None:
    x, y = np.array([[2.0], [0.0], [1.0]]), np.array([4.0, 0.0, 1.0])
    predictions = {"before": np.array([300.0, 0.0, 0.0]), "after": y + 0.5}
    figure = regression_figure([0, 2], [0, 4], x, y, predictions, deviations={"after": [0.1, 0.2, 0.3]}, **TITLED)
    axes = figure.axes[0]
    lines = {each.get_label(): np.asarray(each.get_xydata()).tolist() for each in axes.lines}
    assert lines["true"] == [[0, 0], [1, 1], [2, 4]]
    assert lines["after"] == [[0, 0.5], [1, 1.5], [2, 4.5]]
    band, support = axes.collections
    np.testing.assert_allclose(sorted({y for x, y in band.get_paths()[0].vertices if x == 1}), [0.9, 2.1])
    assert np.asarray(support.get_offsets()).tolist() == [[0, 0], [2, 4]]
    assert axes.get_ylim() == pytest.approx((0 - 0.24, 8 + 0.24))  # not as far as 300
    assert {"before", "after", "true", "● support"} <= set(texts(axes))
    alone = regression_figure([0, 2], [0, 4], x, y, {"only": y}, **TITLED).axes[0]
    assert alone.lines[1].get_color() != axes.lines[1].get_color()  # grey is for before any step
    assert alone.texts[0].get_color() == INK


@pytest.mark.parametrize(("way", "shot", "queries"), [(2, 1, 1), (2, 1, 5), (5, 1, 15), (20, 1, 5)])
def test_nothing_is_cut_off_whatever_the_episode(way: int, shot: int, queries: int) -> None:
    names = [
        "Angelic/character01/rot090",
        "Atemayar_Qelisayer/character26/rot180",
        *(f"character {i}" for i in range(18)),
    ]
    assert_nothing_is_cut_off_or_covered(episode_figure(**episode(way, shot, queries, way + 3, names[:way])))
    made = features(way) | {"names": names[:way]}
    assert_nothing_is_cut_off_or_covered(embedding_figure(**made))


def test_nothing_of_the_charts_is_cut_off() -> None:
    curve = (np.arange(30), np.ones(30), np.ones(30), np.ones(30))
    names = ["maml", "meta-sgd, fully trained", "anil"]
    rows = [(name, 0.9, 0.89, 0.91, "a longer note than most") for name in names]
    for figure in (
        steps_figure(dict.fromkeys(names, curve), y_label="accuracy", **TITLED),
        comparison_figure(rows, floor=(0.9, "chance"), **TITLED),
        comparison_figure(rows[:1], title="t", subtitle="a subtitle that is much longer than its picture is wide " * 2),
        regression_figure([0], [0], [0, 1], [0, 1], {name: [0, 1] for name in names}, **TITLED),
    ):
        assert_nothing_is_cut_off_or_covered(figure)


def test_a_long_name_loses_its_middle() -> None:
    assert cut("short", 100, 10) == "short"
    name = cut("Angelic/character01/rot090", 60, 10)
    assert text_width(name, 10) <= 60 < text_width("Angelic/character01/rot090", 10)
    assert name.startswith("Ang")
    assert "…" in name
    assert name.endswith("90")


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for i in range(2):
        save_figure(episode_figure(**episode(2, 1, 1, wrong=1)), tmp_path / f"episode{i}.png")
        save_figure(embedding_figure(**features()), tmp_path / f"embedding{i}.png")
        save_figure(comparison_figure(ROWS, **TITLED), tmp_path / f"comparison{i}.pdf")
    for name in ("episode{}.png", "embedding{}.png", "comparison{}.pdf"):
        assert (tmp_path / name.format(0)).read_bytes() == (tmp_path / name.format(1)).read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": np.zeros((4, 8, 9))}, r"support of shape \(2, 8, 8\) and queries of shape \(4, 8, 9\)"),
        ({"queries": np.zeros((0, 8, 8))}, r"queries of shape \(0, 8, 8\)"),
        ({"support": np.zeros((2, 4, 8, 8)), "queries": np.zeros((4, 4, 8, 8))}, "4 channels; 1, grey, or 3"),
        ({"support": np.full((2, 8, 8), np.nan)}, "128 are NaN or infinite"),
        ({"support": torch.zeros(2, 8, 8, requires_grad=True)}, "without gradients"),
        ({"support_labels": [0, 1, 0]}, r"support_labels has shape \(3,\); 2 samples have labels \(2,\)"),
        ({"query_labels": [0, 1, 0, 2]}, "query_labels holds 2; 2 names are given, for 0 to 1"),
        ({"predicted": [0, 1, 0, -1]}, "predicted holds -1; 2 names"),
        ({"predicted": [0, 1, 0, 0.5]}, "predicted holds 0.5; 2 names"),
        ({"predicted": ["a", "b", "a", "b"]}, "predicted: no array of numbers"),
    ],
)
def test_bad_episodes_are_refused_with_numbers(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        episode_figure(**{**episode(2, 1, 2), **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"support": np.zeros((2, 4))}, r"support \(2, 4\), queries \(8, 3\), prototypes \(2, 3\)"),
        ({"prototypes": np.zeros((3, 3))}, "3 prototypes of 2 classes"),
        ({"query_labels": [0, 1]}, r"query_labels has shape \(2,\); 8 samples"),
    ],
)
def test_bad_features_are_refused_with_numbers(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        embedding_figure(**{**features(), **changed})


def test_bad_scores_are_refused_with_numbers() -> None:
    one = np.ones(2)
    for curves, message in (
        ({}, "0 curves"),
        ({"maml": ([0, 1, 2], one, one, one)}, r"shapes \[\(3,\), \(2,\), \(2,\), \(2,\)\]"),
        ({"maml": ([1, 0], one, one, one)}, r"steps \[1.0, 0.0\] do not increase"),
        ({"maml": ([0, 1], one, [1, 2], one)}, r"after 1 steps the interval is \[2.0, 1.0\]"),
    ):
        with pytest.raises(MetaRLError, match=message):
            steps_figure(curves, y_label="accuracy", **TITLED)
    for rows, floor, message in (
        ([], None, "0 rows"),
        ([("maml", 0.5, 0.6, 0.4, "")], None, r"'maml' has value 0.5 and interval \[0.6, 0.4\]"),
        ([("maml", np.nan, 0.4, 0.6, "")], None, "'maml' has value nan"),
        (ROWS, (np.inf, "chance"), "floor 'chance' is inf"),
    ):
        with pytest.raises(MetaRLError, match=message):
            comparison_figure(rows, floor=floor, **TITLED)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"support_x": [1]}, "support of 1 x and 2 y"),
        ({"predictions": {"maml": [1, 2]}}, r"0 deviations of \[2\] numbers"),
        ({"predictions": {}}, "0 predictions"),
        ({"query_x": np.zeros((3, 2))}, r"query_x has shape \(3, 2\)"),
        ({"deviations": {"cnp": [1, 1, 1]}}, r"Deviations of \['cnp'\] without a prediction; there are maml"),
        ({"deviations": {"maml": [1, -1, 1]}}, "least deviation is -1.0"),
    ],
)
def test_bad_regressions_are_refused_with_numbers(changed: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"support_x": [0, 1], "support_y": [0, 1], "query_x": [0, 1, 2], "query_y": [0, 1, 2]}
    with pytest.raises(MetaRLError, match=message):
        regression_figure(**{**given, "predictions": {"maml": [0, 1, 2]}, **TITLED, **changed})
