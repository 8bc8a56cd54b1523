"""Matching networks with full context embeddings: a sample's embedding depends on those beside it."""

from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapt.memory.recurrent import CELL, HIDDEN, LSTM
from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.types import Params, State
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.learners.memory import mixed
from metarl.fewshot.learners.pairs import ENCODED, Matching
from metarl.fewshot.learners.registry import register_fewshot

_FORWARD, _BACKWARD, _READING = "forward", "backward", "reading"


@register_fewshot("matching-fce")
class FullContextEmbeddings(Matching):
    """Matching networks with full context embeddings (Vinyals et al. 2016, appendices A.1 and A.2).

    A bidirectional LSTM, the core's memory, passes over the support in the order of its samples, which is mixed in
    training and when it is scored; a query reads it in ``reads`` rounds of attention. Each query is still by itself.
    """

    reads = 5
    presets: ClassVar = {"short": FewShotConfig(iterations=1250)}

    def __init__(self, backbone: Backbone, way: int, config: FewShotConfig | None = None) -> None:
        super().__init__(backbone, way, config)
        d = backbone.n_features
        self.passing, self.reading = LSTM(d, d), LSTM(2 * d, d)

    def init(self, generator: torch.Generator) -> Params:
        parts = ((_FORWARD, self.passing), (_BACKWARD, self.passing), (_READING, self.reading))
        made = [prefixed(name, memory.init(generator)) for name, memory in parts]
        return {**super().init(generator), **{name: value for part in made for name, value in part.items()}}

    def presented(self, episodes: Episodes) -> Support:
        return mixed(episodes)

    def embedded_support(self, params: Params, state: State) -> Tensor:
        encoded = state[ENCODED]
        lengths = torch.full((len(encoded),), encoded.shape[1], device=encoded.device)
        total = encoded
        for name, axes in ((_FORWARD, ()), (_BACKWARD, (1,))):
            weights = with_prefix(name, params)
            start = self.passing.initial(weights, len(encoded))
            total = total + self.passing.sequence(weights, start, encoded.flip(axes), lengths)[0].flip(axes)
        return total

    def embedded_query(self, params: Params, encoded: Tensor, support: Tensor) -> Tensor:
        weights, rows = with_prefix(_READING, params), encoded.flatten(0, 1)
        state = self.reading.initial(weights, len(rows))
        hidden, read = encoded, torch.zeros_like(encoded)
        for _ in range(self.reads):
            x = torch.cat([rows, read.flatten(0, 1)], -1)
            state = self.reading.step(weights, {HIDDEN: hidden.flatten(0, 1), CELL: state[CELL]}, x)
            hidden = state[HIDDEN].unflatten(0, encoded.shape[:2]) + encoded
            read = (hidden @ support.transpose(1, 2)).softmax(-1) @ support
        return hidden
