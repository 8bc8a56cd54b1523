"""Reports: one page from several runs, whole in itself, that opens without an error."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from metarl.cli.main import main
from metarl.fewshot.config import FewShotConfig
from metarl.plotting.style import INK, framed_figure
from metarl.plotting.video import encoded_within
from metarl.report.differences import config_rows
from metarl.report.page import Listing, Part, ShownFigure, ShownFilm, page, svg

SMALL = ["--config.tasks", "2", "--config.total-timesteps", "500", "--quiet"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def drawn(label: str = "x < y") -> Figure:
    figure, axes = framed_figure(label, "return")
    axes.plot([0, 1], [2, 3], color=INK)
    return figure


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two agents and a few-shot learner, each trained for a moment."""
    folder = tmp_path_factory.mktemp("report")
    runs = ["--runs", str(folder)]
    for agent, more in (("maml", ["--config.episodes", "3"]), ("pearl", ["--config.updates", "2"])):
        train = ["train", agent, "metarl/PointNavigation-v0", "--variant", "pearl", "--name", agent]
        main([*train, *SMALL, *more, *runs])
    few = ["fewshot", "train", "prototypical", "--iterations", "3", "--config.width", "4", "--name", "few", "--quiet"]
    main([*few, *runs])
    output = folder / "report.html"
    paths = [str(folder / name) for name in ("maml", "pearl", "few")]
    main(["report", *paths, "--tasks", "3", "--episodes", "4", "--shots", "1", "2", "--output", str(output), "--quiet"])
    return output


def test_a_report_has_all_of_its_runs_and_needs_nothing_else(report: Path) -> None:
    text = report.read_text()
    assert len(text) < 10e6
    links = re.findall(r"""(?:src|href)=["']([^"']*)""", text)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    for words in ("Side by side", "maml", "pearl", "Single tasks", "goal[0]", "prototypical", "Calibration of seed 0"):
        assert words in text, words
    assert "metarl train maml metarl/PointNavigation-v0 --variant pearl" in text
    assert text.count("<svg") >= 11
    assert text.count("data:video/mp4") + text.count("data:image/gif") == 2


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("size", ["1100,900", "420,900"])
def test_a_browser_opens_it_without_an_error(report: Path, tmp_path: Path, size: str) -> None:
    picture = tmp_path / "page.png"
    said = subprocess.run(
        [
            *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--window-size={size}", f"--screenshot={picture}", report.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stderr
    assert "CONSOLE" not in said
    assert np.asarray(Image.open(picture).convert("L")).std() > 5


def test_what_is_written_is_escaped_and_its_colours_follow_the_page() -> None:
    rows = [{"name": "<b>", "return": 1.25, "known": None}, {"name": "c", "return": -3.0, "known": True}]
    part = Part("a <i>", "s & t", {"f": "<u>"}, ["x --y '<z>'"], [ShownFigure(drawn())], [], [Listing("l", rows)])
    text = page("<title>", [part])
    for tag in ("<b>", "<i>", "<u>", "<z>"):
        assert tag not in text
    assert "x &lt; y" in text
    assert '<td data-value="-3.0">−3.00</td>' in text
    assert "–" in text
    assert INK not in str(svg(drawn()))
    assert "var(--ink)" in str(svg(drawn()))


def test_pictures_on_a_page_have_names_of_their_own() -> None:
    first, second = (set(re.findall(r'id="([^"]*)"', str(svg(drawn(), place)))) for place in (0, 1))
    assert first
    assert not first & second
    assert svg(drawn(), 0) == svg(drawn(), 0)
    for name in re.findall(r"url\(#([^)]*)\)", text := str(svg(drawn(), 3))):
        assert f'id="{name}"' in text


def test_configs_differ_where_they_do() -> None:
    one, two = FewShotConfig(), FewShotConfig(iterations=7)
    assert config_rows({"a": one, "b": two}) == [{"field": "iterations", "a": "5000", "b": "7"}]
    assert config_rows({"a": one, "b": one}) == []


def test_a_film_is_made_to_fit() -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 255, (400, 640, 3), dtype=np.uint8) for _ in range(12)]
    content, suffix = encoded_within(200_000, frames, 10)
    assert len(content) <= 200_000
    assert ShownFilm(content, suffix).address.startswith("data:")
    calm = [np.zeros((40, 64, 3), np.uint8)] * 3
    assert len(encoded_within(10**6, calm, 10)[0]) < 10**4


def test_what_is_no_run_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["report"], "Name the run folders"),
        (["report", str(tmp_path)], "is no run folder: it has no run.json"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert words in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
