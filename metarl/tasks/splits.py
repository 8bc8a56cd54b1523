"""Splits: which tasks an agent may train on, and which it is scored on.

The literature does three different things, and every score names which: ``fresh``, ``disjoint`` and ``closed``.
``test`` is what results are of. Recipes are chosen on ``val``, which is neither trained on nor tested on, except under
``closed``, where all parts are the same tasks.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from metarl.core.errors import MetaRLError, shown
from metarl.core.files import write_atomic
from metarl.core.random import Domain, stream_keys, uniforms64
from metarl.tasks.space import MOST_LISTED, Task, Tasks, TaskSpace

Kind = Literal["fresh", "disjoint", "closed"]
PARTS = ("train", "val", "test", "ood")
_SAVED = ("train", "test", "ood")  # what the hash is of; val came later, and its own hash stands beside it
_SHARE = 8  # of a finite set's tasks beyond the test part every so many one is for validation
_MOST_REDRAWS = 1000


class Split:
    """The tasks of one preset, cut into parts; deterministic and hashed.

    ``train_set`` is ``None`` where training draws from the space itself (fresh), else the finite training set. ``val``
    is ``None`` where a finite space has too few tasks to spare any, and in a split saved before there was one.
    Raises where two of train, val and test overlap, except under ``closed``.
    """

    def __init__(
        self,
        kind: Kind,
        space: TaskSpace,
        test: Tasks,
        train_set: Tasks | None = None,
        ood: Tasks | None = None,
        val: Tasks | None = None,
    ) -> None:
        if not isinstance(kind, str) or kind not in ("fresh", "disjoint", "closed"):
            raise MetaRLError(f"Split kind {shown(kind)} is unknown; choose fresh, disjoint or closed.")
        if (train_set is None) != (kind == "fresh"):
            raise MetaRLError(
                f"A {kind} split {'draws' if kind == 'fresh' else 'needs'} its training tasks; see train_set."
            )
        for part, tasks in (("train", train_set), ("val", val), ("test", test), ("ood", ood)):
            if not isinstance(tasks, Tasks) and (tasks is not None or part == "test"):
                raise MetaRLError(f"The {part} part of a split is {shown(tasks)}; give Tasks.")
            if tasks is not None:
                space.check_shapes(part, tasks)
        self.kind, self.space, self.test, self.train_set, self.ood, self.val = kind, space, test, train_set, ood, val
        self._held_out = {"test": set(test.rows()), "val": set() if val is None else set(val.rows())}
        if kind != "closed" and self._held_out["test"] & self._held_out["val"]:
            raise MetaRLError("Tasks of the val part belong to the test part too; choose others for one of them.")
        if train_set is not None:
            self.check_training(train_set)

    @property
    def label(self) -> str:
        """Return how scores on the test part are labelled."""
        return "same tasks" if self.kind == "closed" else self.kind

    def check_training(self, tasks: Tasks) -> None:
        """Refuse training on tasks that are scored on, naming them; they are compared within float32's rounding.

        Under ``closed`` the val and test tasks are the training tasks by design.
        """
        held_out = {"test": self.test, "val": self.val} if self.kind != "closed" else {}
        for part, theirs in {**held_out, "ood": self.ood}.items():
            if theirs is not None and (shared := tasks.shared_with(theirs)):
                named = "; ".join(str({k: np.round(v, 6).tolist() for k, v in tasks[i].items()}) for i in shared[:3])
                raise MetaRLError(
                    f"{len(shared)} of {len(tasks)} training tasks belong to the {part} split: {named}"
                    f"{' ...' if len(shared) > 3 else ''}. Train on other tasks, or declare the split closed."
                )

    def train(self, keys: torch.Tensor, trial: int | torch.Tensor = 0) -> Tasks:
        """Draw one training task for each key ``(n, 2)``, a function of the key and the trial's number."""
        if self.train_set is not None:
            u = uniforms64(keys.cpu(), Domain.TASK, trial, 1).numpy()[:, 0]
            return self.train_set[(u * len(self.train_set)).astype(np.int64)]
        tasks = self.space.sample(keys, trial)
        for redraw in range(1, _MOST_REDRAWS):
            # Only a finite space can hit a held-out task; it draws again from counters that no trial reaches.
            hit = np.array([any(row in rows for rows in self._held_out.values()) for row in tasks.rows()])
            if not hit.any():
                return tasks
            again = self.space.sample(keys, trial + (redraw << 32))
            tasks = Tasks(
                {k: np.where(hit.reshape(-1, *[1] * (v.ndim - 1)), again.values[k], v) for k, v in tasks.values.items()}
            )
        raise MetaRLError(f"All {self.space.size} tasks of {self.space} are held out of training: nothing to train on.")

    def part(self, name: str) -> Tasks:
        """Return the tasks of ``val``, ``test`` or ``ood``, or of ``train`` where that is finite."""
        if not isinstance(name, str) or name not in PARTS:
            raise MetaRLError(f"Split {shown(name)} is unknown; choose one of {', '.join(PARTS)}.")
        tasks = {"train": self.train_set, "val": self.val, "test": self.test, "ood": self.ood}[name]
        if tasks is None:
            why = {
                "train": "training draws from the distribution",
                "val": "the space has too few tasks to spare any for validation",
                "ood": "the preset declares no ood range",
            }
            raise MetaRLError(f"There is no finite {name!r} part: {why[name]}.")
        return tasks

    @property
    def hash(self) -> str:
        """Return a hash of the kind, the space, and the train, test and ood parts, 16 hexadecimal digits.

        The val part follows from those and the rule; without it, runs from before there was one keep their hash.
        """
        parts = [tasks.hash if tasks is not None else "-" for tasks in (self.train_set, self.test, self.ood)]
        return hashlib.sha256(repr((self.kind, repr(self.space), parts)).encode()).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parts and the hash as JSON, atomically."""
        parts: dict[str, Any] = {
            name: None if tasks is None else tasks.to_json()
            for name, tasks in zip(_SAVED, (self.train_set, self.test, self.ood), strict=True)
        }
        val = {} if self.val is None else {"val": self.val.to_json(), "val_hash": self.val.hash}
        content = {"kind": self.kind, "hash": self.hash, "space": repr(self.space), **parts, **val}
        write_atomic(path, json.dumps(content))

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: TaskSpace) -> "Split":
        """Read what ``save`` wrote; raises where the file is damaged or belongs to another space."""
        try:
            saved = json.loads(Path(path).read_text())
            parts = {name: None if saved[name] is None else Tasks(saved[name]) for name in _SAVED}
            val = Tasks(saved["val"]) if "val" in saved else None
            kind, wanted, val_wanted = saved["kind"], saved["hash"], saved["val_hash"] if val is not None else None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{path} is no readable split file ({error}); restore it or train anew.") from error
        if parts["test"] is None:
            raise MetaRLError(f"{path} has no test tasks; restore it or train anew.")
        if val is not None and val.hash != val_wanted:
            raise MetaRLError(f"{path}: its val tasks were changed. Restore it or train anew.")
        split = cls(kind, space, parts["test"], parts["train"], parts["ood"], val)
        if split.hash != wanted:
            raise MetaRLError(
                f"{path} has hash {wanted}, but its tasks in {space} hash to {split.hash}: the file was changed or "
                "belongs to another family. Restore it or train anew."
            )
        return split


@dataclass(frozen=True)
class SplitRule:
    """A rule by which a preset makes its split.

    Args:
        test: number of test tasks, and of val tasks where they are draws.
        ood: number of out-of-distribution tasks, where the preset has a range for them.
    """

    test: int = 100
    ood: int = 100
    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        for name in ("test", "ood", "total"):
            if hasattr(self, name):
                object.__setattr__(self, name, _number(name, getattr(self, name)))

    def make(self, name: str, space: TaskSpace, ood: TaskSpace | None = None, test: int | None = None) -> Split:
        """Return the split of the preset called ``name``; ``test`` asks for another number of test tasks."""
        n_test = self.test if test is None else _number("test", test)
        train_set, tests, val = self._parts(name, space, n_test)
        outside = None if ood is None else _outside(name, space, ood, self.ood)
        return Split(self.kind, space, tests, train_set, outside, val)

    def n_test(self, space: TaskSpace) -> int:
        """Return the number of test tasks, without drawing them."""
        return self.test

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks | None, Tasks, Tasks | None]:
        """The training set, None where training draws; the test tasks; the val tasks, None where there are none."""
        raise MetaRLError("SplitRule is abstract; use Fresh, Disjoint or Closed.")


@dataclass(frozen=True)
class Fresh(SplitRule):
    """Training draws from the distribution; test and val are frozen sets of draws of their own.

    Of a finite space val is an eighth of the tasks that are not in test; of one too large to be listed, draws as well.
    """

    kind = "fresh"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[None, Tasks, Tasks | None]:
        tests = space.sample(stream_keys(n_test, "split", name))
        if space.size is None:
            return None, tests, space.sample(stream_keys(self.test, "val", name))
        seen = set(tests.rows())
        if space.size > MOST_LISTED:
            drawn = space.sample(stream_keys(self.test, "val", name))
            return None, tests, drawn[[i for i, row in enumerate(drawn.rows()) if row not in seen]]
        every = _shuffled(name, space.enumerate())
        others = every[[i for i, row in enumerate(every.rows()) if row not in seen]]
        return None, tests, _spared(others, self.test)[1]


@dataclass(frozen=True)
class Disjoint(SplitRule):
    """A finite set, all tasks of a finite space or ``total`` draws, shuffled and cut in train and test.

    val is further draws: from ``val_space``, or from the space where that is continuous. A finite space has no further
    tasks: its val is the last eighth of what would be train, and is not trained on. ``val_space`` is for a finite set
    that stands for a continuous one.
    """

    test: int = 20
    total: int = 100
    val_space: TaskSpace | None = None
    kind = "disjoint"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks, Tasks, Tasks | None]:
        whole = space.sample(stream_keys(self.total, "split", name)) if space.size is None else space.enumerate()
        if n_test >= len(whole):
            raise MetaRLError(f"{n_test} test tasks of a set of {len(whole)} leave none to train on; ask for fewer.")
        shuffled = _shuffled(name, whole)
        train, tests = shuffled[: len(whole) - n_test], shuffled[len(whole) - n_test :]
        further = self.val_space or (space if space.size is None else None)
        if further is not None:
            return train, tests, further.sample(stream_keys(self.test, "val", name))
        train, val = _spared(train, self.test)
        return train, tests, val


@dataclass(frozen=True)
class Closed(SplitRule):
    """Train, val and test are the same tasks: all of a finite space, or ``total`` draws."""

    total: int = 100
    kind = "closed"

    def n_test(self, space: TaskSpace) -> int:
        return self.total if space.size is None else space.size

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[Tasks, Tasks, Tasks]:
        whole = space.sample(stream_keys(self.total, "split", name)) if space.size is None else space.enumerate()
        return whole, whole, whole


def _shuffled(name: str, tasks: Tasks) -> Tasks:
    u = uniforms64(stream_keys(len(tasks), "shuffle", name), Domain.TASK, 0, 1).numpy()[:, 0]
    return tasks[np.argsort(u, kind="stable")]


def _spared(tasks: Tasks, most: int) -> tuple[Tasks, Tasks | None]:
    """The tasks but for the last eighth, at most ``most``, and those; None where there are too few."""
    n = min(most, len(tasks) // _SHARE)
    return (tasks[: len(tasks) - n], tasks[len(tasks) - n :]) if n else (tasks, None)


def _number(name: str, value: Any) -> int:
    """Return a number of tasks, if it is an integer of at least 1."""
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
