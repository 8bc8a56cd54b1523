"""Evaluations that look like MAML on point navigation, and the agent in ``remember.py``."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from metarl.evaluate.scores import Evaluation

MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def make_evaluation() -> MakeEvaluation:
    """A factory: shares (point,) of the gap closed, spread over tasks and seeds; other fields by keyword."""

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


@pytest.fixture
def remember(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``remember``, importable by that name, as an agent of one's own is."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("remember")
