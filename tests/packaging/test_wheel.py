"""The wheel works outside the repository, beside a project that has folders of the same names."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import metarl

pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds it, once
SOURCES = ["pyproject.toml", "README.md", "LICENSE", "metarl", "envs", "agents", "results"]
MOST_BYTES = 20 * 2**20  # of a wheel with the zoo


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, since setuptools puts into a wheel whatever an earlier build left in build/.
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        else:
            shutil.copy(source, folder / name)
    # Without build isolation, which would need the network.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".", folder=folder)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it; on PYTHONPATH it goes before the editable install."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--no-index", "--target", folder, wheel, folder=folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with an envs package and an agents package of its own."""
    for name in ("envs", "agents"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'user'\n")
    return tmp_path


def test_wheel_holds_one_package_and_all_its_modules(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {name.split("/")[0] for name in names} == {"metarl", metadata}
    expected = {f"metarl/{file.relative_to(root / 'metarl')}" for file in (root / "metarl").rglob("*.py")}
    for folder in ("envs", "agents"):
        expected |= {f"metarl/{file.relative_to(root)}" for file in (root / folder).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == expected
    assert "metarl/py.typed" in names
    assert f"{metadata}/licenses/LICENSE" in names
    assert wheel.stat().st_size <= MOST_BYTES


def test_imports_come_from_the_wheel(site: Path, project: Path) -> None:
    code = """
import sys
import agents, envs, metarl, metarl.agents, metarl.envs, metarl.envs.navigation
assert agents.OWNER == envs.OWNER == "user"
print(*(module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "metarl"), sep="\\n")
"""
    files = run(sys.executable, "-c", code, folder=project, PYTHONPATH=str(site)).splitlines()
    assert files
    assert all(Path(file).is_relative_to(site / "metarl") for file in files), files


def test_the_command_lists_the_families(site: Path, project: Path) -> None:
    from metarl.envs import FAMILIES

    # As JSON, for a table cuts long names.
    listing = run(site / "bin" / "metarl", "families", "--json", folder=project, PYTHONPATH=str(site))
    assert [family for family in FAMILIES if family not in listing] == []


def test_the_zoo_comes_with_the_wheel(site: Path, project: Path) -> None:
    from metarl.zoo import zoo_entries

    listed = json.loads(run(site / "bin" / "metarl", "zoo", "--json", folder=project, PYTHONPATH=str(site)))
    assert [each["name"] for each in listed] == [entry.name for entry in zoo_entries()]
    code = "import sys, metarl; print(type(metarl.load(sys.argv[1])).__name__)"
    name = zoo_entries()[0].name
    made = run(sys.executable, "-c", code, name, folder=project, PYTHONPATH=str(site)).strip()
    assert made == type(metarl.load(name)).__name__
