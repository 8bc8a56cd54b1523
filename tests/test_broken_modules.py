"""What is wrong with a module that the command line is told to import is one line; and output that nobody reads."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main

pytestmark = pytest.mark.usefixtures("installed_families_only")

MODULES = {
    "syntax": ("def broken(:\n    pass\n", r"SyntaxError: invalid syntax \(bad_syntax.py, line 1\)"),
    "indent": ("def f():\npass\n", r"IndentationError: .*line 2"),
    "exit": ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(.*bad_exit.py, line 2\)"),
    "quits": ("raise SystemExit\n", r"SystemExit: *\(.*bad_quits.py, line 1\)"),
    "divides": ("x = 1\nx / 0\n", r"ZeroDivisionError: division by zero \(.*bad_divides.py, line 2\)"),
    "lines": ("raise ValueError('one\\ntwo')\n", "ValueError: one two"),
    "needs": ("import a_package_that_is_not_there\n", r"No module named 'a_package_that_is_not_there' .*line 1"),
    "reads": ("open('not_there')\n", "FileNotFoundError"),
    "registers": (
        "from metarl.family import register_family\nregister_family('mine/None-v0')(3)\n",
        r"AttributeError: 'int' object .*\(.*registry.py, line \d+\)",
    ),
    "bytes": ("\0", "SyntaxError|ValueError"),
}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``said(words)``: the one line that a command of bad input says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as raised:
            main(words)
        out, error = capsys.readouterr()
        assert (raised.value.code, out) == (2, "")
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_cannot_be_imported_is_one_line(name: str, said, tmp_path: Path) -> None:
    source, words = MODULES[name]
    (tmp_path / f"bad_{name}.py").write_text(source)
    for command in (("check", f"bad_{name}:mine/Any-v0"), ("train", f"bad_{name}:Agent", "metarl/GridNavi-v0")):
        line = said(*command)
        assert re.search(words, line), line
        assert f"Module 'bad_{name}' cannot be imported: " in line


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (":x", "'' is no name of a module; write module:id"),
        (":", "'' is no name of a module"),
        ("::", "'' is no name of a module"),
        (".:x", "'.' is no name of a module"),
        (".json:x", "'.json' is no name of a module"),
        ("a..b:x", "'a..b' is no name of a module"),
        ("/tmp/a.py:x", "'/tmp/a.py' is no name of a module"),
        ("json:", "Family '' is unknown"),
        ("json:x", "Family 'x' is unknown"),
        ("json.nothing:x", "There is no module 'json.nothing'"),
        ("a b:x", "There is no module 'a b'"),
        ("", "Family '' is unknown"),
    ],
)
def test_a_name_that_is_none_is_one_line(given: str, words: str, said) -> None:
    assert words in said("check", given)
    if ":" in given and not given.startswith("json:"):
        assert words in said("train", given, "metarl/GridNavi-v0")


@pytest.mark.parametrize(
    ("words", "unbuffered"), [(["families", "--json"], ""), (["families"], "1"), (["--version"], "")], ids=str
)
def test_a_reader_that_has_gone_is_no_error(words: list[str], unbuffered: str) -> None:
    command, variables = (
        [sys.executable, "-m", "metarl.cli.main", *words],
        {**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=variables, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() in (0, 141)


def test_what_goes_wrong_is_still_said_when_nobody_reads_the_rest() -> None:
    command = [sys.executable, "-m", "metarl.cli.main", "check", ":x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read().startswith("error: ''")
        assert process.wait() == 2
