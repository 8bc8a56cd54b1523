"""Meta-World's benchmarks as task spaces and splits: its own goals, drawn by its own code."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from metarl.envs.metaworld.package import metaworld
from metarl.tasks import Choice, SplitRule, Tasks, TaskSpace
from metarl.tasks.splits import Kind

Array = NDArray[np.float64]
SEED = 0  # of metaworld's lists
_VAL_SEED = 1000  # of further goals to choose recipes on, of which metaworld has none
_DRAWN = 6  # numbers of the longest vector that metaworld draws: where an object starts, and where the goal is


class Lists(NamedTuple):
    """The tasks of a benchmark's parts, each ``(task, 1 + 6)``."""

    train: Array
    val: Array
    test: Array


class Goals(Choice):
    """The tasks of a benchmark: the environment's number, and the vector that metaworld draws, filled up with zeros."""

    def __repr__(self) -> str:
        return f"Goals({len(self.values)} of metaworld's)"


@dataclass(frozen=True)
class Benchmark(SplitRule):
    """The split of a benchmark of metaworld, as its seed 0 draws it: 50 goals of each environment.

    Goals of several environments take turns, so that the first n of a part are of all of them. A multi-task benchmark
    is tested on what it is trained on. The val part is 50 further goals of each training environment.

    Args:
        benchmark: of metaworld: ML1, ML10, ML45, MT10 or MT50.
        env: the environment of ML1, such as "reach-v3".
    """

    test: int = 2_500  # tasks at most: all of them
    benchmark: str = "ML1"
    env: str | None = None

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Return how the parts differ."""
        return "closed" if self.observes_goal else "disjoint"

    @property
    def observes_goal(self) -> bool:
        """Return whether the goal is observed, as it is in the multi-task benchmarks."""
        return self.benchmark.startswith("MT")

    @property
    def space(self) -> TaskSpace:
        """Return the space of all tasks of the benchmark."""
        every = np.unique(np.concatenate(_lists(self)), axis=0)
        return TaskSpace(task=Goals(tuple(map(tuple, every.tolist()))))

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the environments, in the order of metaworld's lists, the training ones first."""
        train, _, test = _lists(self)
        return list(dict.fromkeys(np.concatenate([train, test])[:, 0].astype(int).tolist()))

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks, Tasks, Tasks]:
        train, val, test = (Tasks({"task": rows}) for rows in _lists(self))
        return (train, train, train) if self.observes_goal else (train, test[:n_test], val)


def env_names() -> list[str]:
    """Return metaworld's environments in the order of their numbers."""
    return list(metaworld().ALL_V3_ENVIRONMENTS)


def metaworld_task(row: Array, size: int, *, observes_goal: bool) -> Any:
    """Return the Task of metaworld for a row ``(1 + 6,)``, of which an environment draws ``size`` numbers."""
    name = env_names()[int(row[0])]
    cls = metaworld().ALL_V3_ENVIRONMENTS[name]
    data = {"rand_vec": row[1 : 1 + size].copy(), "env_cls": cls, "partially_observable": not observes_goal}
    return metaworld().Task(env_name=name, data=pickle.dumps(data))


@cache
def _lists(rule: Benchmark) -> Lists:
    made = [_made(rule, seed) for seed in (SEED, _VAL_SEED)]
    return Lists(*(_rows(tasks) for tasks in (made[0].train_tasks, made[1].train_tasks, made[0].test_tasks)))


def _made(rule: Benchmark, seed: int) -> Any:
    """Make a benchmark of metaworld, without the steps of its resets, on which no draw depends but much time."""
    import mujoco

    base = metaworld().SawyerXYZEnv

    def forward(env: Any, *_: Any, **__: Any) -> None:
        mujoco.mj_forward(env.model, env.data)
        env.init_tcp = env.tcp_center

    with mock.patch.object(base, "do_simulation", forward), mock.patch.object(base, "_reset_hand", forward):
        given = () if rule.env is None else (rule.env,)
        return getattr(metaworld(), rule.benchmark)(*given, seed=seed)


def _rows(tasks: Sequence[Any]) -> Array:
    """Return tasks of metaworld as rows ``(task, 1 + 6)``, those of several environments taking turns."""
    number, seen = {name: i for i, name in enumerate(env_names())}, dict[str, int]()
    rows = np.zeros((len(tasks), 1 + _DRAWN))
    turns = []
    for row, task in zip(rows, tasks, strict=True):
        drawn = pickle.loads(task.data)["rand_vec"]
        row[0], row[1 : 1 + len(drawn)] = number[task.env_name], drawn
        seen[task.env_name] = seen.get(task.env_name, -1) + 1
        turns.append(seen[task.env_name])
    return rows[np.argsort(turns, kind="stable")]
