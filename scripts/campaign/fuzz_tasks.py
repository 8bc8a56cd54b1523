"""Part 4b: distributions, task spaces, batches of tasks, splits and their rules with odd values."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from campaign.examples import Wrong, fuzzed, odd
from campaign.outcome import Trial
from campaign.trainees import POINTS
from metarl.core.random import stream_keys
from metarl.family import make_family
from metarl.tasks import (
    Choice,
    Closed,
    Dirichlet,
    Disjoint,
    Distribution,
    Fresh,
    Grid,
    LogUniform,
    Normal,
    Ring,
    Split,
    Tasks,
    TaskSpace,
    Uniform,
)

PART = "tasks"
_U = np.array([2.0**-53, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, 1 - 2.0**-53])  # the uniforms that there are, nearly
_FEW = 50  # numbers of a value that is worth drawing


def fuzz_tasks(count: int, random: Random) -> Iterator[Trial]:
    """So many examples over all of them."""
    number = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 10]), odd())
    shape = st.one_of(st.sampled_from([(), (2,), 3]), odd())
    drawn: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Any]]] = {
        "Uniform": (st.tuples(number, number, shape), _distribution(Uniform)),
        "LogUniform": (st.tuples(number, number, shape), _distribution(LogUniform)),
        "Normal": (st.tuples(number, number, shape), _distribution(Normal)),
        "Ring": (st.tuples(number, number), _distribution(Ring)),
        "Dirichlet": (st.tuples(number, shape), _distribution(Dirichlet)),
        "Choice": (st.tuples(st.one_of(odd(), st.lists(odd(), max_size=3).map(tuple))), _distribution(Choice)),
        "Grid": (st.tuples(number, number, st.one_of(st.integers(-2, 9), odd())), _distribution(Grid)),
        "TaskSpace": (st.dictionaries(st.sampled_from(["goal", "speed"]), odd(), max_size=2), _space),
        "TaskSpace.validate": (_task(), _validate),
        "Tasks": (odd() | _task(), _tasks),
        "Split": (st.tuples(odd() | st.sampled_from(["fresh", "closed"]), _task(), odd() | _task()), _split),
        "split rules": (st.tuples(st.sampled_from([Fresh, Disjoint, Closed]), odd(), odd(), odd()), _rule),
        "Split.part": (odd(), lambda name: make_family(POINTS, "pearl").splits.part(name)),
        "family": (st.tuples(st.one_of(st.just(POINTS), odd()), odd()), lambda given: make_family(*given)),
    }
    for subject, (examples, call) in drawn.items():
        yield from fuzzed(PART, subject, examples, call, max(1, count // len(drawn)), random.getrandbits(32))


def _task() -> st.SearchStrategy[Any]:
    """Odd tasks, some of them nearly sound."""
    values = st.one_of(odd(), st.sampled_from([(0.1, 0.2), (0.6, 0.0), (0.1, float("nan")), [[0.1, 0.2]]]))
    return st.dictionaries(st.sampled_from(["goal", "Goal", "speed"]), values, max_size=2)


def _distribution(kind: type[Distribution]) -> Callable[[Any], None]:
    def call(arguments: Any) -> None:
        made = kind(*arguments)
        _draws(made)

    return call


def _draws(made: Distribution) -> None:
    if made.draws > _FEW:
        return
    values = made.quantile(np.tile(_U[:, None], (1, made.draws)))
    if values.shape != (len(_U), *made.shape):
        raise Wrong(f"{made} draws shape {values.shape}")
    if not np.isfinite(values.astype(np.float32)).all():
        raise Wrong(f"{made} draws {values.tolist()}")
    outside = [value.tolist() for value in values if not made.contains(value)]
    if outside:
        raise Wrong(f"{made} does not contain {outside[0]}, which it draws")


def _space(parameters: dict[str, Any]) -> None:
    TaskSpace(**parameters).sample(stream_keys(2, "campaign"))


def _validate(task: Any) -> None:
    space = make_family(POINTS, "pearl").tasks
    found = space.validate(task)
    wrong = [name for name, value in found.items() if value.dtype != np.float64 or not np.isfinite(value).all()]
    if wrong:
        raise Wrong(f"accepted {found}")


def _tasks(values: Any) -> None:
    made = Tasks(values)
    if not len(made.hash) == 16 or len(list(made)) != len(made):
        raise Wrong(f"{made} has {len(list(made))} rows")
    if len(made) and made.vector.shape[0] != len(made):
        raise Wrong(f"{made} as vectors {made.vector.shape}")


def _split(given: Any) -> None:
    kind, test, train = given
    space = TaskSpace(goal=Uniform(-0.5, 0.5, shape=(2,)))
    sound = Tasks({"goal": [(0.1, 0.2), (0.3, 0.4)]})
    tests = Tasks(test) if test else sound
    if isinstance(train, dict) and train:
        train = Tasks(train)
    trains = None if isinstance(kind, str) and kind == "fresh" else train
    made = Split(kind, space, tests, trains)
    drawn = made.train(stream_keys(2, "campaign"))
    if set(drawn.values) != {"goal"} or not np.isfinite(drawn.values["goal"]).all():
        raise Wrong(f"trains on {drawn.values}")


def _rule(given: Any) -> None:
    rule, test, ood, more = given
    for value in (test, ood, more):  # a million tasks are made, and slowly
        if isinstance(value, int | float | np.integer) and abs(value) > 10**4:
            return
    made = rule(test=test, ood=ood)
    space = TaskSpace(goal=Uniform(-0.5, 0.5))
    split = made.make("campaign", space, TaskSpace(goal=Uniform(-1, 1)), None if more is None else more)
    if len(split.test) < 1:
        raise Wrong(f"{made} gives no test task")
