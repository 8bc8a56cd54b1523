"""README and docs are true: their code runs, commands work in their order, and generated tables are up to date.

Of a page of docs/ every block of ``python`` is run, one after the other; blocks of ``py`` need what a test has not (a
simulator that is no dependency, a run of the reader's own) and are compiled.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl.cli.main import main, parsed
from metarl.core.errors import MetaRLError

# The same commands on less work.
SMALL = {
    # Seeds in turn, for each process of its own begins by importing torch; test_training.py has them side by side.
    "train": ["--config.total-timesteps", "4000", "--config.tasks", "2", "--config.episodes", "2", "--jobs", "1"],
    "train rl2": ["--config.total-timesteps", "240", "--config.tasks", "4"],
    "evaluate": ["--tasks", "6", "--points", "2"],
    "fewshot train": ["--iterations", "2", "--config.tasks", "1"],
    "fewshot evaluate": ["--episodes", "20"],
    "render": ["--envs", "2", "--steps", "3"],
}


MOST_LINES = 25
MOST_LINES_OF_README = 250
ROOT = Path(__file__).resolve().parents[1]
SNIPPET = re.compile(
    r'--8<-- "(examples/\w+\.py)"\n'
)  # which the site replaces by the example; test_examples.py runs it
HELP = ("--help", "--version")  # which end the program
APART = {"export.md", "register_a_mujoco_family.md"}  # have tests of their own below


def blocks(root: Path, language: str, file: str | Path = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (root / file).read_text(), re.DOTALL)


PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if blocks(ROOT, "(?:python|py)", page))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A user's folder outside the repository, with an `envs/` of its own and the README's family in it."""
    path = tmp_path_factory.mktemp("user")
    (path / "envs").mkdir()
    (path / "envs" / "__init__.py").write_text("raise RuntimeError('this is the user's own, and nobody imports it')")
    (path / "boat.py").write_text(family_block(root))
    return path


def family_block(root: Path) -> str:
    found = [block for block in blocks(root, "python") if "@register_family" in block]
    assert len(found) == 1
    return found[0]


def test_the_new_family_is_short(root: Path) -> None:
    assert sum(bool(line.strip()) for line in family_block(root).splitlines()) <= MOST_LINES


def test_python_blocks_run_one_after_the_other(root: Path, folder: Path) -> None:
    code = "\n".join(block for block in blocks(root, "python") if "@register_family" not in block)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("installed_families_only")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_run(
    root: Path, folder: Path, page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in blocks(root, "py", page):
        compile(code, page.name, "exec")
    if page.name in APART:
        return
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # where Python looks first when a script lies there
    names = {"__name__": "__main__"}
    for code in blocks(root, "python", page):
        if example := SNIPPET.fullmatch(code):
            assert (root / example[1]).is_file()
            continue
        exec(compile(code, page.name, "exec"), names)
    if page.stem == "register_a_family":
        shown = capsys.readouterr().out
        assert "current" in shown
        assert shown.endswith("True\n")


def test_commands_of_the_pages_are_understood(root: Path) -> None:
    lines = [
        line.partition(" #")[0].strip()
        for page in sorted((root / "docs").glob("**/*.md"))
        if page.parent.name != "gallery"  # which is generated
        for block in blocks(root, "(?:sh|bash|)", page)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    commands = dict.fromkeys(line for line in lines if line.startswith("metarl ") and not line.endswith(HELP))
    assert len(commands) > 50
    wrong = []
    for line in commands:
        try:
            parsed(shlex.split(line)[1:])
        except MetaRLError as error:
            wrong.append(f"{line}: {error}")
    assert wrong == []


def test_the_readme_is_short(root: Path) -> None:
    assert len((root / "README.md").read_text().splitlines()) <= MOST_LINES_OF_README


def test_the_page_on_export_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra onnx")
    monkeypatch.chdir(tmp_path)
    for code in blocks(root, "python", "docs/export.md"):
        exec(compile(code, "export", "exec"), names := {"__name__": "__main__"})
        assert np.isfinite(names["action"]).all()


@pytest.mark.usefixtures("installed_families_only")
def test_the_page_on_mujoco_families_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(root, "python", "docs/register_a_mujoco_family.md")
    (tmp_path / "swim.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    main(["check", "swim:me/Swimmer-v0"])


@pytest.mark.usefixtures("installed_families_only")
def test_commands_work_in_their_order(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = [line.split("#")[0].strip() for block in blocks(root, "sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("metarl ")]
    assert {command[1] for command in commands} == {
        *("agents", "train", "evaluate", "compare", "render", "export", "check", "fewshot")
    }
    # The second run that `compare` needs stands for any other of the reader's.
    first = next(i for i, command in enumerate(commands) if command[1] == "train")
    other = [[*(word.replace("demo", "other") for word in commands[first])], ["metarl", "evaluate", "runs/other"]]
    for command in [*commands[: first + 1], *other, *commands[first + 1 :]]:
        main([*command[1:], *SMALL.get(" ".join(command[1:3]), SMALL.get(command[1], []))])
    for name in ("demo", "boat", "grid"):
        assert (folder / "runs" / name / "evaluation-test.json").exists()


def test_generated_tables_are_up_to_date(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "scripts" / "check_results.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
