"""Characters that the few-shot tests draw their tasks from, and a cache of each test's own."""

from pathlib import Path

import pytest

from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.registry import equal_classes
from metarl.fewshot.data.synthetic_characters import stroke_classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a test's features are kept; nothing is read from the user's."""
    monkeypatch.delenv("METARL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "metarl" / "features"


@pytest.fixture(scope="session")
def drawn() -> FewShotDataset:
    """60 classes to train on and 30 others to test on, 12 samples of each."""
    images = stroke_classes(90, 12)
    names = tuple(f"character {i}" for i in range(90))
    return FewShotDataset(
        "drawn", {"train": equal_classes(images[:60], names[:60]), "test": equal_classes(images[60:], names[60:])}
    )
