"""Few-shot tasks: some labelled samples to adapt to, the support, and others to be predicted, the query."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.errors import MetaRLError


class Support(NamedTuple):
    """Labelled samples of some tasks."""

    inputs: Tensor  # (task, sample, *shape)
    targets: Tensor  # (task, sample) classes from 0 to way - 1, or (task, sample, d) numbers


class Episodes(NamedTuple):
    """A batch of tasks. No sample of a task is in both parts."""

    support: Support
    query: Support


@dataclass(frozen=True)
class Shape:
    """What an episode consists of: ``way`` classes, ``shot`` samples of each to adapt to, ``queries`` to predict."""

    way: int = 5
    shot: int = 1
    queries: int = 15  # of each class

    def __post_init__(self) -> None:
        if self.way < 2 or self.shot < 1 or self.queries < 1:
            raise MetaRLError(f"{self}: an episode has way >= 2, shot >= 1 and queries >= 1.")


class Classes:
    """Samples by class: what one part of a source, such as its test classes, is made of.

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

    def draw(self, shape: Shape, n_tasks: int, generator: torch.Generator) -> Episodes:
        """So many tasks: other classes for each, and other samples. Classes with too few samples are left out.

        Raises where not enough classes remain. Within a part samples lie class by class; shuffle where that matters.
        """
        eligible = self._with(shape)
        device = self.samples.device
        # The classes with the greatest of random numbers are a draw without replacement, for all tasks at once.
        order = torch.rand(n_tasks, len(eligible), generator=generator).to(device).topk(shape.way).indices
        chosen = eligible[order]  # (task, way)
        taken, most = shape.shot + shape.queries, int(self.counts.max())
        score = torch.rand(n_tasks, shape.way, most, generator=generator).to(device)
        missing = torch.arange(most, device=device) >= self.counts[chosen][..., None]
        which = score.masked_fill(missing, -1).topk(taken).indices
        inputs = self.samples[self._first[chosen][..., None] + which].float() * self.scale
        labels = torch.arange(shape.way, device=device)[:, None].expand(n_tasks, shape.way, taken)

        def part(rows: slice) -> Support:
            return Support(inputs[:, :, rows].flatten(1, 2), labels[:, :, rows].flatten(1))

        return Episodes(part(slice(0, shape.shot)), part(slice(shape.shot, None)))

    def _with(self, shape: Shape) -> Tensor:
        """The classes that have enough samples."""
        taken = shape.shot + shape.queries
        if taken not in self._eligible:
            self._eligible[taken] = (self.counts >= taken).nonzero()[:, 0]
        eligible = self._eligible[taken]
        if len(eligible) < shape.way:
            raise MetaRLError(
                f"{shape.way}-way episodes with {shape.shot} + {shape.queries} samples of a class: {len(eligible)} of "
                f"the {len(self)} classes have {taken} samples (the largest has {int(self.counts.max())}); ask for "
                "fewer classes, shots or queries."
            )
        return eligible
