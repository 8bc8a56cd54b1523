"""Learners that adapt by inference: they encode the support and compare queries with it, without a gradient step."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.inference import Mean
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import EpisodeSpec, Support
from metarl.fewshot.learners.base import LOGITS, FewShotLearner, check_labels
from metarl.fewshot.learners.registry import register_fewshot

RELATION = "relation."
_HIDDEN = 64  # units between a pair and its score
SHARPNESS = 10.0  # of a softmax over cosines, which lie in [-1, 1]


# The literature's budget: Snell et al. 2017, section 3.1.
_PAPER = FewShotConfig(iterations=20_000, episode=EpisodeSpec(way=60, shot=1, queries=5))


class MetricLearner(FewShotLearner):
    """A learner that encodes samples to compare them; its parameters are the same for any number of classes."""

    any_way = True

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        """Return features ``(task, n, n_features)`` of samples ``(task, n, *shape)``."""
        return self.backbone(params, inputs, BACKBONE)

    def encode_support(self, params: Params, support: Support) -> Tensor:
        """Return the features of a support, whose classes have to be from 0 to ``way`` - 1."""
        check_labels(support.targets, self.way)
        return self.encode(params, support.inputs)


@register_fewshot("prototypical")
class Prototypical(MetricLearner):
    """Prototypical networks (Snell et al. 2017, equations 1 and 2): the nearest class mean of the encoded support.

    The pooling is that of ``metarl.agents.pearl``, in a group for each class.
    """

    presets: ClassVar = {
        "short": FewShotConfig(iterations=1450),
        "paper": _PAPER,
        "paper-5-shot": replace(_PAPER, episode=EpisodeSpec(way=60, shot=5, queries=5)),
    }

    def __init__(self, backbone: Backbone, way: int, config: FewShotConfig | None = None) -> None:
        super().__init__(backbone, way, config)
        self.pool = Mean(backbone.n_features)

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.pool.initial(n_tasks, self.way, next(iter(params.values())).detach())

    def adapt(self, params: Params, state: State, support: Support) -> State:
        encoded = self.encode_support(params, support)
        return self.pool.add(state, encoded, functional.one_hot(support.targets, self.way).transpose(1, 2))

    def refine(self, params: Params, state: State, inputs: Tensor) -> State:
        """Let a sample count for each class by its probability: soft k-means (Ren et al. 2018, equation 4)."""
        probable = self.query(params, state, inputs)[LOGITS].softmax(-1)
        return self.pool.add(state, self.encode(params, inputs), probable.transpose(1, 2))

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        encoded, prototypes = self.encode(params, inputs), self.pool.read(state)
        # Over the root of their number: squares of many features would saturate the softmax before anything is learned.
        return self._among(state, -torch.cdist(encoded, prototypes).square() / self.backbone.n_features**0.5)

    def _among(self, state: State, logits: Tensor) -> Outputs:
        """Leave out classes without a sample, whose prototype would be zero: where the way varies."""
        return {LOGITS: logits.masked_fill(self.pool.nothing(state)[:, None], torch.finfo(logits.dtype).min)}


@register_fewshot("relation")
class Relation(Prototypical):
    """Relation networks (Sung et al. 2018, equation 1): how well a query goes with a class is itself learned.

    A network on (query, mean of the class); the paper adds up the encodings of a class, which changes with its shots.
    Scores are trained by cross-entropy where the paper takes squared errors of ones and zeros.
    """

    presets: ClassVar = {"short": FewShotConfig(iterations=1450), "paper": FewShotConfig(iterations=60_000)}

    def __init__(self, backbone: Backbone, way: int, config: FewShotConfig | None = None) -> None:
        super().__init__(backbone, way, config)
        self.relation = MLP((2 * backbone.n_features, _HIDDEN, 1), "relu", output_gain=1.0)

    def init(self, generator: torch.Generator) -> Params:
        scores = {RELATION + name: value for name, value in self.relation.init(generator).items()}
        return {**super().init(generator), **scores}

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        encoded, prototypes = self.encode(params, inputs), self.pool.read(state)
        n, way = encoded.shape[1], prototypes.shape[1]
        pairs = [encoded[:, :, None].expand(-1, -1, way, -1), prototypes[:, None].expand(-1, n, -1, -1)]
        scores = self.relation(params, torch.cat(pairs, -1).flatten(1, 2), RELATION)
        return self._among(state, scores.unflatten(1, (n, way))[..., 0])


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosines ``(task, n, m)`` between vectors ``(task, n, d)`` and ``(task, m, d)``."""
    return functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).transpose(1, 2)
