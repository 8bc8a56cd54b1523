"""Few-shot tasks: some labelled samples to adapt to, the support, and others to be predicted, the query."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core.config import check_config
from metarl.core.errors import MetaRLError


class Support(NamedTuple):
    """Labelled samples of a batch of tasks."""

    inputs: Tensor  # (task, sample, *shape)
    targets: Tensor  # (task, sample) classes from 0 to way - 1, or (task, sample, d) numbers


class Episodes(NamedTuple):
    """A batch of tasks; no sample of a task is in both support and query, nor among the unlabelled."""

    support: Support
    query: Support
    classes: Tensor | None = None  # (task, way) the numbers that the classes have in the data set, if there are any
    unlabelled: Tensor | None = None  # (task, sample, *shape): further samples of the same classes
    distinct: Tensor | None = None  # (task,) how many queries differ, where those after them are the same once more
    tasks: Tensor | None = None  # (task,) the numbers that tasks with labels of their own have in their split

    def rows(self, rows: slice) -> "Episodes":
        """Return some of the tasks."""
        support, query = (Support(part.inputs[rows], part.targets[rows]) for part in self[:2])
        classes, unlabelled, distinct, tasks = (None if part is None else part[rows] for part in self[2:])
        return Episodes(support, query, classes, unlabelled, distinct, tasks)


@dataclass(frozen=True)
class EpisodeSpec:
    """The size of an episode; where numbers are predicted there are no classes, and ``way`` is 1."""

    way: int = 5  # classes
    shot: int = 1  # samples of each class to adapt to, the support
    queries: int = 15  # samples of each class to predict
    unlabelled: int = 0  # further samples of each class, without labels
    most_way: int | None = None  # draw each batch's number of classes from way to this one
    most_shot: int | None = None  # draw each batch's number of shots from shot to this one
    support: int | None = None  # of tasks with labels of their own: samples to adapt to, however many of each class

    def __post_init__(self) -> None:
        check_config(self, {})
        if self.way < 1 or self.shot < 1 or self.queries < 1 or self.unlabelled < 0:
            raise MetaRLError(f"{self}: an episode has way, shot and queries >= 1, unlabelled >= 0.")
        if self.support is not None and self.support < 1:
            raise MetaRLError(f"{self}: a support has at least one sample.")
        for name in ("way", "shot"):
            most = getattr(self, f"most_{name}")
            if most is not None and most < getattr(self, name):
                raise MetaRLError(f"{self}: most_{name} must be at least {name}.")

    @property
    def largest(self) -> "EpisodeSpec":
        """Return the largest episode that can be drawn."""
        return replace(self, way=self.most_way or self.way, shot=self.most_shot or self.shot)

    def drawn(self, generator: torch.Generator) -> "EpisodeSpec":
        """Draw the size of one batch: the same, unless way or shot vary."""
        way, shot = (
            low if most is None else int(torch.randint(low, most + 1, (), generator=generator))
            for low, most in ((self.way, self.most_way), (self.shot, self.most_shot))
        )
        return replace(self, way=way, shot=shot, most_way=None, most_shot=None)

    @property
    def samples(self) -> int:
        """Return how many samples of a class an episode has."""
        return self.shot + self.queries + self.unlabelled


def words_of(spec: EpisodeSpec) -> str:
    """Return the size of an episode in words."""
    given = f"shot {spec.shot}" if spec.support is None else f"support {spec.support}"
    return f"way {spec.way}, {given} and queries {spec.queries}"


class Classes:
    """Samples by class, which make up one split of a data set.

    Args:
        samples: ``(sample, *shape)``, ordered by class; bytes for images, kept so.
        counts: how many samples each class has ``(class,)``.
        names: what each class is called.
        scale: what a sample is multiplied with once it is drawn.
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
        """Return the shape of one sample."""
        return tuple(self.samples.shape[1:])

    def to(self, device: torch.device | str) -> "Classes":
        """Return the same classes on a device, where episodes are then drawn."""
        return Classes(self.samples.to(device), self.counts.to(device), self.names, self.scale)

    def draw(self, spec: EpisodeSpec, n_tasks: int, generator: torch.Generator) -> Episodes:
        """Draw tasks, each with classes and samples of its own.

        Args:
            spec: the size of an episode. Classes with too few samples for it are left out.
            n_tasks: how many.
            generator: decides; on the CPU wherever the samples are.

        Returns:
            Episodes with inputs ``(task, way * n, *shape)`` and targets ``(task, way * n)``, ordered by class.

        Raises:
            MetaRLError: where not enough classes remain.
        """
        if spec.way < 2:
            raise MetaRLError(f"way={spec.way}: there is nothing to tell apart; ask for 2 classes or more.")
        if spec.support is not None:
            raise MetaRLError(f"support={spec.support} is for tasks with labels of their own; here ask for a shot.")
        # Those that have enough samples for the largest episode, so that every class is as likely whatever is drawn.
        eligible, spec = self._with(spec.largest), spec.drawn(generator)
        device = self.samples.device
        # The classes with the greatest of random numbers are a draw without replacement, for all tasks at once.
        order = torch.rand(n_tasks, len(eligible), generator=generator).to(device).topk(spec.way).indices
        chosen = eligible[order]  # (task, way)
        most = int(self.counts.max())
        score = torch.rand(n_tasks, spec.way, most, generator=generator).to(device)
        missing = torch.arange(most, device=device) >= self.counts[chosen][..., None]
        which = score.masked_fill(missing, -1).topk(spec.samples).indices
        inputs = self.samples[self._first[chosen][..., None] + which].float() * self.scale
        labels = torch.arange(spec.way, device=device)[:, None].expand(n_tasks, spec.way, spec.samples)

        def part(first: int, last: int) -> Support:
            return Support(inputs[:, :, first:last].flatten(1, 2), labels[:, :, first:last].flatten(1))

        queried = spec.shot + spec.queries
        more = part(queried, spec.samples).inputs if spec.unlabelled else None
        return Episodes(part(0, spec.shot), part(spec.shot, queried), chosen, more)

    def fitting(self, spec: EpisodeSpec) -> EpisodeSpec:
        """Return the nearest episodes that can be drawn, with fewer queries or fewer ways."""
        queries, able = spec.queries, 0
        while queries:
            able = int((self.counts >= replace(spec, queries=queries).largest.samples).sum())
            if able >= min(spec.way, max(2, len(self) / 2)):
                break
            queries -= 1
        way = min(spec.way, max(able, 2))
        most = None if spec.most_way is None else max(way, min(spec.most_way, able))
        return replace(spec, way=way, queries=max(queries, 1), most_way=most)

    def _with(self, spec: EpisodeSpec) -> Tensor:
        """Return the classes that have enough samples."""
        if spec.samples not in self._eligible:
            self._eligible[spec.samples] = (self.counts >= spec.samples).nonzero()[:, 0]
        eligible = self._eligible[spec.samples]
        if len(eligible) < spec.way:
            others = f" + {spec.unlabelled}" if spec.unlabelled else ""
            raise MetaRLError(
                f"{spec.way}-way episodes with {spec.shot} + {spec.queries}{others} samples of a class: "
                f"{len(eligible)} of the {len(self)} classes have {spec.samples} samples (the largest has "
                f"{int(self.counts.max())}); ask for fewer classes, shots or queries."
            )
        return eligible
