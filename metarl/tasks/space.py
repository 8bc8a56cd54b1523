"""Task spaces and batches of tasks."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError, shown
from metarl.core.random import Domain, uniforms64
from metarl.tasks.distributions import Distribution

Array = NDArray[np.float64]
MOST_LISTED = 1_000_000  # tasks of a finite space, for all of them are held in memory
_FLOAT32 = float(np.finfo(np.float32).eps)
Task = dict[str, Array]  # one task: parameter name -> value


class Tasks:
    """A batch of tasks, each parameter a float64 array ``(task, *shape)``; immutable by convention."""

    def __init__(self, values: Mapping[str, ArrayLike]) -> None:
        try:
            self.values = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
            lengths = {name: len(value) for name, value in self.values.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise MetaRLError(
                f"A batch of tasks is a dict of a list of numbers for every parameter, got {shown(values)} ({error})."
            ) from error
        if len(set(lengths.values())) != 1:
            raise MetaRLError(f"A batch of tasks needs the same number of rows for every parameter, got {lengths}.")

    @classmethod
    def stack(cls, tasks: "list[Task]") -> "Tasks":
        """Return a batch of single tasks."""
        if not tasks:
            raise MetaRLError("Tasks.stack([]) has no task; give at least one.")
        return cls({name: np.stack([task[name] for task in tasks]) for name in tasks[0]})

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: "slice | NDArray[Any] | list[int]") -> "Tasks": ...
    def __getitem__(self, index: Any) -> "Task | Tasks":
        chosen = {name: value[index] for name, value in self.values.items()}
        if isinstance(index, (int, np.integer)):
            return {name: np.array(value) for name, value in chosen.items()}
        return Tasks(chosen)

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tasks) and self.hash == other.hash

    __hash__ = None  # type: ignore[assignment]  # arrays inside: compare by .hash

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {value.shape[1:]}" for name, value in self.values.items())
        return f"Tasks({len(self)} of {shapes})"

    @property
    def vector(self) -> Array:
        """Return all parameters side by side, ``(task, d)``."""
        return np.concatenate([value.reshape(len(self), -1) for value in self.values.values()], axis=1)

    @property
    def hash(self) -> str:
        """Return a hash of names, shapes and values, 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, value in sorted(self.values.items()):
            digest.update(f"{name}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()[:16]

    def rows(self) -> list[bytes]:
        """Return a comparable key for each task, whatever the order of the names; equal where all values are."""
        by_name = Tasks(dict(sorted(self.values.items())))
        return [row.tobytes() for row in by_name.vector + 0.0]  # which makes -0 to 0

    def shared_with(self, other: "Tasks") -> list[int]:
        """Return which of these tasks are also in ``other``, within what is lost on the way through float32.

        Raises where the parameters have other names or shapes.
        """
        shapes = [{name: value.shape[1:] for name, value in tasks.values.items()} for tasks in (self, other)]
        if shapes[0] != shapes[1]:
            raise MetaRLError(f"Tasks with the parameters {shapes[0]} cannot be compared with those with {shapes[1]}.")
        mine, theirs = np.indices((len(self), len(other))).reshape(2, -1)  # pairs that are alike so far
        for name, value in other.values.items():
            columns = value.reshape(len(other), -1)
            scale = np.median(np.abs(columns[columns != 0])) if columns.any() else 1.0  # of values beside a zero
            for one, column in zip(self.values[name].reshape(len(self), -1).T, columns.T, strict=True):
                alike = np.abs(one[mine] - column[theirs]) <= _FLOAT32 * (2 * np.abs(column[theirs]) + scale)
                mine, theirs = mine[alike], theirs[alike]
                if not len(mine):
                    return []
        return sorted(set(mine.tolist()))

    def repeat(self, n: int) -> "Tasks":
        """Return each task n times in a row, for its n environments."""
        return Tasks({name: np.repeat(value, n, axis=0) for name, value in self.values.items()})

    def tensors(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """Return the parameters as tensors on a device, which share no memory with the tasks."""
        return {name: torch.tensor(value, dtype=dtype, device=device) for name, value in self.values.items()}

    def to_json(self) -> dict[str, Any]:
        """Return lists of numbers; Python prints a float64 so that it reads back the same."""
        return {name: value.tolist() for name, value in self.values.items()}


class TaskSpace:
    """The named parameters of tasks, each with its distribution: ``TaskSpace(goal=Uniform(-0.5, 0.5, shape=(2,)))``."""

    def __init__(self, **parameters: Distribution) -> None:
        if not parameters:
            raise MetaRLError("TaskSpace() has no parameters; name at least one, e.g. TaskSpace(goal=Uniform(-1, 1)).")
        wrong = [name for name, value in parameters.items() if not isinstance(value, Distribution)]
        if wrong:
            raise MetaRLError(
                f"TaskSpace: {wrong} are no distributions; use Uniform, LogUniform, Normal, Dirichlet, ..."
            )
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"TaskSpace({', '.join(f'{name}={value}' for name, value in self.parameters.items())})"

    @property
    def size(self) -> int | None:
        """Return the number of distinct tasks of a finite space, else ``None``."""
        supports = [value.support for value in self.parameters.values()]
        return None if any(s is None for s in supports) else math.prod(len(s) for s in supports if s is not None)

    def enumerate(self) -> Tasks:
        """Return every task of a finite space, the last parameter running fastest; raise where they are too many."""
        if self.size is None:
            infinite = [name for name, value in self.parameters.items() if value.support is None]
            raise MetaRLError(f"The task space is not finite ({infinite} are continuous): its tasks cannot be listed.")
        if self.size > MOST_LISTED:
            raise MetaRLError(
                f"The task space has {self.size:,} tasks, too many to list (at most {MOST_LISTED:,}); declare split = "
                "Fresh(), which draws them, or fewer values."
            )
        columns = zip(*itertools.product(*(value.support for value in self.parameters.values())), strict=True)  # type: ignore[arg-type]
        return Tasks(dict(zip(self.parameters, (np.stack(column) for column in columns), strict=True)))

    def sample(self, keys: torch.Tensor, trial: int | torch.Tensor = 0) -> Tasks:
        """Draw one task for each key ``(n, 2)``, a function of the key and the trial's number alone."""
        u = uniforms64(keys.cpu(), Domain.TASK, trial, sum(value.draws for value in self.parameters.values())).numpy()
        tasks, used = {}, 0
        for name, distribution in self.parameters.items():
            tasks[name] = distribution.quantile(u[:, used : used + distribution.draws])
            used += distribution.draws
        return Tasks(tasks)

    def validate(self, task: Mapping[str, ArrayLike]) -> Task:
        """Return one task as float64 arrays; raises where a name, a shape or a value is not of this space."""
        if not isinstance(task, Mapping):
            raise MetaRLError(f"A task is a dict with the parameters {sorted(self.parameters)}, got {shown(task)}.")
        if set(task) != set(self.parameters):
            raise MetaRLError(f"A task needs the parameters {sorted(self.parameters)}, got {sorted(map(str, task))}.")
        return {name: self._validate_value(name, task[name]) for name in self.parameters}

    def check_shapes(self, what: str, tasks: Tasks) -> None:
        """Raise where a batch of tasks, which the error calls ``what``, has other parameters than this space's."""
        wanted = {name: distribution.shape for name, distribution in self.parameters.items()}
        found = {name: value.shape[1:] for name, value in tasks.values.items()}
        if found != wanted:
            raise MetaRLError(f"The {what} tasks have parameters of shapes {found}; this space has {wanted}.")

    def _validate_value(self, name: str, given: ArrayLike) -> Array:
        distribution = self.parameters[name]
        try:
            value = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise MetaRLError(f"Task parameter {name!r} must be numbers, got {shown(given)}.") from error
        if value.shape != distribution.shape:
            raise MetaRLError(f"Task parameter {name!r} has shape {value.shape}, it must be {distribution.shape}.")
        if not distribution.contains(value):
            raise MetaRLError(f"Task parameter {name!r} = {value.tolist()} lies outside its space {distribution}.")
        return value
