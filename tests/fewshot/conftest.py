"""Characters that the few-shot tests draw their tasks from."""

import pytest

from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.registry import equal_classes
from metarl.fewshot.data.synthetic_characters import stroke_classes


@pytest.fixture(scope="session")
def drawn() -> FewShotDataset:
    """60 classes to train on and 30 others to test on, 12 samples of each."""
    images = stroke_classes(90, 12)
    names = tuple(f"character {i}" for i in range(90))
    return FewShotDataset(
        "drawn", {"train": equal_classes(images[:60], names[:60]), "test": equal_classes(images[60:], names[60:])}
    )
