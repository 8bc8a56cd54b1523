"""Data sets of few-shot tasks: splits to train on, to choose by and to test on, and no class in two of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.functions import Functions
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.reader import classes_of_rows

SPLITS = ("train", "val", "test")
_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}  # of the classes, where arrays are split by chance

TaskSource = Classes | Groups | Functions
"""Where the tasks of a split are drawn from."""


@dataclass(frozen=True)
class DataSpec:
    """The facts of a data set that a learner is made from, before it sees any sample."""

    shape: tuple[int, ...]  # of one sample
    classes: int = 0  # classes to train on
    outputs: int | None = None  # numbers to predict of a sample; None where there are classes
    encoder: str = ""  # turns raw items into samples; empty where samples are numbers already
    fitted: str = field(default="", repr=False)  # what the encoder was fitted to, in JSON
    centre: float = field(
        default=0.0, repr=False
    )  # mean of the numbers that training tasks have as labels, by which learners see them
    spread: float = field(default=1.0, repr=False)  # their standard deviation
    tasks: int = field(default=0, repr=False, compare=False)  # with labels of their own to train on

    @property
    def n_inputs(self) -> int:
        """Return how many numbers a sample has."""
        return prod(self.shape)


@dataclass(frozen=True)
class FewShotDataset:
    """A data set of tasks in splits.

    Raises:
        MetaRLError: where a class is in two splits, for a test class is never seen in training; where a split has
            another name than those of ``SPLITS``; where samples differ in shape.
    """

    name: str  # in messages, tables and run folders
    splits: Mapping[str, TaskSource]  # some of ``SPLITS``
    encoder: str = ""  # turned raw items into samples; empty where samples were numbers already
    fitted: str = ""  # what the encoder was fitted to, in JSON

    def __post_init__(self) -> None:
        if unknown := set(self.splits) - set(SPLITS):
            raise MetaRLError(f"{self.name} has splits {sorted(unknown)}; there are {', '.join(SPLITS)}.")
        if not self.splits:
            raise MetaRLError(f"{self.name} has no split; give it some of {', '.join(SPLITS)}.")
        seen: dict[str, str] = {}
        for split, source in self.splits.items():
            for name in source.names:
                if name in seen:
                    raise MetaRLError(
                        f"{self.name}: class {name!r} is in {seen[name]} and in {split}; leave it in one."
                    )
                seen[name] = split
        shapes = {source.shape for source in self.splits.values()}
        if len(shapes) > 1:
            raise MetaRLError(f"{self.name}: samples of different shapes {sorted(shapes)}; make them alike.")

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        splits: Mapping[str, Sequence[Any]] | None = None,
        seed: int = 0,
        scale: float = 1.0,
        name: str = "arrays",
    ) -> "FewShotDataset":
        """Make a data set of labelled samples.

        Args:
            X: samples ``(sample, *shape)``, numbers; bytes are kept as such.
            y: the label of each sample ``(sample,)``.
            splits: the labels of each split, such as ``{"train": ["cat", "dog"], "test": ["emu", "fox"]}``. Unless
                given, three fifths of the labels are for training, a fifth each for validation and test, by chance.
            seed: decides which; the same for the same labels.
            scale: what a sample is multiplied with, such as 1/255 for images in bytes.
            name: of the data set.
        """
        samples, labels = np.asarray(X), np.asarray(y)
        if samples.dtype.kind not in "biuf" or labels.shape != samples.shape[:1] or not len(labels):
            raise MetaRLError(
                f"X is {samples.dtype} {samples.shape} and y {labels.dtype} {labels.shape}; give numbers (n, ...) and "
                "a label for each (n,)."
            )
        known, which = np.unique(labels, return_inverse=True)
        if splits is None:
            splits = _shares(known, seed)
        rows = {label: np.flatnonzero(which == i) for i, label in enumerate(known.tolist())}
        chosen = {split: np.asarray(listed).tolist() for split, listed in splits.items()}
        if wrong := [split for split, listed in chosen.items() if not listed or not set(listed) <= set(rows)]:
            raise MetaRLError(
                f"Split {wrong[0]!r} has labels {chosen[wrong[0]][:5]}; give each split some of the {len(known)} "
                f"labels of y, such as {known.tolist()[0]!r}, or give y more of them."
            )
        made = {
            split: classes_of_rows(samples, {str(label): rows[label] for label in listed}, scale)
            for split, listed in chosen.items()
        }
        return cls(name, made)

    def split(self, name: str) -> TaskSource:
        """Return the tasks of one of ``SPLITS``."""
        if name not in self.splits:
            raise MetaRLError(f"{self.name} has no split {name!r}, but {', '.join(self.splits)}.")
        return self.splits[name]

    @property
    def spec(self) -> DataSpec:
        """Return what a learner is made for."""
        some, train = next(iter(self.splits.values())), self.splits.get("train")
        outputs = 1 if isinstance(some, Functions) or (isinstance(some, Groups) and not some.classes) else None
        classes = len(train) if isinstance(train, Classes) else len(some.classes) if isinstance(some, Groups) else 0
        tasks = len(train) if isinstance(train, Groups) else 0
        made = DataSpec(some.shape, classes, outputs, self.encoder, self.fitted, tasks=tasks)
        if not isinstance(train, Groups) or train.classes:
            return made
        labels = torch.cat([task.labels for task in train.tasks]).double()
        # Rounded, for sums differ with the machine.
        centre, spread = (float(f"{float(each):.6g}") for each in (labels.mean(), labels.std(correction=0)))
        return replace(made, centre=centre, spread=spread or 1.0)


def split_by_chance(names: Sequence[str], seed: int, least: int) -> dict[str, list[str]]:
    """Return the names of each split: three fifths to train on, a fifth each to choose by and to test on.

    Args:
        names: of classes or tasks.
        seed: decides; the same for the same names, in whatever order.
        least: how many training and test need; of few names, those to choose by go to the test.
    """
    splits = _shares(np.array(sorted(names), dtype=object), seed)
    if len(splits["val"]) < least or len(splits["test"]) < least:
        splits["test"] += splits.pop("val")
    if len(splits["train"]) < least or len(splits["test"]) < least:
        raise MetaRLError(
            f"it has {len(names)} classes or tasks ({', '.join(sorted(names)[:5])}); to train on some and test on "
            f"others takes {2 * least}. Without training, metarl fewshot predict goes by frozen features."
        )
    return splits


def _shares(names: NDArray[Any], seed: int) -> dict[str, list[Any]]:
    """Return sorted names by split, as chance has them."""
    order = names[np.random.Generator(np.random.Philox(key=seed)).random(len(names)).argsort()]
    ends = np.cumsum([round(share * len(names)) for share in list(_SHARES.values())[:-1]])
    return {split: part.tolist() for split, part in zip(_SHARES, np.split(order, ends), strict=True)}
