"""Episodes that the checks of a family play: some of its tasks, some actions, and the recorded numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.random import gymnasium_keys, stream_keys
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Batch
from metarl.tasks import Task, Tasks

Array = NDArray[Any]
N_ENVS = 8
TOLERANCE = 1e-6  # between the same environment in two layouts, relative above 1
PURE = ("reset", "step", "observe", "draws")  # what a family of pure functions has, whatever its engine

Found = tuple[str, str]  # what is wrong, how to mend it
Checks = dict[str, Callable[["Subject"], Iterator[Found]]]  # by name, in the order in which they run


@dataclass
class Played:
    """One episode of a batch, as NumPy arrays with the axes (step, environment)."""

    observation: Array  # one more than there are steps: the first is that of the reset
    reward: Array
    terminated: Array
    truncated: Array
    extras: dict[str, Array]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Return where steps come before an environment has ended, its last one included."""
        ended = self.terminated | self.truncated
        return np.asarray(np.cumsum(ended, axis=0) - ended == 0)

    def fields(self) -> dict[str, Array]:
        """Return everything that is a step's, by name."""
        flags = {"terminated": self.terminated, "truncated": self.truncated}
        return {"observation": self.observation[1:], "reward": self.reward, **flags, **self.extras}

    def columns(self, rows: Any) -> "Played":
        """Return some of the environments."""
        extras = {name: value[:, rows] for name, value in self.extras.items()}
        flags = (self.terminated[:, rows], self.truncated[:, rows])
        return Played(self.observation[:, rows], self.reward[:, rows], *flags, extras)


class Subject:
    """A family under check, with the tasks, actions and episodes that several checks look at."""

    def __init__(self, family: TaskFamily) -> None:
        self.family = family
        self.measured: list[str] = []  # by checks that measure

    @cached_property
    def tasks(self) -> Tasks:
        """Return ``N_ENVS`` tasks: the default one, then test, training and ood tasks in turn."""
        family, split = self.family, self.family.splits
        parts = [split.test, split.train(stream_keys(N_ENVS, "check")), *([] if split.ood is None else [split.ood])]
        found: list[Task] = [family.default()]
        for i in range(N_ENVS):
            found += [part[i % len(part)] for part in parts]
        return Tasks.stack(found[:N_ENVS])

    @cached_property
    def actions(self) -> Tensor:
        """Return actions ``(step, environment, ...)`` of the family's own space for one episode."""
        return some_actions(self.family.action_space, self.family.horizon, N_ENVS)

    @cached_property
    def played(self) -> Played:
        """Return one whole episode of the tasks with those actions."""
        return play(self.batch(self.tasks, gymnasium_keys(0, N_ENVS)), self.actions)

    def batch(self, tasks: Tasks, keys: Tensor, family: TaskFamily | None = None) -> Batch:
        """Return the engine's environments, of this family or of another instance of it."""
        return (self.family if family is None else family).batch(tasks, keys)

    def again(self) -> TaskFamily:
        """Return the family made anew, as another process would make it."""
        return type(self.family)(self.family.variant)

    @property
    def is_pure(self) -> bool:
        """Return whether the family is made of pure functions on tensors."""
        return all(hasattr(self.family, name) for name in PURE)

    @property
    def shapes(self) -> str:
        """Return in words what the family's functions are given."""
        if not self.is_pure:
            return ""
        task = {name: ("n", *d.shape) for name, d in self.family.tasks.parameters.items()}
        space = self.family.action_space
        shape = space.shape or ()
        if isinstance(space, gymnasium.spaces.Tuple):  # one row for all its parts
            shape = (sum(int(np.prod(part.shape or ())) for part in space),)
        reset, step = getattr(self.family, "draws", (0, 0))
        words = f"task {task}, action {('n', *shape)}, u (n, {reset}) in reset and (n, {step}) in step"
        return words.replace("'n'", "n").replace("(n,)", "(n)")

    @cached_property
    def renders(self) -> bool:
        """Return whether the family defines pictures."""
        return type(self.family).render is not TaskFamily.render


def some_actions(space: gymnasium.Space[Any], steps: int, n: int, seed: int = 0) -> Tensor:
    """Return random actions ``(steps, n, ...)``; the last two environments stay at the lowest and at the highest."""
    if isinstance(space, gymnasium.spaces.Tuple):
        index, vector = (some_actions(part, steps, n, seed) for part in space)
        return torch.cat([index[..., None].to(vector.dtype), vector], -1)
    rng = np.random.default_rng(seed)
    if isinstance(space, gymnasium.spaces.Discrete):
        first, last = int(space.start), int(space.start + space.n - 1)
        actions = torch.from_numpy(rng.integers(first, last + 1, (steps, n)))
        low, high = torch.tensor(first), torch.tensor(last)
    else:
        assert isinstance(space, gymnasium.spaces.Box)
        low, high = torch.as_tensor(space.low).float(), torch.as_tensor(space.high).float()
        actions = low + (high - low) * torch.from_numpy(rng.random((steps, n, *space.shape))).float()
        actions = actions.clamp(low, high)  # rounding must not leave the Box, for the views clip to it
    if n > 2:
        actions[:, -2], actions[:, -1] = low, high
    return actions


def play(batch: Batch, actions: Tensor, episode: int = 0) -> Played:
    """Play one episode with the given actions ``(step, environment, ...)``, until all have ended."""
    observations, steps = [batch.reset(episode).clone()], []
    ended = torch.zeros(batch.num_envs, dtype=torch.bool)
    for action in actions:
        step = batch.step(action.clone())
        observations.append(step.observation.clone())
        steps.append(step)
        ended |= step.terminated | step.truncated
        if ended.all():
            break

    def stack(values: list[Tensor]) -> Array:
        return torch.stack(values).numpy()

    return Played(
        observation=stack(observations),
        reward=stack([step.reward for step in steps]),
        terminated=stack([step.terminated for step in steps]),
        truncated=stack([step.truncated for step in steps]),
        extras={name: stack([step.extras[name] for step in steps]) for name in steps[0].extras},
    )


def difference(one: Played, other: Played) -> str | None:
    """Return in words where two recordings of the same environments first differ; ``None`` where nowhere."""
    if (first := largest_gap(one.observation[:1], other.observation[:1])) is not None:
        return f"the observation of reset differs by {first[1]:.2g} in environment {first[0][1]}"
    steps = min(len(one.reward), len(other.reward))
    valid = one.valid[:steps]
    for name, value in one.fields().items():
        a, b = (v[:steps].astype(np.float64) for v in (value, other.fields()[name]))
        mask = valid.reshape(*valid.shape, *[1] * (a.ndim - 2))
        if (found := largest_gap(np.where(mask, a, 0), np.where(mask, b, 0))) is not None:
            (step, row), by = found
            return f"{name} differs by {by:.2g} in environment {row} at step {step}"
    if steps < len(one.reward) and one.valid[steps:].any():
        return f"one has ended after {steps} steps, the other has not"
    return None


def largest_gap(a: Array, b: Array) -> tuple[tuple[int, int], float] | None:
    """Return the first (step, environment) that differs by more than rounding, and the difference."""
    gap = np.abs(a.astype(np.float64) - b) / np.maximum(1.0, np.abs(a))
    wrong = (~(gap <= TOLERANCE)).reshape(*a.shape[:2], -1).any(-1)
    if not wrong.any():
        return None
    step, row = (int(i) for i in np.argwhere(wrong)[0])
    return (step, row), float(np.nanmax(gap[step, row]))
