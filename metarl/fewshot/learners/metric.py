"""Learners that adapt by inference: they encode the support and compare queries with it. No gradient step."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.inference import Mean
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.learners.base import LOGITS, FewShotLearner, check_labels

RELATION = "relation."
_HIDDEN = 64  # units between a pair and its score
SHARPNESS = 10.0  # of a softmax over cosines, which lie in [-1, 1]


class MetricLearner(FewShotLearner):
    """What encodes samples to compare them; its parameters are the same for any number of classes."""

    def __init__(self, backbone: Backbone, way: int) -> None:
        self.backbone, self.way = backbone, way

    def init(self, generator: torch.Generator) -> Params:
        return {BACKBONE + name: value for name, value in self.backbone.init(generator).items()}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        """Features ``(task, n, n_features)``."""
        return self.backbone(params, inputs, BACKBONE)

    def encode_support(self, params: Params, support: Support) -> Tensor:
        """Those of a support, whose classes are from 0 to ``way`` - 1."""
        check_labels(support.targets, self.way)
        return self.encode(params, support.inputs)


class Prototypical(MetricLearner):
    """Prototypical networks (Snell et al. 2017, equations 1 and 2): the nearest class mean of the encoded support.

    The same pooling as of ``metarl.agents.pearl``, in a group for each class.
    """

    def __init__(self, backbone: Backbone, way: int, distance: Literal["squared", "cosine"] = "squared") -> None:
        if distance not in ("squared", "cosine"):
            raise MetaRLError(f"Prototypical(distance={distance!r}): squared or cosine.")
        super().__init__(backbone, way)
        self.distance, self.pool = distance, Mean(backbone.n_features)

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.pool.initial(n_tasks, self.way, next(iter(params.values())).detach())

    def adapt(self, params: Params, state: State, support: Support) -> State:
        encoded = self.encode_support(params, support)
        return self.pool.add(state, encoded, functional.one_hot(support.targets, self.way).transpose(1, 2))

    def refine(self, params: Params, state: State, inputs: Tensor) -> State:
        """Soft k-means (Ren et al. 2018, equation 4): a sample counts for each class by its probability."""
        probable = self.query(params, state, inputs)[LOGITS].softmax(-1)
        return self.pool.add(state, self.encode(params, inputs), probable.transpose(1, 2))

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        encoded, prototypes = self.encode(params, inputs), self.pool.read(state)
        if self.distance == "cosine":
            return self._among(state, SHARPNESS * cosine(encoded, prototypes))
        # Over the root of their number: squares of many features would saturate the softmax before anything is learned.
        return self._among(state, -torch.cdist(encoded, prototypes).square() / self.backbone.n_features**0.5)

    def _among(self, state: State, logits: Tensor) -> Outputs:
        """Logits that leave out classes without a sample, whose prototype would be zero: where the way varies."""
        return {LOGITS: logits.masked_fill(self.pool.nothing(state)[:, None], torch.finfo(logits.dtype).min)}


class Relation(Prototypical):
    """Relation networks (Sung et al. 2018): how well a query goes with a class is itself learned.

    A network on (query, mean of the class); the paper adds up the encodings of a class, which changes with its shots.
    Scores are trained by cross-entropy where the paper takes squared errors of ones and zeros.
    """

    def __init__(self, backbone: Backbone, way: int) -> None:
        super().__init__(backbone, way)
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
    """Cosines ``(task, n, m)`` of ``(task, n, d)`` and ``(task, m, d)``."""
    return functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).transpose(1, 2)
