"""Tasks that have labels of their own: an assay with active and inactive compounds, a user with ratings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support

_SUPPORT, _QUERIES = 16, 32  # of an episode in training, unless its size is given


class Task(NamedTuple):
    """One task: which samples it has, and their labels."""

    name: str
    rows: Tensor  # (n,) of the samples
    labels: Tensor  # (n,) numbers of classes, or (n,) floats


class Groups:
    """Tasks on shared samples, which make up one split of a data set.

    A support holds at least one sample of each class that its task has, and beside those what chance gives, so that it
    is as unbalanced as the task (Stanley et al. 2021, FS-Mol). Where a task has fewer samples than an episode asks for
    queries, all of them are predicted, and then some again.

    Args:
        samples: ``(sample, *shape)``; a sample may be in several tasks.
        tasks: of which each has labelled samples; a missing label is one that is not there.
        classes: what the classes are called, the same for all tasks; empty where labels are numbers.
    """

    def __init__(self, samples: Tensor, tasks: Sequence[Task], classes: tuple[str, ...] = ()) -> None:
        if not tasks or any(not len(task.rows) for task in tasks):
            raise MetaRLError("There is a task without a labelled sample, or no task at all; leave it out.")
        if not samples.isfinite().all() or any(not task.labels.isfinite().all() for task in tasks):
            raise MetaRLError("The samples or labels hold NaN or infinity; leave them out.")
        self.samples, self.tasks, self.classes = samples, tuple(tasks), classes
        self.names = tuple(task.name for task in tasks)
        self.counts = torch.tensor([len(task.rows) for task in tasks])
        self._first = self.counts.cumsum(0) - self.counts
        self._rows, self._labels = (torch.cat([task[i] for task in tasks]) for i in (1, 2))  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one sample."""
        return tuple(self.samples.shape[1:])

    def to(self, device: torch.device | str) -> "Groups":
        """Return the same tasks on a device, where episodes are then drawn."""
        tasks = [Task(task.name, task.rows, task.labels) for task in self.tasks]
        return Groups(self.samples.to(device), tasks, self.classes)

    def numbered(self) -> "Groups":
        """Return the same tasks with each sample's number in its place, by which what is known of it is looked up."""
        return Groups(torch.arange(len(self.samples))[:, None], self.tasks, self.classes)

    def scaled(self, centre: float, spread: float) -> "Groups":
        """Return the same tasks with numbers less ``centre``, in units of ``spread``."""
        tasks = [task._replace(labels=(task.labels - centre) / spread) for task in self.tasks]
        return Groups(self.samples, tasks)

    def draw(self, spec: EpisodeSpec, n_tasks: int, generator: torch.Generator, first: int | None = None) -> Episodes:
        """Draw tasks, some of them more than once where there are fewer, each with samples of its own.

        Args:
            spec: the size of an episode: ``support`` samples as chance has them, or where that is None ``shot`` of each
                class; and ``queries`` to predict in all. ``way`` is the number of classes, 1 for numbers.
            n_tasks: how many.
            generator: decides; on the CPU wherever the samples are.
            first: where given, tasks are not drawn but taken in turn from this one on, so that each counts the same.

        Returns:
            Episodes with inputs ``(task, n, *shape)`` and targets ``(task, n)``, or ``(task, n, 1)`` for numbers.

        Raises:
            MetaRLError: where no task has enough samples, or classes are other than those asked for.
        """
        self._check(spec)
        spec = spec.drawn(generator)
        eligible, total = self._with(spec), self._total(spec)
        if first is None:
            chosen = eligible[torch.randint(len(eligible), (n_tasks,), generator=generator)]
        else:
            chosen = eligible[torch.arange(first, first + n_tasks) % len(eligible)]
        counts, places = self.counts[chosen, None], torch.arange(int(self.counts.max()))
        score = torch.rand(n_tasks, len(places), generator=generator)
        there = places < counts
        where = (self._first[chosen, None] + places).clamp(max=len(self._rows) - 1)
        score = score.masked_fill(~there, -1)
        for number in range(len(self.classes)):  # those of each class with the greatest scores come first
            of_class = score.masked_fill(~(there & (self._labels[where] == number)), -1)
            best = of_class.topk(min(1 if spec.support else spec.shot, len(places)))
            score.scatter_add_(1, best.indices, (best.values >= 0).float())
        order = where.gather(1, score.argsort(1, descending=True))
        asked = total + torch.arange(spec.queries) % (counts - total)
        picked = torch.cat([order[:, :total], order.gather(1, asked)], 1)
        inputs = self.samples[self._rows[picked].to(self.samples.device)].float()
        labels = self._labels[picked] if self.classes else self._labels[picked].float()[..., None]
        labels = labels.to(self.samples.device)
        support, query = (Support(inputs[:, rows], labels[:, rows]) for rows in (slice(total), slice(total, None)))
        numbers = torch.arange(len(self.classes)).expand(n_tasks, -1).to(self.samples.device)
        distinct = (counts[:, 0] - total).clamp(max=spec.queries).to(self.samples.device)
        known, tasks = numbers if self.classes else None, chosen.to(self.samples.device)
        return Episodes(support, query, known, distinct=distinct, tasks=tasks)

    def fitting(self, spec: EpisodeSpec) -> EpisodeSpec:
        """Return the nearest episodes that can be drawn; of those that are of drawn classes, only the kind is kept."""
        median = int(self.counts.median())
        if not self.classes and spec.most_shot is not None:  # supports of varied size, which are of one way anyway
            most = max(spec.shot, min(spec.most_shot, median - 1))
            return replace(spec, way=1, most_shot=most, most_way=None)
        support, queries = (spec.support, spec.queries) if spec.support else (_SUPPORT, _QUERIES)
        support = max(2, min(support, median // 2))
        queries = max(1, min(queries, median - support))
        return replace(spec, way=max(1, len(self.classes)), support=support, queries=queries, most_way=None)

    def _total(self, spec: EpisodeSpec) -> int:
        return spec.support or spec.shot * max(1, len(self.classes))

    def _check(self, spec: EpisodeSpec) -> None:
        if spec.way != max(1, len(self.classes)) or spec.most_way is not None or spec.unlabelled:
            have = f"the {len(self.classes)} classes {', '.join(self.classes)}" if self.classes else "numbers, so way 1"
            raise MetaRLError(f"{spec}: every task here has {have}; ask for that way and nothing unlabelled.")

    def _with(self, spec: EpisodeSpec) -> Tensor:
        """Return the tasks that have a sample beside the support, and enough of each class where it is balanced."""
        total = self._total(spec)
        enough = self.counts > total
        if self.classes and spec.support is None:
            of_each = torch.stack([task.labels.bincount(minlength=len(self.classes)) for task in self.tasks])
            enough &= (of_each >= spec.shot).all(1)
        if not enough.any():
            raise MetaRLError(
                f"A support of {total} samples: none of the {len(self)} tasks has more (the largest has "
                f"{int(self.counts.max())}), or enough of each class; ask for a smaller support."
            )
        return enough.nonzero()[:, 0]


def groups_by_split(
    samples: NDArray[np.float32],
    labels: NDArray[Any],
    whose: NDArray[Any],
    splits: Mapping[str, Sequence[Any]],
    classes: tuple[str, ...] = (),
) -> dict[str, Groups]:
    """Return the tasks of each split, where every sample is of one task.

    Args:
        samples: ``(n, *shape)``.
        labels: numbers of classes, or floats, ``(n,)``.
        whose: the task of each sample ``(n,)``.
        splits: split -> its tasks, as ``whose`` calls them.
        classes: what the classes are called; empty where labels are numbers.
    """
    kept, values, made = torch.from_numpy(samples), torch.from_numpy(labels), dict[str, Groups]()
    for split, names in splits.items():
        rows = [torch.from_numpy(np.flatnonzero(whose == name)) for name in names]
        tasks = [Task(str(name), some, values[some]) for name, some in zip(names, rows, strict=True)]
        made[split] = Groups(kept, tasks, classes)
    return made
