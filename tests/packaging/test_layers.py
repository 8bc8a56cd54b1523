"""The layers that pyproject.toml declares: nothing imports what lies above it, and nothing imports in a circle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Check the contracts on the package in a folder."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", code, "--no-cache", str(ROOT / "pyproject.toml")]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package as it is imported, with envs and agents in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "metarl", tmp_path / "metarl", ignore=ignored)
    for name in ("envs", "agents"):
        shutil.copytree(ROOT / name, tmp_path / "metarl" / name, ignore=ignored)
    return tmp_path


def test_no_layer_imports_a_higher_one_and_nothing_in_a_circle(package: Path) -> None:
    done = lint(package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/device.py", "import metarl.rollout.rollout"),
        ("fewshot/scoring.py", "import metarl.algorithm.algorithm"),
        ("envs/bandit.py", "import metarl.agents.rl2"),
        ("core/errors.py", "import metarl.core.files"),
    ],
)
def test_an_import_that_breaks_a_contract_is_seen(package: Path, file: str, line: str) -> None:
    with (package / "metarl" / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = lint(package)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
