"""The names that people import: all from ``metarl``, each once in the package."""

import ast
import inspect
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import metarl

COMMANDS = Path("metarl/cli")  # whose functions are called as the commands are, and by nobody else


def test_every_public_name_is_imported_from_metarl_and_is_documented() -> None:
    for name in metarl.__all__:
        value = getattr(metarl, name)
        assert name == "__version__" or (inspect.getdoc(value) or "").strip(), name
    assert set(dir(metarl)) == set(metarl.__all__)


def test_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse(Path(metarl.__file__).read_text())
    seen = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for name, module in metarl._MODULES.items():
        assert seen[name] == module


def test_importing_metarl_imports_neither_torch_nor_any_family(tmp_path: Path) -> None:
    code = "import sys, metarl; print(*{'torch', 'metarl.envs.navigation', 'stable_baselines3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_two_public_classes_or_functions_share_a_name(root: Path) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for folder in ("metarl", "envs", "agents"):
        for file in sorted((root / folder).rglob("*.py")):
            public = [] if COMMANDS in file.relative_to(root).parents else ast.parse(file.read_text()).body
            for node in public:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(root)))
    twice = {name: files for name, files in found.items() if len(files) > 1}
    assert not twice
