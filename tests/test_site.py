"""The documentation site: all pages in its navigation, links that lead somewhere, and every public name described."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CONFIG = ROOT / "scripts" / "site" / "mkdocs.yml"
API = re.compile(r"^::: (\S+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
PACKAGES = ("metarl", "metarl.fewshot")
PUBLIC = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
FROM_FEWSHOT = {"metarl.FewShot", "metarl.FewShotDataset", "metarl.register_fewshot"}  # described where they come from
DESCRIBED = [name for page in sorted((DOCS / "api").glob("*.md")) for name in API.findall(page.read_text())]


def test_every_public_name_is_described_once() -> None:
    assert {name: n for name, n in Counter(DESCRIBED).items() if n > 1} == {}
    assert {*PUBLIC} - {*DESCRIBED} - FROM_FEWSHOT == {"metarl.__version__"}
    assert "`metarl.__version__`" in (DOCS / "api" / "index.md").read_text()


@pytest.mark.parametrize("name", sorted({*PUBLIC, *DESCRIBED} - {"metarl.__version__"}))
def test_it_has_a_docstring_and_so_has_all_that_it_offers(name: str) -> None:
    package, _, attribute = name.rpartition(".")
    described = getattr(importlib.import_module(package), attribute) if name in PUBLIC else resolve_name(name)
    assert (inspect.getdoc(described) or "").strip()
    if not inspect.isclass(described):
        return
    own = [base for base in reversed(described.mro()) if base.__module__.startswith("metarl")]
    for member, value in {name: value for base in own for name, value in vars(base).items()}.items():
        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property | classmethod)):
            assert any((getattr(vars(base).get(member), "__doc__", None) or "").strip() for base in described.mro()), (
                member
            )


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^ +- (?:[^#\n]*: )?(\S+\.md)$", CONFIG.read_text().partition("\nnav:")[2], re.MULTILINE)
    assert len(listed) == len(set(listed)) > 30
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    apart = {page for page in pages if page.startswith("gallery/")} - {"gallery/README.md"}
    assert pages - apart == {page for page in listed if (DOCS / page).exists()}
    assert [page for page in listed if not (DOCS / page).exists() and not (ROOT / page).exists()] == []


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_its_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    subprocess.run(["make", "typeview"], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", CONFIG, "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api" / "agents" / "index.html").read_text()
    assert 'id="metarl.RL2"' in api
    assert "Gradient steps that adapt, each on new episodes." in api  # the comment beside a field of MAMLConfig
    assert (tmp_path / "results" / "fewshot" / "prototypical" / "omniglot" / "episode.png").is_file()
    assert (tmp_path / "examples" / "family.py" / "index.html").is_file()
