"""What all tests share: the environment they run in, and the fixtures that skip where data or a device is missing."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Set before torch and matplotlib are first imported, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"  # two torch processes with two threads each are many times slower than with one
os.environ["MPLBACKEND"] = "Agg"  # no window, also where there is a display


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "cuda" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """``data("omniglot")`` is that folder or file below METARL_DATA; without it the test skips."""

    def find(name: str) -> Path:
        folder = os.environ.get("METARL_DATA")
        if not folder:
            pytest.skip(f"needs the data {name!r}; set METARL_DATA to the folder that holds it")
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"METARL_DATA={folder} is no folder; mend it or unset it")
        path = Path(folder, name)
        if not path.exists():
            pytest.skip(f"needs the data {name!r}, which METARL_DATA={folder} does not hold")
        return path

    return find


@pytest.fixture
def installed_families_only() -> Iterator[None]:
    """The registry as a new process finds it, without what other tests have registered."""
    import gymnasium

    from metarl.family import registry

    classes, specs, modules = dict(registry._classes), dict(gymnasium.registry), set(sys.modules)
    for family_id in [name for name in classes if not name.startswith("metarl/")]:
        del registry._classes[family_id]
    yield
    built_in = {name: cls for name, cls in registry._classes.items() if name.startswith("metarl/")}
    registry._classes.clear()
    registry._classes.update({**classes, **built_in})
    for family_id in set(gymnasium.registry) - set(specs):
        del gymnasium.registry[family_id]
    # A module that was imported from a test's folder registers its families again in the next test.
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(tempfile.gettempdir()):
            del sys.modules[name]


@pytest.fixture(scope="session")
def cuda() -> str:
    """The CUDA device's name for torch; without one the test skips."""
    import torch  # here, so that tests of the packaging do not pay for it

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return "cuda"
