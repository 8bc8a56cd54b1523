"""The agent in ``remember.py``, importable."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def remember(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``remember``, importable by that name, as an agent of one's own is."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("remember")
