"""A Gaussian process over columns that it weighs by what the support says of each: for tables of any width."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import HEAD
from metarl.fewshot.learners.heads.gaussian_process import GaussianProcess, GaussianProcessConfig
from metarl.fewshot.learners.pairs import ENCODED, LABELS
from metarl.fewshot.learners.registry import register_fewshot

_WEIGHING = HEAD + "weighing."
_STATISTICS = 4  # of a column, from which its weight is read
_LEAST = 1e-6  # of a variance; a column with less is the same everywhere
_MOST = 3.0  # standard deviations, beyond which a value counts no more


@dataclass(frozen=True, kw_only=True)
class ColumnsConfig(GaussianProcessConfig):
    """The settings of the learner of tables."""

    iterations: int = 400
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=2, support=32, queries=32))
    learning_rate: float = 3e-3
    width: int = 16  # hidden units of the network that weighs columns


@register_fewshot("columns")
class Columns(GaussianProcess):
    """A learner that takes any number of columns, in any order; a column without variance, as padding is, has no part.

    Each column is standardised on the support. A network that is the same for all columns reads how much of its
    variance lies between classes, how skewed and heavy-tailed it is, and how large the support is, and gives its weight
    (Iwata and Kumagai 2020 embed columns by such statistics). The weighted columns, over the root of their number, are
    what the Gaussian process compares.
    """

    config_class = ColumnsConfig
    presets: ClassVar = {}
    config: ColumnsConfig

    def __init__(self, backbone: Backbone, way: int, config: ColumnsConfig | None = None) -> None:
        super().__init__(backbone, way, config)
        self.weighing = MLP((_STATISTICS, self.config.width, 1), "tanh")

    def init(self, generator: torch.Generator) -> Params:
        made = self.weighing.init(generator)
        return {**super().init(generator), **{_WEIGHING + name: value for name, value in made.items()}}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        return self.backbone(params, inputs)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        rows = state[ENCODED]
        mean, variance = rows.mean(1, keepdim=True), rows.var(1, keepdim=True, correction=0)
        there = variance > _LEAST
        seen, asked = (
            ((each - mean) / variance.clamp(min=_LEAST).sqrt() * there).clamp(-_MOST, _MOST)
            for each in (rows, self.backbone(params, inputs))
        )
        weights = self._weights(params, seen, functional.one_hot(state[LABELS], self.way).to(seen.dtype))
        weights = weights[:, None] * there / there.sum(-1, keepdim=True).clamp(min=1).sqrt()
        return self.predicted(params, seen * weights, asked * weights, state[LABELS])

    def _weights(self, params: Params, seen: Tensor, member: Tensor) -> Tensor:
        """Return the weight of each column ``(task, column)``, of standardised samples and their classes."""
        share = member.mean(1)[..., None].clamp(min=_LEAST)  # (task, class, 1)
        means = member.transpose(1, 2) @ seen / len(seen[0]) / share
        between = (share * means.square()).sum(1)  # of a variance of 1, that which classes explain
        size = torch.full_like(between, len(seen[0])).log() / 4
        statistics = [between.sqrt(), seen.pow(3).mean(1) / 4, seen.pow(4).mean(1) / 8, size]
        return self.weighing(params, torch.stack(statistics, -1), _WEIGHING)[..., 0].exp()
