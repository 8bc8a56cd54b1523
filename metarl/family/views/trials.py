"""Parts of both Gymnasium views: the tasks of trials, and how numbers pass between NumPy and the engine."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError, shown
from metarl.core.random import gymnasium_keys
from metarl.family.base import TaskFamily
from metarl.rollout.batch import Batch
from metarl.tasks import Tasks

Mask = NDArray[np.bool_]
Snapshot = dict[str, NDArray[Any]]  # the state of one environment, as pictures are drawn from it
_TO_EVALUATE = "make the environment with evaluation=True; no agent of ours trains on that."
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": TaskFamily.render_fps}  # of no family yet


class ViewBatch(Batch, Protocol):
    """A batch that views can use: beyond a rollout's it has a state, and takes new tasks.

    ``keys`` may be assigned before a reset, but not written to.
    """

    state: dict[str, Tensor]  # (environment, ...): what pictures are drawn from

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Set new tasks where ``rows`` is true, from their next reset on."""
        ...


class Trials:
    """Keep random streams, episode numbers and tasks of n environments, each in a trial of its own.

    A trial is one task for ``length`` consecutive episodes. ``tasks`` says where the next one comes from: ``"train"``
    draws by (key, number of the trial); ``"val"``, ``"test"``, ``"ood"`` and a ``Tasks`` batch are gone through in
    order, trial t on task t modulo their number. Without it every trial is on one task: ``task``, else the family's
    default. Tasks that agents are scored on are refused unless ``evaluation`` says that this is what the view is for.
    """

    def __init__(
        self,
        family: TaskFamily,
        n: int,
        task: Mapping[str, ArrayLike] | None,
        tasks: "str | Tasks | None",
        length: int | None,
        evaluation: bool,
    ) -> None:
        if task is not None and tasks is not None:
            raise MetaRLError("Both task= (one task for good) and tasks= (a new one each trial) are given; give one.")
        self.length = whole_number("episodes_per_trial", family.episodes_per_trial if length is None else length)
        if not isinstance(tasks, str | Tasks | None):
            raise MetaRLError(f"tasks={shown(tasks)}: give 'train', 'test', 'ood' or a Tasks batch.")
        self.family, self._fixed, self.evaluation = family, tasks is None, evaluation
        self._listed: Tasks | None = None  # None: drawn from the training tasks
        if isinstance(tasks, Tasks):
            self._listed = Tasks.stack([family.validate(one) for one in tasks])
            self.check(self._listed)
        elif tasks is not None and tasks != "train":
            self._listed = family.splits.part(tasks)
            if not evaluation:
                raise MetaRLError(f"tasks={tasks!r} are not to train on: {_TO_EVALUATE}")
        self.keys = torch.zeros(n, 2, dtype=torch.int64)
        self.keyed = np.zeros(n, dtype=bool)
        self.episode = np.full(n, -1)  # number of the episode since the seed, which picks its random numbers
        self.starts = np.zeros(n, dtype=bool)  # whether the current episode is the first of its trial
        self._trial = np.full(n, -1)
        self._episodes = np.full(n, self.length)  # begun in the current trial
        # Without tasks= this is the task for good, with it what the engine holds until the first reset.
        first = Tasks.stack([family.default() if task is None else family.validate(task)])
        if task is not None:
            self.check(first)
        self.tasks = dict(first.repeat(n).values)

    def check(self, tasks: Tasks) -> None:
        """Refuse tasks that are scored on, unless the view is for that."""
        if not self.evaluation:
            try:
                self.family.splits.check_training(tasks)
            except MetaRLError as error:
                raise MetaRLError(f"{error} If these are to be scored on, {_TO_EVALUATE}") from None

    def seed(self, rows: Mask, seeds: Sequence[int | None], rng: np.random.Generator) -> None:
        """Key the environments of ``rows`` that have a seed, by Gymnasium's rule; one without any key at random."""
        for i in np.flatnonzero(rows).tolist():
            seed = seeds[i]
            if seed is None and self.keyed[i]:
                continue
            # A new tensor: engines keep what they have drawn from one until they are given another.
            self.keys = self.keys.clone()
            self.keys[i] = gymnasium_keys(int(rng.integers(2**63)) if seed is None else seed)[0]
            self.keyed[i], self.episode[i], self._trial[i], self._episodes[i] = True, -1, -1, self.length

    def begin(self, batch: ViewBatch, rows: Mask, given: "Tasks | None" = None) -> None:
        """Begin the next episode in ``rows``, on ``given`` tasks ``(n, ...)`` if there are any, and tell the engine of
        the tasks of new trials. Where it refuses one, nothing has changed.
        """
        new = rows & ((self._episodes >= self.length) | (given is not None))
        trial = self._trial + new
        if new.any():
            tasks = {name: value.copy() for name, value in self.tasks.items()}
            if given is not None or not self._fixed:
                drawn = self._next(new, trial[new]) if given is None else given[np.flatnonzero(new)]
                for name, value in drawn.values.items():
                    tasks[name][new] = value
            batch.set_tasks(Tasks(tasks), torch.from_numpy(new).to(batch.device))
            self.tasks = tasks
        self._trial = trial
        self.episode[rows] += 1
        self._episodes[new] = 0
        self._episodes[rows] += 1
        self.starts = np.where(rows, new, self.starts)

    def batch(self, device: torch.device | str, dtype: torch.dtype) -> ViewBatch:
        """Return the engine's environments."""
        return cast(ViewBatch, self.family.batch(Tasks(self.tasks), self.keys, device, check_dtype(dtype)))

    def _next(self, rows: Mask, trial: NDArray[np.int64]) -> Tasks:
        if self._listed is None:
            return self.family.splits.train(self.keys[torch.from_numpy(rows)], torch.from_numpy(trial))
        return self._listed[trial % len(self._listed)]


class Actions:
    """Turn actions of a Gymnasium user, in the family's own space, into what the engine takes."""

    def __init__(self, space: gymnasium.Space[Any], device: torch.device, dtype: torch.dtype) -> None:
        self._space, self._device, self._dtype = space, device, dtype
        mixed = space if isinstance(space, gymnasium.spaces.Tuple) else ()
        self._parts = [Actions(part, device, dtype) for part in mixed]

    def count(self, actions: ArrayLike) -> int:
        """Return for how many environments there are actions: the fewest of a tuple's parts."""
        if self._parts and isinstance(actions, Sequence):
            return min((len(np.atleast_1d(self._array(part))) for part in actions), default=0)
        return len(np.atleast_1d(self._array(actions)))

    def one(self, action: Any) -> Tensor:
        """Return the action of a single environment as a batch of one."""
        if self._parts and isinstance(action, Sequence):
            return self(tuple(self._array(part)[None] for part in action))
        return self(self._array(action)[None])

    def __call__(self, actions: ArrayLike, read: Mask | None = None) -> Tensor:
        """Return actions ``(n, ...)``, clipped to the Box; raises on others, unless ``read`` is false there."""
        if self._parts:
            return self._row(actions, read)
        given = self._array(actions)
        if not given.ndim:
            raise self._misfit(actions, "one for each environment")
        if isinstance(self._space, gymnasium.spaces.Discrete):
            low = int(self._space.start)
            fits = given.ndim == 1 and np.issubdtype(given.dtype, np.integer)
            good = (given >= low) & (given < low + int(self._space.n)) if fits else np.zeros(len(given), dtype=bool)
            kind = "integers"
        else:
            low = 0
            fits = given.shape[1:] == self._space.shape and given.dtype.kind in "iuf"
            finite: Mask = np.asarray(np.isfinite(given) if fits else np.zeros((len(given), 1), dtype=bool))
            if finite.all():  # as nearly always: the rest is for the words of an error
                return self._clipped(given)
            good = np.asarray(finite.reshape(len(given), -1).all(1))
            kind = "finite numbers"
        bad = ~good if read is None else ~good & read
        if not fits or bad.any():
            raise self._misfit(given[int(np.argmax(bad))], f"{kind} of its shape and range")
        if read is not None:
            given = np.where(read.reshape(-1, *[1] * (given.ndim - 1)), given, low)
        if isinstance(self._space, gymnasium.spaces.Discrete):
            return torch.tensor(given, dtype=torch.int64, device=self._device)
        return self._clipped(given)

    def _row(self, actions: ArrayLike, read: Mask | None) -> Tensor:
        if not isinstance(actions, Sequence) or len(actions) != len(self._parts):
            raise self._misfit(actions, "a tuple of an index and a vector")
        index, vector = (part(action, read) for part, action in zip(self._parts, actions, strict=True))
        return torch.cat([index[:, None].to(vector.dtype), vector], -1)

    def _array(self, actions: Any) -> NDArray[Any]:
        try:
            return np.asarray(actions)
        except (TypeError, ValueError, RuntimeError):  # lists of different lengths; a tensor with a gradient
            raise self._misfit(actions, "numbers of its shape and range") from None

    def _misfit(self, action: Any, wanted: str) -> MetaRLError:
        given = action.tolist() if isinstance(action, np.ndarray | np.generic) else action
        return MetaRLError(f"Action {shown(given)} does not fit {self._space}; give {wanted}.")

    def _clipped(self, given: NDArray[Any]) -> Tensor:
        """A new tensor, which the engine may keep."""
        assert isinstance(self._space, gymnasium.spaces.Box)
        # NumPy clips so few numbers faster than torch.
        return torch.from_numpy(given.clip(self._space.low, self._space.high)).to(self._device, self._dtype)


def to_numpy(value: Tensor, dtype: Any = None) -> NDArray[Any]:
    """Return a copy that shares no memory with the engine's state."""
    if value.device.type != "cpu":
        value = value.cpu()
    return np.array(value.numpy(), dtype=dtype)


def check_finite(family: TaskFamily, **values: NDArray[Any]) -> None:
    """Raise where a number is not finite, rather than hand it to a learner."""
    for name, value in values.items():
        if not np.isfinite(value).all():
            first = np.unravel_index(np.argmin(np.isfinite(value)), value.shape)
            at = f"{value[first]} at index {tuple(map(int, first))}" if first else f"{value}"
            raise MetaRLError(
                f"{family.name} gave a {name} that is not finite: {at}. Run `metarl check` on the family."
            )


def check_render_mode(family: TaskFamily, mode: str | None) -> dict[str, Any]:
    """Return the view's metadata; raises where the family has no pictures of that mode."""
    modes = METADATA["render_modes"] if type(family).render is not TaskFamily.render else []
    if mode is not None and not (isinstance(mode, str) and mode in modes):
        raise MetaRLError(
            f"render_mode={shown(mode)}: {family.name} renders {', '.join(modes) or 'nothing'}; "
            + ("choose that." if modes else "define render(history, task) in the family.")
        )
    return {"render_modes": list(modes), "render_fps": family.render_fps}


def check_seed(seed: Any) -> int | None:
    """Return a seed as Gymnasium takes it; raises unless it is an integer of at least 0, or None."""
    if seed is None:
        return None
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise MetaRLError(f"seed={shown(seed)}: give an integer of at least 0, or None.")
    return int(seed)


def check_dtype(dtype: Any) -> torch.dtype:
    """Return the type of an engine's numbers; raises unless it is one of torch's floating ones."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise MetaRLError(f"dtype={shown(dtype)}: give torch.float32 or torch.float64.")
    return dtype


def whole_number(name: str, value: Any) -> int:
    """Return the value; raises unless it is an integer of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise MetaRLError(f"{name}={shown(value)}; give an integer of at least one.")
    return int(value)


def check_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the options of a reset; raises where one is unknown, for a misspelt one would change nothing."""
    if not isinstance(options, Mapping | None):
        raise MetaRLError(f"reset(options={shown(options)}): give a dict; it knows {', '.join(known)}.")
    unknown = [name for name in options or {} if name not in known]
    if unknown:
        raise MetaRLError(f"reset(options=...) has no {', '.join(map(repr, unknown))}; it knows {', '.join(known)}.")
    return options or {}
