"""Progress: bars on a terminal, lines in a log, nothing where it is not wanted, and nothing behind an error."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main
from metarl.experiments import progress
from metarl.experiments.progress import Reporter

NAVIGATION = "metarl/PointNavigation-v0"
TIMES = progress.FIRST, progress.EVERY


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.1)


def work(capsys: pytest.CaptureFixture[str], **options: Any) -> list[str]:
    with Reporter({3: "seed 3", 4: "seed 4"}, 1000, "steps", **options) as reporter:
        for done in (100, 300):
            reporter(3, done, f"return {done / 2}")
            time.sleep(0.2)
    return capsys.readouterr().err.splitlines()


def test_a_line_says_steps_rate_return_and_the_time_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    said = work(capsys)
    assert re.fullmatch(r"seed 3: 100 of 1,000 steps \(10%\), return 50.0", said[0])
    wanted = r"seed 3: 300 of 1,000 steps \(30%\), [\d,]+ steps/s, return 150.0, ETA 0:00:0\d"
    assert any(re.fullmatch(wanted, line) for line in said)
    # While one works, nothing is said of the other; at the end there is a line for each.
    assert [line.partition(":")[0] for line in said[:-1]] == ["seed 3"] * (len(said) - 1)
    assert said[-1] == "seed 4: 0 of 1,000 steps (0%)"
    assert 4 <= len(said) <= 7


def test_the_first_line_comes_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter({0: "seed 0"}, 10, "steps"):
        time.sleep(0.1)
        assert capsys.readouterr().err == "seed 0: 0 of 10 steps (0%)\n"


def test_the_first_line_comes_within_ten_seconds_and_then_two_a_minute() -> None:
    assert TIMES[0] < 10
    assert TIMES[1] == 30


def test_quiet_shows_nothing_and_short_work_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert work(capsys, quiet=True) == []
    with Reporter({0: "seed 0"}, 1, "points") as reporter:
        reporter(0, 1)
    assert capsys.readouterr().err == ""
    with Reporter({0: "seed 0"}, 1, "steps", summary=True) as reporter:
        reporter(0, 1)
    assert capsys.readouterr().err == "seed 0: 1 of 1 steps (100%)\n"


def test_behind_an_error_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Reporter({0: "seed 0"}, 1, "steps", summary=True):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = "\n".join(work(capsys))
    assert "━" in said
    assert "30%" in said
    assert "seed 4" in said
    assert "of 1,000" not in said
    assert work(capsys, quiet=True) == []


def test_every_long_command_shows_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.001)
    small = ["--config.tasks", "2", "--config.episodes", "3", "--config.total-timesteps", "500"]
    train = ["train", "maml", NAVIGATION, "--variant", "pearl", "--runs", str(tmp_path), "--name", "run", *small]
    few = ["--config.iterations", "3", "--config.width", "4", "--runs", str(tmp_path), "--name", "few"]
    gif = ["--output", str(tmp_path / "a.gif")]
    commands = [
        (train, r"seed 0: 7\d\d of \d+ steps|seed 0: 500 of 500 steps \(100%\), .*return"),
        (["evaluate", str(tmp_path / "run"), "--points", "2"], r"seed 0: 2 of 2 points \(100%\).*, return -"),
        (["render", NAVIGATION, *gif], r"drawing: \d+ of \d+ pictures"),
        (["fewshot", "train", "prototypical", *few], r"seed 0: 3 of 3 iterations \(100%\)"),
        (["fewshot", "evaluate", str(tmp_path / "few"), "--episodes", "400"], r"seed 0: 400 of 400 episodes"),
    ]
    for words, wanted in commands:
        main([*words, "--quiet", *(["--overwrite"] if "train" in words else [])])
        assert capsys.readouterr().err == ""
        for file in (*tmp_path.glob("*/evaluation*"),):
            file.unlink()
        main([*words, *(["--overwrite"] if "train" in words else [])])
        assert re.search(wanted, capsys.readouterr().err), words
