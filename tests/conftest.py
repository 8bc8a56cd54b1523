"""What all tests share: the environment they run in, the judge of what was learned, and the fixtures that skip where
data or a device is missing."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest

# Set before torch and matplotlib are first imported, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"  # two torch processes with two threads each are many times slower than with one
os.environ["MPLBACKEND"] = "Agg"  # no window, also where there is a display


FIXTURES_THAT_MARK = {"cuda": "gpu", "learns": "learning"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--learning-seeds", type=int, metavar="N", help="train every learning test on all of N seeds")
    parser.addoption("--learning-record", type=Path, metavar="FILE", help="append what each of them scored, as JSON")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, marker in FIXTURES_THAT_MARK.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(getattr(pytest.mark, marker))


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

    classes, specs, modules = dict(registry.families_by_id.classes), dict(gymnasium.registry), set(sys.modules)
    for family_id in [name for name in classes if not name.startswith("metarl/")]:
        del registry.families_by_id.classes[family_id]
    yield
    built_in = {name: cls for name, cls in registry.families_by_id.classes.items() if name.startswith("metarl/")}
    registry.families_by_id.classes.clear()
    registry.families_by_id.classes.update({**classes, **built_in})
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


@pytest.fixture
def learns(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``learns(score, above={"return": 3.0}, below={...})`` judges the median of what three seeds have learned.

    ``score(seed)`` trains anew from the seed and returns numbers by their names. One seed may end in a local optimum,
    and which one does depends on the rounding of a processor; two of three do not, where the bound lies far from what
    most seeds reach. The third is not trained where the first two are within all bounds, for then every median is.
    """
    wanted: int | None = request.config.getoption("--learning-seeds")
    record: Path | None = request.config.getoption("--learning-record")

    def judge(
        score: Callable[[int], Mapping[str, float]],
        *,
        above: Mapping[str, float] | None = None,
        below: Mapping[str, float] | None = None,
    ) -> None:
        bounds = [(name, bound, 1) for name, bound in (above or {}).items()]
        bounds += [(name, bound, -1) for name, bound in (below or {}).items()]
        found: list[Mapping[str, float]] = []
        for seed in range(wanted or 3):
            found.append(score(seed))
            sound = all(sign * each[name] > sign * bound for each in found for name, bound, sign in bounds)
            if wanted is None and len(found) == 2 and sound:
                break
        if record is not None:
            scores = {name: [float(each[name]) for each in found] for name in found[0]}
            row = {"test": request.node.nodeid, "above": above or {}, "below": below or {}, "scores": scores}
            with record.open("a") as file:
                file.write(json.dumps(row) + "\n")
        for name, bound, sign in bounds:
            values = [each[name] for each in found]
            side = "above" if sign > 0 else "below"
            assert sign * median(values) > sign * bound, f"{name}: the median of {values} is not {side} {bound}"

    return judge


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """Set the default handlers of signals that this process was started to ignore, as nohup and `&` in a script do."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    ignored = [number for number in defaults if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, defaults[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Any]:
    """A factory of evaluations that look like MAML's: shares (point,) of the gap closed; other fields by keyword."""
    import numpy as np

    from metarl.evaluation.scores import Evaluation

    def make(
        *,
        shares: tuple[float, ...] = (0.0, 0.7, 0.9, 0.97),
        seeds: tuple[int, ...] = (0, 1, 2),
        n_tasks: int = 20,
        deterministic: bool = True,
        **fields: object,
    ) -> Evaluation:
        rng = np.random.default_rng(0)
        goals = rng.uniform(-0.5, 0.5, (n_tasks, 2))
        distance = np.linalg.norm(goals, axis=1)
        floor, optimum = -100 * distance, -distance
        of_seed = np.linspace(-0.02, 0.02, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        closed = np.asarray(shares)[None, :, None] + of_seed[:, None, None] + rng.normal(0, 0.01, n_tasks)
        returns = floor + closed * (optimum - floor)
        content = {
            "agent": "maml",
            "family": "metarl/PointNavigation-v0",
            "variant": "maml",
            "split": "test",
            "split_kind": "fresh",
            "seeds": seeds,
            "episodes": tuple(20 * i for i in range(len(shares))),
            "adaptations": tuple(range(len(shares))),
            "returns": returns,
            "returns_deterministic": returns + 0.5 if deterministic else None,
            "floor": np.tile(floor, (len(shares), 1)),
            "optimum": np.tile(optimum, (len(shares), 1)),
            "floor_name": "standing still",
            "optimum_name": "straight line",
            "task_vectors": goals,
            "steps": 2_000_000,
            "wall_seconds": 90.0,
            "extra": {"sd": 0.25},
        }
        return Evaluation(**{**content, **fields})

    return make
