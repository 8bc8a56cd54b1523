"""The script that runs what waits for a GPU, with rows that need none."""

import json
import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metarl.errors import MetaRLError


@pytest.fixture(scope="module")
def script(root: Path) -> Any:
    return SimpleNamespace(**runpy.run_path(str(root / "scripts" / "gpu_rows.py"), run_name="gpu_rows"))


@pytest.fixture
def place(script: Any, tmp_path: Path) -> Any:
    return script.Place("cpu", tmp_path / "runs", tmp_path / "results")


PUBLISH = (
    "python -c \"import pathlib, sys; p = pathlib.Path(sys.argv[1]); (p / 'a' / 'b').mkdir(parents=True); "
    "(p / 'a' / 'b' / 'summary.json').write_text('new')\" {results}"
)


def test_rows_run_in_their_order_and_are_published_once_whole(script: Any, place: Any) -> None:
    old = place.results / "a" / "b"
    old.mkdir(parents=True)
    (old / "stale.txt").write_text("old")
    rows = [
        script.Row("fails", 1, (PUBLISH, "python -c 'raise SystemExit(3)'")),
        script.Row("tiny", 1, ("python -c 'import sys; print(sys.argv[1:])' {device} {runs}", PUBLISH)),
    ]
    before = script.run_rows(rows[:1], place, 1)
    assert before["fails"]["state"] == "failed"
    assert [path.name for path in old.iterdir()] == ["stale.txt"]  # nothing of a row that failed
    notes = script.run_rows(rows, place, 1)
    assert list(notes) == ["fails", "tiny"]
    assert notes["tiny"]["state"] == "done"
    assert [path.name for path in old.iterdir()] == ["summary.json"]  # nothing of what was there before
    assert (old / "summary.json").read_text() == "new"
    assert f"['cpu', '{place.runs}']" in place.log(rows[1]).read_text()
    assert json.loads(place.notes.read_text()) == notes
    assert not [path.name for path in place.runs.iterdir() if path.is_dir()]
    assert [path.name for path in place.results.glob("a/*")] == ["b"]


def test_what_is_done_is_not_run_again_and_what_is_not_goes_on(script: Any, place: Any) -> None:
    count = "python -c \"open(r'{runs}/count', 'a').write('x')\""
    rows = [script.Row("one", 1, (count,)), script.Row("two", 1, (count, "python -c 'raise SystemExit(1)'"))]
    for _ in range(2):
        script.run_rows(rows, place, 1)
    assert (place.runs / "count").read_text() == "xxx"


@pytest.mark.slow  # it is about seconds, which a busy machine has not
def test_a_row_is_stopped_at_its_bound_and_the_next_has_its_turn(script: Any, place: Any) -> None:
    rows = [
        script.Row("long", 0.1, ("python -c 'import time; time.sleep(50)'", PUBLISH)),
        script.Row("next", 1, ("python -c ''",)),
    ]
    started = time.monotonic()
    notes = script.run_rows(rows, place, 1)
    assert time.monotonic() - started < 40
    assert (notes["long"]["state"], notes["next"]["state"]) == ("unfinished", "done")
    assert not place.results.exists()
    assert "KeyboardInterrupt" in place.log(rows[0]).read_text()  # asked to leave, not killed


def test_no_row_begins_when_time_is_up(script: Any, place: Any) -> None:
    rows = [script.Row("long", 1, ("python -c 'import time; time.sleep(50)'",)), script.Row("next", 1, ())]
    assert list(script.run_rows(rows, place, 0.1)) == ["long"]
    with pytest.raises(MetaRLError, match="--minutes 0: it must be more"):
        script.run_rows(rows, place, 0)


def test_the_plan_is_printed_and_every_command_can_be_run(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(dry_run=True, runs=tmp_path) == 0
    plan = capsys.readouterr().out
    for row in script.ROWS:
        assert f"{row.name} (to do, {row.minutes:g} minutes)" in plan
    assert "metarl.cli train rl2 metarl/GridNavi-v0 --seed 0" in plan.splitlines()[1]
    assert len({row.name for row in script.ROWS}) == len(script.ROWS)
    assert script.main(only=("nothing",), dry_run=True) == 2
    assert "['nothing'] are no rows" in capsys.readouterr().err
    with pytest.raises(MetaRLError, match=r"'rm' is no metarl, pytest, python or file of scripts/"):
        script.Place("cpu", tmp_path, tmp_path).arguments(script.Row("bad", 1, ()), "rm -r x")


@pytest.mark.slow
def test_a_tiny_training_goes_through(script: Any, place: Any) -> None:
    small = "--config.tasks 2 --config.episodes 2 --config.hidden 8 --config.inner-steps 1"
    row = script._trained(
        "tiny", 3, f"maml metarl/PointNavigation-v0 --variant pearl {small} --config.total-timesteps 400", "--tasks 4"
    )
    assert script.run_rows([row], place, 3)["tiny"]["state"] == "done", place.log(row).read_text()
    summary = json.loads((place.results / "maml-custom" / "PointNavigation-pearl" / "summary.json").read_text())
    assert summary["seeds"] == [0]


def test_the_roofline_of_point_navigation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    from bench.roofline import Roofline, policy_and_physics

    # 2·64 + 64, 64·64 + 64, 64·2 + 2 and 2 are 4484 numbers a task; 12 an environment, and two flags of a byte.
    work = policy_and_physics(environments=40, tasks=2)
    assert work.bytes == 4 * (2 * 4484 + 40 * 12) + 40 * 2
    assert work.flops == 40 * 2 * (2 * 64 + 64 * 64 + 64 * 2)
    roof = Roofline(bandwidth=1e3, flops=1e9)
    assert roof.seconds(work) == pytest.approx(work.bytes / 1e3)
    assert Roofline(bandwidth=1e12, flops=1e3).seconds(work) == pytest.approx(work.flops / 1e3)
