"""Part 4c: the environments' views: odd arguments, seeds, options and actions."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Tuple
from hypothesis import strategies as st

from campaign.examples import Wrong, fuzzed, odd
from campaign.outcome import Trial
from campaign.trainees import BANDIT, POINTS
from metarl.core.errors import MetaRLError
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import TaskFamily, make_family
from metarl.family.views.sb3 import TaskVecEnv
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks, TaskSpace, Uniform

PART = "views"
_ENVS = 2
_SIZES = 10**4  # of something that is made as often as asked


class Mixed(TorchFamily):
    """A choice and a number at once."""

    tasks = TaskSpace(goal=Uniform(-1, 1))
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Tuple((Discrete(3), Box(-1, 1, (1,), np.float32)))
    horizon = 4

    def reset(self, task: TaskTensors, u: torch.Tensor) -> State:
        """At the origin."""
        return {"position": torch.zeros_like(task["goal"])}

    def step(self, state: State, action: torch.Tensor, task: TaskTensors, u: torch.Tensor) -> Any:
        """Pays the nearer the better."""
        position = state["position"] + action[:, 1]
        return {"position": position}, -(position - task["goal"]).abs(), torch.zeros_like(position).bool()

    def observe(self, state: State, task: TaskTensors) -> torch.Tensor:
        """Where it is."""
        return state["position"][:, None]


def _families() -> dict[str, TaskFamily]:
    return {"Box": make_family(POINTS, "pearl"), "Discrete": make_family(BANDIT), "Tuple": Mixed()}


def fuzz_views(count: int, random: Random) -> Iterator[Trial]:
    """So many examples over all views and kinds of actions."""
    views = {"TaskEnv": TaskEnv, "TaskVectorEnv": TaskVectorEnv, "TaskVecEnv": TaskVecEnv}
    cases = [(name, kind) for name in views for kind in _families() if (name, kind) != ("TaskVecEnv", "Tuple")]
    for name, kind in cases:
        family = _families()[kind]
        call = _play(views[name], family)
        examples = st.tuples(_arguments(name), st.lists(_moves(family), max_size=4))
        yield from fuzzed(PART, f"{name} {kind}", examples, call, count // len(cases), random.getrandbits(32))


def _arguments(view: str) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly none, so that there is something to play with."""
    names = ["variant", "task", "tasks", "episodes_per_trial", "render_mode", "device"]
    names += {
        "TaskEnv": ["dtype"],
        "TaskVectorEnv": ["num_envs", "autoreset_mode"],
        "TaskVecEnv": ["num_envs", "seed"],
    }[view]
    one = st.tuples(st.sampled_from(names), odd()).map(lambda pair: {pair[0]: pair[1]})
    return st.one_of(st.just({}), st.just({}), one)


def _moves(family: TaskFamily) -> st.SearchStrategy[tuple[str, Any]]:
    sound = [family.action_space.sample() for _ in range(3)]
    batches: list[Any] = [[action] * _ENVS for action in sound]
    batches += [np.array(batch) for batch in batches if not isinstance(batch[0], tuple)]
    if isinstance(sound[0], tuple):
        batches += [tuple(np.array(part) for part in zip(*batch, strict=True)) for batch in batches]
    task = family.default()
    tasks: list[Any] = [task, {}, {k: v * np.nan for k, v in task.items()}, Tasks.stack([task] * _ENVS)]
    options = st.one_of(
        odd(),
        st.dictionaries(st.sampled_from(["task", "tasks", "reset_mask"]), odd() | st.sampled_from(tasks), max_size=2),
    )
    seed = st.one_of(st.none(), st.integers(0, 9), odd())
    return st.one_of(
        st.tuples(st.just("reset"), st.tuples(seed, options | st.none())),
        st.tuples(st.just("step"), odd() | st.sampled_from([*sound, *batches])),
        st.tuples(st.just("step"), st.sampled_from([*sound, *batches])),
    )


def _play(view: Any, family: TaskFamily) -> Callable[[Any], None]:
    def call(example: Any) -> None:
        arguments, moves = example
        if any(isinstance(value, int | float) and abs(value) > _SIZES for value in arguments.values()):
            return
        several = {} if view is TaskEnv else {"num_envs": _ENVS}
        env = view(family, **{**several, **arguments})
        errors: list[MetaRLError] = []
        for verb, given in [("reset", (0, None)), *moves]:
            try:
                seen = _reset(env, *given) if verb == "reset" else _step(env, given)
            except MetaRLError as error:  # the view must still be good for the next
                errors.append(error)
                continue
            if seen is not None and not np.isfinite(np.asarray(seen, dtype=np.float64)).all():
                raise Wrong(f"{verb}({given!r}) gave {seen}")
        if errors:
            raise errors[0]

    return call


def _reset(env: Any, seed: Any, options: Any) -> Any:
    if isinstance(env, TaskVecEnv):
        env.seed(seed)
        if options is not None:
            env.set_options(options)
        return env.reset()
    return env.reset(seed=seed, options=options)[0]


def _step(env: Any, action: Any) -> Any:
    outcome = env.step(action)
    return np.concatenate([np.ravel(outcome[0]), np.ravel(outcome[1])])
