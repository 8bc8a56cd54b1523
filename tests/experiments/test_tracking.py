"""Tracking: every row of the log also goes to Weights & Biases, in one of its runs for each seed."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from metarl.cli.main import main

ARGUMENTS = ["train", "maml", "metarl/PointNavigation-v0", "--variant", "pearl", "--quiet", "--track"]
ARGUMENTS += ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4"]
STEPS = 2 * 3 * 20 * 4  # of an iteration


def train(folder: Path, *more: str) -> None:
    main([*ARGUMENTS, "--runs", str(folder), "--name", "run", *more])


def test_rows_go_to_the_package_and_a_resumed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[dict[str, Any], list[tuple[int, dict[str, float]]], list[str]]] = []

    def init(**options: Any) -> Any:
        made.append((options, [], []))
        _, rows, ended = made[-1]
        return SimpleNamespace(log=lambda row, step: rows.append((step, row)), finish=lambda: ended.append("ended"))

    stand_in = ModuleType("wandb")
    stand_in.init = init  # type: ignore[attr-defined]
    stand_in.Settings = lambda **options: SimpleNamespace(project=None, **options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    train(tmp_path, "--config.total-timesteps", str(2 * STEPS))
    train(tmp_path, "--config.total-timesteps", str(2 * STEPS), "--resume", "--timesteps", str(3 * STEPS))
    (first, rows, ended), (second, more, _) = made
    assert (first["project"], first["name"], first["group"]) == ("metarl", "run-seed-0", "run")
    assert first["id"] == second["id"]
    assert first["config"]["agent"] == "maml"
    assert first["config"]["seed"] == 0
    assert [step for step, _ in rows + more] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert any(name.startswith("rollout/return") for name in rows[0][1])
    assert ended == ["ended"]


def test_the_package_itself_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra track")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "--config.total-timesteps", str(STEPS))
    kept = list((tmp_path / "run" / "seed-0" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(kept) == 1
    assert kept[0].stat().st_size > 1000


def test_where_it_is_absent_one_line_says_so_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit) as stop:
        train(tmp_path)
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "pip install 'metarl-suite[track]'" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()
