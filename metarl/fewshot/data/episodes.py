"""Few-shot tasks: some labelled samples to adapt to, the support, and others to be predicted, the query."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core.config import check_config
from metarl.core.errors import MetaRLError


class Support(NamedTuple):
    """Labelled samples of some tasks."""

    inputs: Tensor  # (task, sample, *shape)
    targets: Tensor  # (task, sample) classes from 0 to way - 1, or (task, sample, d) numbers


class Episodes(NamedTuple):
    """A batch of tasks. No sample of a task is in two of its parts."""

    support: Support
    query: Support
    classes: Tensor | None = None  # (task, way): which of a data set's classes they are, where there are classes
    unlabelled: Tensor | None = None  # (task, sample, *shape): further samples of the same classes

    def rows(self, rows: slice) -> "Episodes":
        """Some of the tasks."""
        support, query = (Support(part.inputs[rows], part.targets[rows]) for part in self[:2])
        classes, unlabelled = (None if part is None else part[rows] for part in self[2:])
        return Episodes(support, query, classes, unlabelled)


@dataclass(frozen=True)
class EpisodeSpec:
    """What an episode consists of: ``way`` classes, ``shot`` samples of each to adapt to, ``queries`` to predict.

    Where numbers are predicted there are no classes: ``way`` is 1. With ``most_way`` or ``most_shot`` every batch of
    tasks has a number of its own, up to that one.
    """

    way: int = 5
    shot: int = 1
    queries: int = 15  # of each class
    unlabelled: int = 0  # of each class
    most_way: int | None = None
    most_shot: int | None = None

    def __post_init__(self) -> None:
        check_config(self, {})
        if self.way < 1 or self.shot < 1 or self.queries < 1 or self.unlabelled < 0:
            raise MetaRLError(f"{self}: an episode has way, shot and queries >= 1, unlabelled >= 0.")
        for name in ("way", "shot"):
            most = getattr(self, f"most_{name}")
            if most is not None and most < getattr(self, name):
                raise MetaRLError(f"{self}: most_{name} must be at least {name}.")

    @property
    def largest(self) -> "EpisodeSpec":
        """The episodes with as many classes and samples as there can be."""
        return replace(self, way=self.most_way or self.way, shot=self.most_shot or self.shot)

    def drawn(self, generator: torch.Generator) -> "EpisodeSpec":
        """The shape of one batch: the same, unless way or shot vary."""
        way, shot = (
            low if most is None else int(torch.randint(low, most + 1, (), generator=generator))
            for low, most in ((self.way, self.most_way), (self.shot, self.most_shot))
        )
        return replace(self, way=way, shot=shot, most_way=None, most_shot=None)

    @property
    def samples(self) -> int:
        """Of a class in an episode."""
        return self.shot + self.queries + self.unlabelled


class Classes:
    """Samples by class: what one part of a data set, such as its test classes, is made of.

    Args:
        samples: ``(sample, *shape)``, those of a class one after the other; bytes for images, kept so.
        counts: how many of them each class has.
        names: of the classes.
        scale: what a sample is multiplied with once drawn.
    """

    def __init__(self, samples: Tensor, counts: Tensor, names: tuple[str, ...], scale: float = 1.0) -> None:
        if len(counts) != len(names) or int(counts.sum()) != len(samples) or not len(names):
            raise MetaRLError(
                f"{len(names)} classes with {int(counts.sum())} samples by their counts, and {len(samples)} samples; "
                "give each class a name and a count, and every sample a class."
            )
        if samples.is_floating_point() and not samples.isfinite().all():
            raise MetaRLError("The samples hold NaN or infinity; leave such samples out.")
        self.samples, self.counts, self.names, self.scale = samples, counts.to(samples.device), names, scale
        self._first = self.counts.cumsum(0) - self.counts
        self._eligible: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.samples.shape[1:])

    def to(self, device: torch.device | str) -> "Classes":
        """The same on a device, where episodes are then drawn."""
        return Classes(self.samples.to(device), self.counts.to(device), self.names, self.scale)

    def draw(self, shape: EpisodeSpec, n_tasks: int, generator: torch.Generator) -> Episodes:
        """So many tasks: other classes for each, and other samples. Classes with too few samples are left out.

        Raises where not enough classes remain. Within a part samples lie class by class; shuffle where that matters.
        """
        if shape.way < 2:
            raise MetaRLError(f"way={shape.way}: there is nothing to tell apart; ask for 2 classes or more.")
        # Those that have enough samples for the largest shape, so that every class is as likely whatever is drawn.
        eligible, shape = self._with(shape.largest), shape.drawn(generator)
        device = self.samples.device
        # The classes with the greatest of random numbers are a draw without replacement, for all tasks at once.
        order = torch.rand(n_tasks, len(eligible), generator=generator).to(device).topk(shape.way).indices
        chosen = eligible[order]  # (task, way)
        most = int(self.counts.max())
        score = torch.rand(n_tasks, shape.way, most, generator=generator).to(device)
        missing = torch.arange(most, device=device) >= self.counts[chosen][..., None]
        which = score.masked_fill(missing, -1).topk(shape.samples).indices
        inputs = self.samples[self._first[chosen][..., None] + which].float() * self.scale
        labels = torch.arange(shape.way, device=device)[:, None].expand(n_tasks, shape.way, shape.samples)

        def part(first: int, last: int) -> Support:
            return Support(inputs[:, :, first:last].flatten(1, 2), labels[:, :, first:last].flatten(1))

        asked = shape.shot + shape.queries
        more = part(asked, shape.samples).inputs if shape.unlabelled else None
        return Episodes(part(0, shape.shot), part(shape.shot, asked), chosen, more)

    def _with(self, shape: EpisodeSpec) -> Tensor:
        """The classes that have enough samples."""
        if shape.samples not in self._eligible:
            self._eligible[shape.samples] = (self.counts >= shape.samples).nonzero()[:, 0]
        eligible = self._eligible[shape.samples]
        if len(eligible) < shape.way:
            others = f" + {shape.unlabelled}" if shape.unlabelled else ""
            raise MetaRLError(
                f"{shape.way}-way episodes with {shape.shot} + {shape.queries}{others} samples of a class: "
                f"{len(eligible)} of the {len(self)} classes have {shape.samples} samples (the largest has "
                f"{int(self.counts.max())}); ask for fewer classes, shots or queries."
            )
        return eligible
