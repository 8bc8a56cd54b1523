"""The script that measures on a GPU, with rows that need none: processes, records, and the table made of them."""

import importlib
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from metarl.core.errors import MetaRLError
from metarl.rollout.compiled import FellBack


@pytest.fixture
def gpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of scripts/gpu."""
    monkeypatch.syspath_prepend(str(root / "scripts"))
    before = set(sys.modules)
    from gpu import agreement, installed, needs, plan, record, row, table

    yield SimpleNamespace(
        agreement=agreement, installed=installed, needs=needs, plan=plan, record=record, row=row, table=table
    )
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("gpu", "bench"):
            del sys.modules[name]


@pytest.fixture
def place(gpu: Any, tmp_path: Path) -> Any:
    """Where a row's function is a line of Python, in a process that starts at once; it knows its ``json`` file."""

    class Bare(gpu.plan.Place):  # type: ignore[misc]  # the scripts are no package
        def command(self, row: Any, seconds: float) -> list[str]:
            head = f"import json, os, subprocess, sys, time; path = {str(self.output / row.name)!r} + '.json'; "
            return [sys.executable, "-S", "-c", head + row.function]

    return Bare(tmp_path / "output", "cpu", 0.5)


WRITE = "open(path, 'w').write(json.dumps({'numbers': [{'name': 'n', 'value': 1, 'unit': '', 'note': ''}]})); "


def rows_of(gpu: Any, *functions: str, seconds: float = 60) -> list[Any]:
    return [gpu.plan.Row(f"row{i}", f"Row {i}", seconds, function) for i, function in enumerate(functions)]


def test_no_row_costs_another_and_numbers_are_kept(gpu: Any, place: Any, tmp_path: Path) -> None:
    sleeper = (
        f"child = subprocess.Popen(['sleep', '600']); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); "
    )
    rows = rows_of(
        gpu,
        WRITE + "print('said')",
        WRITE + "sys.exit(3)",
        WRITE + sleeper + "time.sleep(600)",
        "open(path, 'w').write('no json')",
        "os.kill(os.getpid(), 11)",
        WRITE,
    )
    rows[2] = gpu.plan.Row("row2", "Row 2", 2, rows[2].function)
    started = time.monotonic()
    states = gpu.plan.run_rows(rows, place, 120)
    assert time.monotonic() - started < 60
    assert list(states.values()) == ["done", "failed", "stopped at its bound", "failed", "failed", "done"]
    records = [place.record(row).content for row in rows if row.name != "row3"]
    assert [record["state"] for record in records] == ["done", "failed", "stopped at its bound", "failed", "done"]
    assert [len(record["numbers"]) for record in records] == [1, 1, 1, 0, 1]
    assert records[1]["why"] == "exit code 3; see log.txt"
    assert (records[0]["title"], records[0]["scale"]) == ("Row 0", 0.5)
    assert "== row0: at most 60 s\nsaid\n" in (place.output / "log.txt").read_text()
    child = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    if child.parent.parent.exists() and child.exists():  # killed with its parent, whether it was waited for or not
        assert child.read_text().split()[2] == "Z"


def test_what_a_row_says_fills_no_disk(gpu: Any, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.plan, "_LOGGED", 1000)
    gpu.plan.run_rows(rows_of(gpu, "print('x' * 100_000)", "print('next')"), place, 60)
    said = (place.output / "log.txt").read_text()
    assert said.count("x") < 1000
    assert said.endswith("next\n")


def test_the_whole_has_a_bound_and_leftover_time_goes_to_what_can_go_on(gpu: Any, place: Any) -> None:
    again = "seen = os.path.exists(path + 'l'); open(path + 'l', 'w'); time.sleep(0 if seen else 600)"
    first = gpu.plan.Row("first", "First", 1, again, continues=True)
    # The last two are stopped as well: one has its number, and the other none yet.
    rows = [first, *rows_of(gpu, "pass", WRITE + "time.sleep(600)", again, seconds=1)]
    states = gpu.plan.run_rows(rows, place, 60)
    assert list(states.values()) == ["done", "done", "stopped at its bound", "done"]
    assert place.record(first).content["seconds"] >= 1  # of both turns
    late = rows_of(gpu, "time.sleep(600)", "pass", seconds=1)
    assert list(gpu.plan.run_rows(late, place, 1.5).values()) == ["stopped at its bound", "not begun"]
    assert place.record(late[1]).content["why"] == "no time was left"
    with pytest.raises(MetaRLError, match="--minutes 0: it must be more"):
        gpu.plan.run_rows(rows, place, 0)


def test_the_rows_fit_their_time_and_their_files(gpu: Any) -> None:
    rows = gpu.plan.ROWS
    assert sum(row.seconds for row in rows) <= 9 * 60 - 5
    assert [row.name for row in rows] == ["tests", "point", "trpo", "gridnavi", "bandit", "fewshot", "jax"]
    assert len(rows) + 1 <= 8  # a file each, and the log
    assert sum(row.seconds for row in gpu.plan.WARP_ROWS) <= 9 * 60 - 5
    assert len(rows) * gpu.plan._LOGGED <= gpu.record.MOST_BYTES
    for row in rows:
        module, _, function = row.function.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_a_record_is_on_the_disk_with_every_number(gpu: Any, tmp_path: Path) -> None:
    record = gpu.record.Record(tmp_path / "row.json")
    record.number("speed", 1.0, "steps/s")
    record.number("speed", 2.0, "steps/s", "better")
    record.missing("captured", "no GPU")
    for step in range(3):
        record.point("training", steps=step, value=1 / 3)
    record.number("other", 3.0, "s")
    read = gpu.record.Record.read(tmp_path / "row.json").content
    assert [(each["name"], each["value"], each["note"]) for each in read["numbers"]] == [
        ("speed", 2.0, "better"),
        ("other", 3.0, ""),
    ]
    assert read["missing"] == {"captured": "no GPU"}
    assert read["curves"]["training"][2] == {"steps": 2, "value": 0.33333}
    assert [path.name for path in tmp_path.iterdir()] == ["row.json"]


def test_a_row_names_its_error_beside_its_numbers(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(job: Any, record: Any) -> None:
        record.number("size", job.size(1000), "")
        assert 0 < job.left() <= 30
        raise ValueError("out of luck\nand more")

    fake = ModuleType("fake_row")
    vars(fake)["measure"] = measure
    monkeypatch.setitem(sys.modules, "fake_row", fake)
    monkeypatch.setattr(gpu.row, "_STARTED", time.monotonic())
    assert gpu.row.main("fake", "fake_row:measure", "cpu", "0.01", "30", str(tmp_path)) == 1
    found = json.loads((tmp_path / "fake.json").read_text())
    assert (found["state"], found["why"]) == ("failed", "ValueError: out of luck")
    assert found["numbers"][0]["value"] == 10
    assert found["machine"]["device"] == "cpu"
    assert gpu.row.main("jax", "gpu.nowhere:measure", "cpu", "1", "30", str(tmp_path)) == 1  # such as without JAX
    assert "ModuleNotFoundError" in json.loads((tmp_path / "jax.json").read_text())["why"]
    assert "Traceback" in capsys.readouterr().err


def test_gpu_tests_run_in_their_order_and_only_until_they_pass(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_some.py").write_text(
        "import pathlib, pytest\npytestmark = pytest.mark.gpu  # cuda\n"
        "def test_other(): pass\n"
        f"def test_bad(): assert pathlib.Path({str(tmp_path / 'mended')!r}).exists(), 'not mended'\n"
        "def test_training_is_that_of_the_cpu(): pass\n"
        "def test_a_rollout_is_that_of_the_cpu(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs one\n")
    (tests / "test_damaged.py").write_text("import nowhere  # cuda\n")
    monkeypatch.setattr(gpu.agreement, "_ROOT", tmp_path)
    job = gpu.record.Job("cpu", 1.0, 600.0, time.monotonic())
    record = gpu.record.Record(tmp_path / "tests.json")
    gpu.agreement.measure(job, record)
    names = [name.partition("::test_")[2] for name in record.content["outcomes"]]
    assert names == ["a_rollout_is_that_of_the_cpu", "training_is_that_of_the_cpu", "other", "bad"]
    assert [each["value"] for each in record.content["numbers"]] == [3, 1, 0, 0]
    assert "not mended" in record.content["missing"]["tests/test_some.py::test_bad"]
    assert "nowhere" in record.content["missing"]["tests/test_damaged.py"]
    (tmp_path / "mended").touch()
    gpu.agreement.measure(job, record)
    assert [each["value"] for each in record.content["numbers"]] == [4, 0, 0, 0]
    late = gpu.record.Record(tmp_path / "late.json")
    gpu.agreement.measure(gpu.record.Job("cpu", 1.0, 0.0, time.monotonic()), late)
    assert (late.content["state"], late.content["numbers"][3]["value"]) == ("stopped at its bound", 4)


def test_a_package_of_another_tree_is_refused(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, site = tmp_path / "tree", tmp_path / "site"
    for folder, name in (("metarl", "a.py"), ("envs", "b.py"), ("agents", "c.py")):
        for base in (root / folder, site / ("metarl" if folder == "metarl" else f"metarl/{folder}")):
            base.mkdir(parents=True, exist_ok=True)
            (base / name).write_text("same")
    spec = SimpleNamespace(origin=str(site / "metarl" / "__init__.py"))
    monkeypatch.setattr(gpu.installed.importlib.util, "find_spec", lambda _: spec)
    gpu.installed.check_installed(root)
    (root / "envs" / "b.py").write_text("newer")
    with pytest.raises(MetaRLError, match=r"envs/b\.py differs\); run scripts/gpu_prepare\.sh again"):
        gpu.installed.check_installed(root)


def record_of(**more: Any) -> dict[str, Any]:
    number = {"name": "65,536 environments, captured", "value": 123.4, "unit": "million steps/s", "note": "9% | roof"}
    return {
        "row": "point",
        "title": "Point",
        "target": "100 million",
        "state": "done",
        "scale": 1.0,
        "started": "2026-01-02 03:04:05",
        "machine": {"device": "A GPU", "torch": "2.11.0"},
        "numbers": [number],
        "missing": {"both": "no compiler"},
        **more,
    }


def test_what_was_brought_back_is_published(gpu: Any, tmp_path: Path) -> None:
    page, folder = tmp_path / "gpu.md", tmp_path / "back"
    page.write_text("before\n<!-- gpu:begin -->\n<!-- gpu:end -->\nafter\n")
    folder.mkdir()
    with pytest.raises(MetaRLError, match="holds no record of a row"):
        gpu.table.publish(folder, page)
    (folder / "point.json").write_text(json.dumps(record_of()))
    (folder / "bandit.json").write_text(
        json.dumps(record_of(title="Bandit", target="", numbers=[], missing={}, state="failed", why="full"))
    )
    assert gpu.table.publish(folder, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "Measured on A GPU (torch 2.11.0), 2026-01-02 03:04:05." in text
    assert (
        "| Point (target: 100 million) | 65,536 environments, captured | 123.4 million steps/s | 9% \\| roof |" in text
    )
    assert "|  | both | not measured | no compiler |" in text
    assert "| Bandit | the row itself | failed | full |" in text
    assert "dry run" not in text
    assert not gpu.table.publish(folder, page)  # nothing new
    (folder / "point.json").write_text(json.dumps(record_of(scale=0.01)))
    gpu.table.publish(folder, page)
    assert "At 0.01 of the sizes: a dry run" in page.read_text()
    (folder / "bandit.json").write_text(json.dumps(record_of(machine={"device": "Another"})))
    with pytest.raises(MetaRLError, match="records of 2 machines"):
        gpu.table.publish(folder, page)
    (folder / "bandit.json").write_text("{")
    with pytest.raises(MetaRLError, match="no record"):
        gpu.table.publish(folder, page)


def test_the_warp_engines_row_has_a_table_of_its_own(gpu: Any, tmp_path: Path) -> None:
    page, folder = tmp_path / "gpu.md", tmp_path / "back"
    page.write_text("<!-- gpu:begin -->\nothers\n<!-- gpu:end -->\n<!-- gpu-warp:begin -->\n<!-- gpu-warp:end -->\n")
    folder.mkdir()
    (folder / "warp.json").write_text(json.dumps(record_of(row="warp", title="Warp")))
    assert gpu.table.publish(folder, page)
    others, own = page.read_text().split("<!-- gpu-warp:begin -->")
    assert "others" in others
    assert "| Warp (target: 100 million) |" in own


def test_the_bandit_is_compared_with_its_peer(gpu: Any) -> None:
    def rate(row: str, value: float) -> dict[str, Any]:
        number = {"name": "steps a second", "value": value, "unit": "steps/s", "note": ""}
        return record_of(row=row, title=row, numbers=[number])

    assert "1.50 × its steps/s | target: 1.0" in gpu.table.table([rate("bandit", 3e5), rate("jax", 2e5)])
    assert "its steps/s" not in gpu.table.table([rate("bandit", 3e5)])


def test_what_fails_or_falls_back_is_noted(gpu: Any, tmp_path: Path) -> None:
    record = gpu.record.Record(tmp_path / "row.json")
    with gpu.record.attempt(record, "captured"):
        warnings.warn("no compiler", FellBack, stacklevel=1)
    with gpu.record.attempt(record, "large"):
        raise RuntimeError("no memory\nand more")
    assert record.content["missing"] == {"captured": "FellBack: no compiler", "large": "RuntimeError: no memory"}


def test_the_command_line(root: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        script = str(root / "scripts" / "gpu_rows.py")
        return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)

    plan = run("--plan", "--only", "trpo")
    assert plan.stdout == "trpo: MAML-TRPO, an iteration of 200 tasks × 20 × 100, at most 60 s\n"
    wrong = run("--only", "nothing")
    assert wrong.returncode == 2
    assert "['nothing'] are no rows; choose from tests, point" in wrong.stderr


def test_what_is_carried_for_the_warp_engine_beyond_the_rest(gpu: Any) -> None:
    pytest.importorskip("mujoco_warp", reason="the extra warp is not installed")
    beyond = gpu.needs.needs("mujoco-warp")
    assert {"mujoco-warp", "warp-lang"} <= set(beyond)
    assert not set(beyond) & {*gpu.needs.needs(), *gpu.needs.THERE}


def test_what_is_carried(gpu: Any, root: Path) -> None:
    needs = gpu.needs.needs()
    assert {"gymnasium", "mujoco", "mujoco-core", "stable-baselines3", "tyro", "rich", "pytest", "pillow"} <= set(needs)
    assert not {"metarl-suite", *gpu.needs.THERE, *gpu.needs.LEFT_OUT, "contourpy", "grpcio"} & set(needs)
    subprocess.run(["bash", "-n", str(root / "scripts" / "gpu_prepare.sh")], check=True)
    for word, expected in (
        ("--wrong", "error: --wrong is unknown; there are --check, --warp and a folder\n"),
        ("/elsewhere", "error: /elsewhere is outside of the tree; name a folder in it\n"),
    ):
        command = ["bash", str(root / "scripts" / "gpu_prepare.sh"), word]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (said.returncode, said.stderr) == (2, expected)
