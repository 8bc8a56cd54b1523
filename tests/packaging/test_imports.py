"""Who may import whom, and by which name."""

import ast
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

# The one way that dependencies point: agents -> metarl <- envs. The registry joins them by name, at run time.
FORBIDDEN = {
    "metarl": ("metarl.envs", "metarl.agents"),
    "envs": ("metarl.agents",),
    "agents": ("metarl.envs",),
}
FAMILY = "metarl.envs.navigation:PointNavigation"


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)


def imported(source: str) -> Iterator[str]:
    """Every module that a source file imports, also inside functions; ``from a import b`` counts as a.b, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("name", ["envs", "agents"])
def test_the_folder_is_no_package_of_its_own(root: Path, name: str) -> None:
    result = run_python(f"import {name}", root)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert f"import metarl.{name}" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_dependencies_point_one_way(root: Path, folder: str) -> None:
    wrong = [
        f"{file.relative_to(root)} imports {module}"
        for file in sorted((root / folder).rglob("*.py"))
        if file != root / "metarl" / "__init__.py"  # whose names are imported when they are asked for
        for module in imported(file.read_text())
        for banned in FORBIDDEN[folder]
        if module == banned or module.startswith(f"{banned}.")
    ]
    assert not wrong


def test_the_tables_import_no_family_and_no_agent(tmp_path: Path) -> None:
    code = """
import sys
from metarl.agents import AGENTS
from metarl.envs import FAMILIES
lazy = {*FAMILIES.values(), *(target.partition(":")[0] for target in AGENTS.values())}
print(*lazy & set(sys.modules))
"""
    result = run_python(code, tmp_path)
    assert (result.returncode, result.stdout.split()) == (0, []), result.stderr


# What takes long to import, and is for pictures, statistics and compiling.
LATE = ("matplotlib", "moviepy", "pandas", "scipy", "sympy", "torch._dynamo", "numpy.f2py")
START = {
    "families": ("families --json", (*LATE, "stable_baselines3", "tensorboard")),
    "train": ("train rl2 metarl/GridNavi-v0 --timesteps 1000 --quiet --runs runs", (*LATE, "mujoco", "glfw")),
}


@pytest.mark.parametrize("command", START)
def test_a_command_starts_without_what_it_needs_late_or_never(command: str, tmp_path: Path) -> None:
    line, late = START[command]
    code = f"""
import os, sys
def tell(*_):
    print("loaded:", *set({late!r}) & set(sys.modules), flush=True)
    os._exit(0)
if {command == "train"}:
    from metarl.agents.rl2.agent import RL2
    RL2.train_iteration = tell  # where the first iteration starts
from metarl.cli.main import main
main({line!r}.split())
tell()
"""
    result = run_python(code, tmp_path)
    assert result.stdout.splitlines()[-1].split() == ["loaded:"], result.stdout[-500:] + result.stderr


def test_a_class_goes_to_a_spawned_process_and_back() -> None:
    cls = resolve_name(FAMILY)
    assert b"metarl.envs.navigation" in pickle.dumps(cls)  # by name, so the child imports metarl.envs by itself
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pickle.loads(pool.apply(pickle.dumps, (cls,))) is cls
