"""The gallery: every installed family has its page, as the generator writes it today."""

from pathlib import Path

import pytest
from gallery import groups, pages

from metarl.core.plugins import FAMILIES, OPTIONAL_FAMILIES, declared

MOST, IN_ALL = 150_000, 3_000_000  # bytes of a picture and of all of them


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "docs" / "gallery"


def test_every_family_is_on_a_page() -> None:
    written = pages()
    for page, ids in groups().items():
        assert all(each in written[f"{page}.md"] for each in ids)
    assert {each for ids in groups().values() for each in ids} == {*declared(FAMILIES), *declared(OPTIONAL_FAMILIES)}


def test_the_pages_are_those_of_the_registry(folder: Path) -> None:
    written = pages()
    assert {file.name for file in folder.glob("*.md")} == set(written), "run make gallery"
    for name, text in written.items():
        assert (folder / name).read_text() == text, f"{name} is not what the registry says: run make gallery"


def test_the_pictures_are_there_and_small(folder: Path) -> None:
    sizes = {file.stem: file.stat().st_size for file in folder.glob("*.png")}
    shown = {file.stem for file in folder.glob("*.md") if f"]({file.stem}.png)" in file.read_text()}
    assert shown == set(sizes)
    assert max(sizes.values()) <= MOST
    assert sum(sizes.values()) <= IN_ALL
