"""Hooks of mkdocs: the site holds what its pages link to, wherever in the repository that lies.

Pages are written to be read in the repository, so their links leave docs/: ``../results/README.md``,
``../examples/family.py``. Such a file becomes a page or a picture of the site, at the path that it has in the
repository, and the link is turned to it. Links to what is not there are left as they are; a strict build refuses them.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".sh": "bash"}  # of source files, each of which becomes a page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to, and those that these link to in turn."""
    waiting = [DOCS / page.src_uri for page in files.documentation_pages()]
    wanted = [ROOT / uri for uri in _in_nav(config.nav) if not (DOCS / uri).exists()]
    while waiting or wanted:
        for target in wanted or _linked(waiting.pop()):
            uri = _uri(target)
            if not target.is_file() or files.get_file_from_path(uri) is not None:
                continue
            if target.suffix in LANGUAGES:
                files.append(File.generated(config, uri, content=_source(target)))
                continue
            files.append(File(uri, str(ROOT), config.site_dir, config.use_directory_urls))
            if target.suffix == ".md":
                waiting.append(target)
        wanted = []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs names it
    """Turn the links that leave docs/ to where the site has the files."""
    here = _path(page.file.src_uri).parent

    def turned(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(here / link["path"]))
        if files.get_file_from_path(_uri(target)) is None:
            return link[0]
        return os.path.relpath(_uri(target), Path(page.file.src_uri).parent) + (link["anchor"] or "")

    return LINK.sub(turned, markdown)


def on_page_content(html: str, **_kwargs: Any) -> str:
    """Load pictures when they come into view: the page of results has two hundred."""
    return html.replace("<img ", '<img loading="lazy" ')


def _in_nav(nav: Any) -> Iterator[str]:
    """Return the pages of a navigation, which nests lists and dicts."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav or []:
            yield from _in_nav(each)


def _linked(page: Path) -> Iterator[Path]:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = Path(os.path.normpath(page.parent / link["path"]))
        if target.is_relative_to(ROOT):
            yield target


def _uri(target: Path) -> str:
    """Return where the site has a file of the repository: pages of docs/ at its top, others at their own path."""
    if target == ROOT / "README.md":  # what it says is on the start page
        return "index.md"
    path = target.relative_to(DOCS if target.is_relative_to(DOCS) else ROOT) if target.is_relative_to(ROOT) else target
    return f"{path.as_posix()}.md" if target.suffix in LANGUAGES else path.as_posix()


def _path(uri: str) -> Path:
    return DOCS / uri if (DOCS / uri).exists() else ROOT / uri


def _source(file: Path) -> str:
    name = file.relative_to(ROOT).as_posix()
    return f"# {name}\n\n````{LANGUAGES[file.suffix]}\n{file.read_text(encoding='utf-8')}````\n"
