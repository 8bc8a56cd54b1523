"""Checks of a family's Gymnasium views: the single environment, the vector, and other libraries' checkers."""

import doctest
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from metarl.core.actions import to_gymnasium
from metarl.core.errors import NoGraphicsError
from metarl.core.random import gymnasium_keys
from metarl.family.checks.play import Array, Checks, Found, Subject, largest_gap, play
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv

_N, _SEED = 4, 11
_MOST_STEPS = 300
_COLUMNS = ("observation", "reward", "terminated", "truncated")

# Warnings of the two checkers that do not apply here, by a part of their text, each with the reason.
NOT_APPLICABLE = {
    "minimum value is -infinity": "positions and velocities have no bound, and our learners normalise",
    "maximum value is infinity": "as above",
    "using a symmetric and normalized": "a family shows its physical Box; policies act in [-1, 1] through ActionMap",
    "use a symmetric and normalized": "as above, in SB3's words",
    "minimal resolution for an image": "SB3's CnnPolicy alone needs 36 × 36 pixels; our encoder takes smaller images",
}


def gymnasium_check(subject: Subject) -> Iterator[Found]:
    """``gymnasium.utils.env_checker.check_env`` passes without a warning."""
    env = gymnasium.make(subject.family.id, variant=subject.family.variant).unwrapped
    yield from _quiet(lambda: _check_env(env))


def _check_env(env: gymnasium.Env[Any, Any]) -> None:
    try:
        check_env(env)
    except NoGraphicsError:  # it draws as well, which the check of pictures answers for
        check_env(env, skip_render_check=True)


def sb3_check(subject: Subject) -> Iterator[Found]:
    """``stable_baselines3.common.env_checker.check_env`` passes without a warning."""
    if isinstance(subject.family.action_space, gymnasium.spaces.Tuple):
        return  # which SB3 has no policies for
    env = gymnasium.make(subject.family.id, variant=subject.family.variant).unwrapped
    yield from _quiet(lambda: sb3_check_env(env))


def single_and_batch(subject: Subject) -> Iterator[Found]:
    """An environment alone, in the batch and in the vector gives the same numbers, step for step."""
    family, tasks, actions = subject.family, subject.tasks[-_N:], subject.actions[:, -_N:]
    as_given = partial(to_gymnasium, family.action_space)
    batched = play(subject.batch(tasks, gymnasium_keys(_SEED, _N)), actions)
    vector = TaskVectorEnv(family, _N, evaluation=True)  # the tasks are of every part
    seen, _ = vector.reset(seed=_SEED, options={"task": tasks})
    envs = [TaskEnv(family, task=task) for task in tasks]
    alone = np.stack([env.reset(seed=_SEED + i)[0] for i, env in enumerate(envs)])
    remedy = "Let no environment depend on another or on the past: no reduction over axis 0, nothing kept on self."
    if largest_gap(alone[None], batched.observation[:1]) or largest_gap(alone[None], seen[None]):
        yield "A single environment and a batch start with other observations from the same seed.", remedy
        return
    ended, first_episode = np.zeros(_N, dtype=bool), np.ones(_N, dtype=bool)
    # Two episodes and the step between them, so that the vector has restarted while others go on.
    for step in range(min(2 * family.horizon + 1, _MOST_STEPS)):
        rows = actions[step % len(actions)].numpy()
        first_episode &= ~ended
        singles = [_step(env, as_given(row), bool(over)) for env, row, over in zip(envs, rows, ended, strict=True)]
        columns: list[Array] = [np.stack(column) for column in zip(*singles, strict=True)]
        others: dict[str, tuple[Array, ...]] = {"the vector": vector.step(as_given(rows))[:4]}
        if step < len(batched.reward):
            flags = (batched.terminated[step], batched.truncated[step])
            others["the batch"] = (batched.observation[step + 1], batched.reward[step], *flags)
        for where, other in others.items():
            mask = first_episode if where == "the batch" else np.ones(_N, dtype=bool)
            for name, one, two in zip(_COLUMNS, columns, other, strict=True):
                if mask.any() and (found := largest_gap(one[None, mask], two[None, mask].astype(np.float64))):
                    yield f"A single environment and {where} differ in {name} by {found[1]:.2g} at step {step}.", remedy
                    return
        ended = columns[2] | columns[3]


def survives(subject: Subject) -> Iterator[Found]:
    """A task survives reset and pickling, and an environment goes on after pickling as if nothing had happened."""
    task, space = subject.tasks[1], subject.family.action_space
    actions = [to_gymnasium(space, action) for action in subject.actions[:, 0].numpy()]
    env, made = TaskEnv(subject.family), TaskEnv(subject.family, task=task)
    env.reset(seed=_SEED, options={"task": task})
    made.reset(seed=_SEED)
    if not _alike(env, made, actions):
        remedy = "Read the task from task alone; an engine's set_tasks must take effect, and its reset keep them."
        yield "A task set by reset(options=...) is played differently from one set at construction.", remedy
        return
    if any(env.step(actions[0])[2:4]):  # pickled in the middle of an episode, where it has one
        env.reset()
    try:
        copy: TaskEnv = pickle.loads(pickle.dumps(env))
    except Exception as error:  # whatever lies on the family may raise anything
        yield f"It cannot be pickled: {error}.", "Keep lambdas, open files and generators off self."
        return
    if not _alike(env, copy, actions):
        yield "An environment that was pickled goes on differently.", "Keep everything that matters in the state."


def _alike(one: TaskEnv, other: TaskEnv, actions: list[Any]) -> bool:
    """Tell whether two environments give the same numbers in the running episode and in the next; resets both."""
    for _ in range(2):
        for action in actions[:10]:
            steps = one.step(action), other.step(action)
            if not data_equivalence(*steps, exact=True):
                return False
            if steps[0][2] or steps[0][3]:
                break
        if not data_equivalence(one.reset(), other.reset(), exact=True):
            return False
    return True


def render(subject: Subject) -> Iterator[Found]:
    """The picture, if the family has one, is an image ``(height, width, 3)`` of bytes, at the start and later."""
    if not subject.renders:
        return
    env = gymnasium.make(subject.family.id, variant=subject.family.variant, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    for action in subject.actions[:3, 0].numpy():
        picture: Any = env.render()
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,):
            kind = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
            yield f"render returns {kind}.", "Return a uint8 array (height, width, 3)."
            return
        env.step(to_gymnasium(subject.family.action_space, action))


def docs_example(subject: Subject) -> Iterator[Found]:
    """The example of the docstring runs and prints what it says; without one, the family is made and stepped."""
    family, cls = subject.family, type(subject.family)
    names = {"gymnasium": gymnasium, "gym": gymnasium}
    examples = doctest.DocTestFinder(recurse=False).find(cls, cls.__name__, globs=names)
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    for example in examples:
        runner.run(example, out=printed.append)
    if printed:
        failure = " ".join("".join(printed).replace("*" * 70, "").split())
        what = f"The example in the docstring of {cls.__name__} fails: {failure[:500]}"
        yield what, "Mend the example or the family."
    if not any(example.examples for example in examples):
        env = gymnasium.make(family.id, variant=family.variant)
        env.reset(seed=0)
        env.step(env.action_space.sample())


def _step(env: TaskEnv, action: Any, reset: bool) -> tuple[Any, float, bool, bool]:
    if reset:
        return env.reset()[0], 0.0, False, False
    return env.step(action)[:4]


def _quiet(call: Callable[[], None]) -> Iterator[Found]:
    """Report what a checker says: its assertions, and its warnings except those that do not apply."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except AssertionError as error:
            said.append(f"it fails: {' '.join(str(error).split()).rstrip('.')}.")
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    said += [f"it warns: {_plain(t).rstrip('.')}." for t in texts if not any(part in t for part in NOT_APPLICABLE)]
    for what in said:
        yield what, "Mend what it names."


def _plain(text: str) -> str:
    """Without the colours of a terminal."""
    return text.replace("\x1b[33m", "").replace("\x1b[0m", "").removeprefix("WARN: ")


VIEWS: Checks = {
    "Gymnasium's check_env": gymnasium_check,
    "Stable-Baselines3's check_env": sb3_check,
    "single equals batch": single_and_batch,
    "task survives": survives,
    "render": render,
    "docs example": docs_example,
}
