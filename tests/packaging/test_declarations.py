"""pyproject.toml says what is there: packages, dependencies, entry points."""

import re
import tomllib
from importlib.metadata import distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from metarl.version import __version__

FOLDERS = {"metarl": "metarl", "envs": "metarl.envs", "agents": "metarl.agents"}  # folder -> import name


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_every_folder_with_code_is_a_listed_package(root: Path, pyproject: dict[str, Any]) -> None:
    found = []
    for folder, package in FOLDERS.items():
        for path in sorted({file.parent for file in (root / folder).rglob("*.py")}):
            found.append(".".join([package, *path.relative_to(root / folder).parts]))
            assert (path / "__init__.py").is_file(), f"{path} holds modules but no __init__.py"
    setuptools = pyproject["tool"]["setuptools"]
    found.append("metarl.results")  # data alone: the zoo
    assert sorted(setuptools["packages"]) == sorted(found), "mend [tool.setuptools] packages in pyproject.toml"
    folders = {"metarl.envs": "envs", "metarl.agents": "agents", "metarl.results": "results"}
    assert setuptools["package-dir"] == folders


def test_constraints_pin_every_direct_dependency_within_its_range(root: Path, pyproject: dict[str, Any]) -> None:
    lines = [line.partition("#")[0].strip() for line in (root / "constraints.txt").read_text().splitlines()]
    pins = dict(re.fullmatch(r"([\w.-]+)==([\w.+]+)", line).groups() for line in lines if line)
    project = pyproject["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    declared = [Requirement(line) for line in [*project["dependencies"], *extras]]
    assert set(pins) == {canonicalize_name(requirement.name) for requirement in declared}
    for requirement in declared:
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_version_is_the_same_wherever_people_read_it(root: Path, pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "metarl.version.__version__"}
    released = re.findall(r"^## \[(\d.*?)\] - ", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == __version__
    assert f"\nversion: {__version__}\n" in (root / "CITATION.cff").read_text()


def test_distribution_and_import_names_differ() -> None:
    metadata = distribution("metarl-suite").metadata
    assert metadata["Name"] == "metarl-suite"
    assert metadata["Requires-Python"] == ">=3.11"
    assert find_spec("metarl") is not None


def test_entry_points_are_installed() -> None:
    (families,) = (point for point in entry_points(group="metarl.families") if point.name == "builtin")
    (agents,) = (point for point in entry_points(group="metarl.agents") if point.name == "builtin")
    (command,) = entry_points(group="console_scripts", name="metarl")
    assert (families.value, agents.value) == ("metarl.envs:FAMILIES", "metarl.agents:AGENTS")
    assert command.value == "metarl.cli.main:main"
    assert callable(command.load())


def test_every_family_in_the_table_has_a_module_that_registers_it() -> None:
    from metarl.envs import FAMILIES
    from metarl.family import family_class

    for family_id in FAMILIES:
        assert family_class(family_id).id == family_id
        assert family_class(family_id).__module__ == FAMILIES[family_id]


def test_every_agent_in_the_table_is_a_class() -> None:
    from metarl.agents import AGENTS

    for name, target in AGENTS.items():
        assert isinstance(resolve_name(target), type), (name, target)
