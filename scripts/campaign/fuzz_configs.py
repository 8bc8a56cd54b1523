"""Part 4a: every agent's and few-shot learner's configuration with odd values."""

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from random import Random
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from hypothesis import strategies as st

from campaign.examples import Wrong, fuzzed, odd
from campaign.outcome import Trial
from campaign.trainees import BANDIT, POINTS, agents, learners
from metarl.algorithm.registry import agent_class, agent_names
from metarl.core.checkpoint import config_from
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.model import FewShot

PART = "configs"
_MOST = 12  # of a number in a config that something is trained with


def fuzz_configs(count: int, random: Random) -> Iterator[Trial]:
    """So many examples over all configurations, which then train one iteration where that is no work."""
    starts = _starts()
    classes = {type(each): each for each, _ in starts}
    nested = {type(value): value for each in classes.values() for value in vars(each).values() if is_dataclass(value)}
    every = [*starts, *((each, None) for each in nested.values())]
    for start, train in every:
        name = type(start).__name__ + (f" {train[0]}" if train else "")

        def made(changes: dict[str, Any], start: Any = start, train: Any = train) -> None:
            _made(start, changes, train)

        yield from fuzzed(PART, name, _changes(start), made, max(1, round(count / len(every))), random.getrandbits(32))


def _starts() -> list[tuple[Any, tuple[str, str] | None]]:
    """Sound small configurations, each with the agent and family that it is for, or a learner's with its source."""
    found: list[tuple[Any, tuple[str, str] | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        for trainee in agents():
            run = trainee.create(Path(folder, trainee.name))
            assert isinstance(run, Run)
            found.append((run.config, (run.agent, run.family_name)))
        for trainee in learners():
            run = trainee.create(Path(folder, trainee.name))
            assert isinstance(run, FewShotRun)
            found.append((run.config, (f"few-shot {run.learner}", run.dataset_name)))
    missing = set(agent_names()) - {what for _, pair in found if pair for what in pair[:1]}
    assert not missing, f"agents without a configuration here: {missing}"
    return found


def _changes(start: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of its fields, with odd values or neighbours of the sound ones."""
    names = [field.name for field in fields(start)]

    def value(name: str) -> st.SearchStrategy[Any]:
        near = _near(getattr(start, name))
        return st.one_of(odd(), st.sampled_from(near)) if near else odd()

    pairs = {name: st.tuples(st.just(name), value(name)) for name in names}
    some = st.lists(st.sampled_from(names).flatmap(lambda name: pairs[name]), min_size=1, max_size=3)
    return some.map(dict)


def _near(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, max(0, value - 1), 1]
    if isinstance(value, float):
        return [value * 1.5, value / 2, 1.0, 0.0]
    return []


def _made(start: Any, changes: dict[str, Any], train: tuple[str, str] | None) -> None:
    config = type(start)(**{**vars(start), **changes})
    unfit = [name for name, hint in get_type_hints(type(config)).items() if not _fits(getattr(config, name), hint)]
    if unfit:
        raise Wrong(f"accepted {', '.join(f'{name}={getattr(config, name)!r}' for name in unfit)}")
    read = config_from(type(config), json.loads(json.dumps(asdict(config))))
    if read != config:
        raise Wrong(f"read back as {read}")
    if train is not None and _is_small(config):
        _trained(config, *train)


def _trained(config: Any, kind: str, what: str) -> None:
    """One iteration; raises like any training."""
    if kind.startswith("few-shot "):
        dataset = make_dataset(what)
        FewShot(kind.removeprefix("few-shot "), dataset, config).fit(dataset, iterations=1)
        return
    variant = "pearl" if what == POINTS else None
    agent = agent_class(kind)(what, config, variant=variant)
    if what == BANDIT and config.episodes is None:  # a hundred
        return
    agent.learn(1)
    bad = [name for name, value in agent.params.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise Wrong(f"trained to parameters that are not finite: {bad}")


def _is_small(config: Any) -> bool:
    """Whether training an iteration is no work."""
    known = (
        "total_timesteps",
        "iterations",
        "replay",
        "buffer_size",
        "log_every",
        "learning_starts",
        "n_steps",
        "seed",
    )
    for name, value in vars(config).items():
        if is_dataclass(value):
            if not _is_small(value):
                return False
            continue
        most = 200 if name in known else _MOST
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and number > most:
                return False
    return True


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of its annotation, a number finite, and nothing but JSON."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(each, get_args(hint)[0]) for each in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool | np.generic) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if hint is NoneType else isinstance(value, hint)
