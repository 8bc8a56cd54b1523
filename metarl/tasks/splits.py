"""Splits: which tasks an agent may train on, and which it is scored on.

The literature does three different things, and every score names which: ``fresh``, ``disjoint`` and ``closed``.
"""

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from metarl.errors import MetaRLError, shown
from metarl.files import write_atomic
from metarl.rollout.random import Domain, stream_keys, uniforms64
from metarl.tasks.space import Task, Tasks, TaskSpace

Kind = Literal["fresh", "disjoint", "closed"]
PARTS = ("train", "test", "ood")
_MOST_REDRAWS = 1000


class Split:
    """The tasks of one preset, cut into parts; deterministic and hashed.

    ``train_set`` is ``None`` where training draws from the space itself (fresh), else the finite training set.
    Raises where train and test overlap, except under ``closed``.
    """

    def __init__(
        self, kind: Kind, space: TaskSpace, test: Tasks, train_set: Tasks | None = None, ood: Tasks | None = None
    ) -> None:
        if kind not in ("fresh", "disjoint", "closed"):
            raise MetaRLError(f"Split kind {kind!r} is unknown; choose fresh, disjoint or closed.")
        if (train_set is None) != (kind == "fresh"):
            raise MetaRLError(
                f"A {kind} split {'draws' if kind == 'fresh' else 'needs'} its training tasks; see train_set."
            )
        for part, tasks in zip(PARTS, (train_set, test, ood), strict=True):
            if not isinstance(tasks, Tasks) and (tasks is not None or part == "test"):
                raise MetaRLError(f"The {part} part of a split is {shown(tasks)}; give Tasks.")
        self.kind, self.space, self.test, self.train_set, self.ood = kind, space, test, train_set, ood
        self._test_rows = set(test.rows())
        if train_set is not None:
            self.check_training(train_set)

    @property
    def label(self) -> str:
        """How scores on the test part are labelled."""
        return "same tasks" if self.kind == "closed" else self.kind

    def check_training(self, tasks: Tasks) -> None:
        """Refuse training on tasks that are scored on, naming them; they are compared within float32's rounding.

        Under ``closed`` the test tasks are the training tasks by design.
        """
        held_out = {"test": None if self.kind == "closed" else self.test, "ood": self.ood}
        for part, theirs in held_out.items():
            if theirs is not None and (shared := tasks.shared_with(theirs)):
                named = "; ".join(str({k: np.round(v, 6).tolist() for k, v in tasks[i].items()}) for i in shared[:3])
                raise MetaRLError(
                    f"{len(shared)} of {len(tasks)} training tasks belong to the {part} split: {named}"
                    f"{' ...' if len(shared) > 3 else ''}. Train on other tasks, or declare the split closed."
                )

    def train(self, keys: torch.Tensor, trial: int | torch.Tensor = 0) -> Tasks:
        """One training task for each key ``(n, 2)``; a function of the key and the trial's number."""
        if self.train_set is not None:
            u = uniforms64(keys.cpu(), Domain.TASK, trial, 1).numpy()[:, 0]
            return self.train_set[(u * len(self.train_set)).astype(np.int64)]
        tasks = self.space.sample(keys, trial)
        for redraw in range(1, _MOST_REDRAWS):
            # Only a finite space can hit a test task; it draws again from counters that no trial reaches.
            hit = np.array([row in self._test_rows for row in tasks.rows()])
            if not hit.any():
                return tasks
            again = self.space.sample(keys, trial + (redraw << 32))
            tasks = Tasks(
                {k: np.where(hit.reshape(-1, *[1] * (v.ndim - 1)), again.values[k], v) for k, v in tasks.values.items()}
            )
        raise MetaRLError(f"All {self.space.size} tasks of {self.space} belong to the test split: nothing to train on.")

    def part(self, name: str) -> Tasks:
        """The finite tasks of ``test`` or ``ood``, or of ``train`` where that is finite."""
        if not isinstance(name, str) or name not in PARTS:
            raise MetaRLError(f"Split {shown(name)} is unknown; choose one of {', '.join(PARTS)}.")
        tasks = {"train": self.train_set, "test": self.test, "ood": self.ood}[name]
        if tasks is None:
            why = "training draws from the distribution" if name == "train" else "the preset declares no ood range"
            raise MetaRLError(f"There is no finite {name!r} part: {why}.")
        return tasks

    @property
    def hash(self) -> str:
        """Hash of the kind, the space and every part, 16 hexadecimal digits."""
        parts = [tasks.hash if tasks is not None else "-" for tasks in (self.train_set, self.test, self.ood)]
        return hashlib.sha256(repr((self.kind, repr(self.space), parts)).encode()).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parts and the hash as JSON, atomically."""
        parts: dict[str, Any] = {
            name: None if tasks is None else tasks.to_json()
            for name, tasks in zip(PARTS, (self.train_set, self.test, self.ood), strict=True)
        }
        write_atomic(path, json.dumps({"kind": self.kind, "hash": self.hash, "space": repr(self.space), **parts}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: TaskSpace) -> "Split":
        """Read what ``save`` wrote; raises where the file is damaged or belongs to another space."""
        try:
            saved = json.loads(Path(path).read_text())
            parts = {name: None if saved[name] is None else Tasks(saved[name]) for name in PARTS}
            kind, wanted = saved["kind"], saved["hash"]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{path} is no readable split file ({error}); restore it or train anew.") from error
        if parts["test"] is None:
            raise MetaRLError(f"{path} has no test tasks; restore it or train anew.")
        split = cls(kind, space, parts["test"], parts["train"], parts["ood"])
        if split.hash != wanted:
            raise MetaRLError(
                f"{path} has hash {wanted}, but its tasks in {space} hash to {split.hash}: the file was changed or "
                "belongs to another family. Restore it or train anew."
            )
        return split


@dataclass(frozen=True)
class SplitRule:
    """How a preset makes its split. ``test`` is the number of test tasks."""

    test: int = 100
    ood: int = 100
    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _number(field.name, getattr(self, field.name)))

    def make(self, name: str, space: TaskSpace, ood: TaskSpace | None = None, test: int | None = None) -> Split:
        """The split of the preset called ``name``; ``test`` asks for another number of test tasks."""
        n_test = self.test if test is None else _number("test", test)
        train_set, tests = self._parts(name, space, n_test)
        outside = None if ood is None else _outside(name, space, ood, self.ood)
        return Split(self.kind, space, tests, train_set, outside)

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks | None, Tasks]:
        raise MetaRLError("SplitRule is abstract; use Fresh, Disjoint or Closed.")


@dataclass(frozen=True)
class Fresh(SplitRule):
    """Training draws from the distribution; test is a frozen set of draws of its own."""

    kind = "fresh"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks | None, Tasks]:
        return None, space.sample(stream_keys(n_test, "split", name))


@dataclass(frozen=True)
class Disjoint(SplitRule):
    """A finite set, all tasks of a finite space or ``total`` draws, shuffled and cut in two."""

    test: int = 20
    total: int = 100
    kind = "disjoint"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks | None, Tasks]:
        whole = space.sample(stream_keys(self.total, "split", name)) if space.size is None else space.enumerate()
        if n_test >= len(whole):
            raise MetaRLError(f"{n_test} test tasks of a set of {len(whole)} leave none to train on; ask for fewer.")
        u = uniforms64(stream_keys(len(whole), "shuffle", name), Domain.TASK, 0, 1).numpy()[:, 0]
        shuffled = whole[np.argsort(u, kind="stable")]
        return shuffled[: len(whole) - n_test], shuffled[len(whole) - n_test :]


@dataclass(frozen=True)
class Closed(SplitRule):
    """Train and test are the same tasks: all of a finite space, or ``total`` draws."""

    total: int = 100
    kind = "closed"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks | None, Tasks]:
        whole = space.sample(stream_keys(self.total, "split", name)) if space.size is None else space.enumerate()
        return whole, whole


def _number(name: str, value: Any) -> int:
    """How many tasks, if it is an integer of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise MetaRLError(f"{name}={shown(value)} tasks were asked for; ask for at least 1, as an integer.")
    return int(value)


def _outside(name: str, space: TaskSpace, ood: TaskSpace, n: int) -> Tasks:
    """n draws of ``ood`` that lie outside ``space``; draws inside are drawn again."""
    keys, chosen, missing = stream_keys(n, "ood", name), list[Task | None]([None] * n), list(range(n))
    for trial in range(_MOST_REDRAWS):
        drawn = ood.sample(keys[missing], trial)
        for row, task in zip(missing, drawn, strict=True):
            if any(not space.parameters[key].contains(value) for key, value in task.items()):
                chosen[row] = task
        missing = [row for row in missing if chosen[row] is None]
        if not missing:
            return Tasks.stack([task for task in chosen if task is not None])
    raise MetaRLError(f"The ood range {ood} lies inside the training range {space}; declare one outside it.")
