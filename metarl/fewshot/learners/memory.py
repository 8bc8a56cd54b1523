"""Learners that adapt by memory: they take in the support sample by sample, and answer from what they remember."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.memory import snail
from metarl.adapt.memory.base import Memory
from metarl.adapt.memory.external import ATTENTION, MATRIX, USAGE, ExternalMemory, ExternalMemoryConfig
from metarl.adapt.memory.snail import SNAIL
from metarl.adapt.memory.transformer import COUNT, Transformer
from metarl.core.config import at_least
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import HEAD, LOGITS, FewShotLearner, check_labels
from metarl.fewshot.learners.pairs import LABELS
from metarl.fewshot.learners.registry import register_fewshot

EMBEDDING = "embedding."
_APART = 2654435761  # odd, so that different numbers times this stay different modulo 2³², and neighbours lie far apart


@dataclass(frozen=True, kw_only=True)
class MemoryLearnerConfig(FewShotConfig):
    """The settings of learners with a memory.

    With 32 channels such learners see twice as many tasks in a second: 86% against 65 after 24 seconds of strokes.
    """

    iterations: int = 6000
    tasks: int = 8
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=5, shot=1, queries=5))
    strided: bool = True
    width: int = 32
    learning_rate: float = 3e-3
    embedding: int = 64  # numbers of a sample that the memory sees, beside its label
    memory_width: int = 128  # numbers that the memory gives
    limits: ClassVar = {"embedding": at_least(1), "memory_width": at_least(1)}


class MemoryLearner(FewShotLearner):
    """A memory over labelled samples (Santoro et al. 2016, section 2; Mishra et al. 2018, section 5.1).

    The memory sees the sample's features, mapped to fewer numbers, its label one-hot and whether it has one; in the
    first paper a label comes with the next sample instead, for there every sample is a query too. Each query is taken
    in after the support as if it were the only one: without a label, and what the memory then says gives the logits.
    The memories are those of ``metarl.agents.rl2``; the state is theirs.
    """

    config_class = MemoryLearnerConfig
    config: MemoryLearnerConfig

    def __init__(self, backbone: Backbone, way: int, config: MemoryLearnerConfig) -> None:
        super().__init__(backbone, way, config)
        self.embedding = MLP((backbone.n_features, config.embedding), output_gain=1.0)
        self.memory = self.make_memory(config.embedding + way + 1)
        self.head = MLP((self.memory.width, way))

    @abstractmethod
    def make_memory(self, n_inputs: int) -> Memory:
        """Return the memory, which sees ``n_inputs`` numbers of a sample."""

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        params |= {EMBEDDING + name: value for name, value in self.embedding.init(generator).items()}
        params |= self.memory.init(generator)
        return {**params, **{HEAD + name: value for name, value in self.head.init(generator).items()}}

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.memory.initial(params, n_tasks)

    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Take in the samples in the order in which they are given; in several calls it is the same as in one.

        Raises where there are other classes than ``way``, and for more samples than an attention's capacity.
        """
        inputs, targets = support
        check_labels(targets, self.way)
        if isinstance(self.memory, Transformer | SNAIL):
            total, capacity = int(state[COUNT].max()) + targets.shape[1], self.memory.capacity
            if total >= capacity:
                raise MetaRLError(
                    f"A support of {total} samples and a query do not fit into capacity={capacity}: the first would be "
                    f"forgotten; train with at least {total + 1}."
                )
        labels = functional.one_hot(targets, self.way)
        rows = self._rows(params, inputs, torch.cat([labels, torch.ones_like(labels[..., :1])], -1))
        lengths = torch.full_like(targets[:, 0], targets.shape[1])
        return self.memory.sequence(params, state, rows, lengths)[1]

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        n_tasks, n = inputs.shape[:2]
        rows = self._rows(params, inputs, inputs.new_zeros(n_tasks, n, self.way + 1))
        each = {name: value.repeat_interleave(n, 0) for name, value in state.items()}
        # A sequence of one, not a step: that looks back on empty places too, and here they are many.
        one = torch.ones(len(rows.flatten(0, 1)), dtype=torch.int64, device=rows.device)
        read = self.memory.sequence(params, each, rows.flatten(0, 1)[:, None], one)[0][:, 0]
        return {LOGITS: self.head(params, read.unflatten(0, (n_tasks, n)), HEAD)}

    def presented(self, episodes: Episodes) -> Support:
        return mixed(episodes)

    def _rows(self, params: Params, inputs: Tensor, label: Tensor) -> Tensor:
        """Return what the memory sees of samples ``(task, n, *shape)``."""
        embedded = self.embedding(params, self.backbone(params, inputs, BACKBONE), EMBEDDING)
        return torch.cat([embedded, label.to(embedded.dtype)], -1)


@dataclass(frozen=True, kw_only=True)
class MANNConfig(MemoryLearnerConfig):
    """The settings of a memory-augmented network."""

    slots: int = 6  # of the memory; more where a support has so many samples that these and a query need them
    reads: int = 1  # heads that read it; they share half of the width
    limits: ClassVar = {"slots": at_least(1), "reads": at_least(1)}


@register_fewshot("mann")
class MANN(MemoryLearner):
    """A memory-augmented network (Santoro et al. 2016): slots that are written where they were least recently used."""

    config_class = MANNConfig
    presets: ClassVar = {"short": MANNConfig(iterations=4400), "paper": MANNConfig(iterations=60_000)}
    config: MANNConfig

    def make_memory(self, n_inputs: int) -> Memory:
        config = ExternalMemoryConfig(reads=self.config.reads)
        return ExternalMemory(n_inputs, self.config.memory_width, self.config.slots, config)

    def initial(self, params: Params, n_tasks: int) -> State:
        memory = super().initial(params, n_tasks)
        return {**memory, LABELS: torch.zeros(n_tasks, 0, dtype=torch.int64, device=memory[USAGE].device)}

    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Take in the samples in their order, in slots of their own: where there are too few, there will be more."""
        memory = {name: value for name, value in state.items() if name != LABELS}
        labels = torch.cat([state[LABELS], support.targets], 1)
        more = (labels.shape[1] + 1) * self.config.reads - memory[USAGE].shape[1]
        if more > 0:
            memory |= {name: functional.pad(memory[name], (0, more)) for name in (USAGE, ATTENTION)}
            memory[MATRIX] = functional.pad(memory[MATRIX], (0, 0, 0, more))
        return {**super().adapt(params, memory, support), LABELS: labels}


@dataclass(frozen=True, kw_only=True)
class SNAILLearnerConfig(MemoryLearnerConfig):
    """The settings of SNAIL."""

    memory_width: int = 64
    layers: int = 1  # each of temporal convolutions and attention
    capacity: int = 32  # samples looked back on, the query among them
    limits: ClassVar = {"layers": at_least(1), "capacity": at_least(1)}


@register_fewshot("snail")
class SNAILLearner(MemoryLearner):
    """A simple neural attentive learner (Mishra et al. 2018): temporal convolutions and attention over the support."""

    config_class = SNAILLearnerConfig
    presets: ClassVar = {"short": SNAILLearnerConfig(iterations=4000), "paper": SNAILLearnerConfig(iterations=60_000)}
    config: SNAILLearnerConfig

    def make_memory(self, n_inputs: int) -> Memory:
        config = snail.SNAILConfig(layers=self.config.layers)
        return SNAIL(n_inputs, self.config.memory_width, self.config.capacity, config)


def mixed(episodes: Episodes) -> Support:
    """Return the support in an order that says nothing of its labels, where the episodes name their classes.

    A drawn support lies class by class, first 0, then 1: a memory trained on it could go by how many samples came
    before and never look at a label, and would fail on a support in another order. Nor may a learner draw an order.
    But the labels are drawn already: which of a data set's classes is called 0 is chance. So samples are sorted by a
    number made of their class in the data set and of how many of that class came before. Then every order of the labels
    is as likely as any other, because every labelling of the classes is.
    """
    (inputs, targets), classes = episodes.support, episodes.classes
    if classes is None:
        return episodes.support
    before = (targets[:, :, None] == targets[:, None]).tril(-1).sum(-1)
    key = classes.gather(1, targets) * targets.shape[1] + before
    for _ in range(2):
        key = key * _APART % 2**32
        key = key ^ (key >> 16)
    order = key.argsort(dim=1)
    rows = torch.arange(len(order), device=order.device)[:, None]
    return Support(inputs[rows, order], targets[rows, order])
