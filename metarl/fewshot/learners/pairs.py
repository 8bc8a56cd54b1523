"""Learners that compare a query with every sample of the support: Matching and Siamese networks."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.types import Outputs, Params, State
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.learners.base import LOGITS, logged
from metarl.fewshot.learners.metric import SHARPNESS, MetricLearner, cosine
from metarl.fewshot.learners.registry import register_fewshot

ENCODED, LABELS = "encoded", "labels"
_LEAST = 1e-6  # of a probability whose logarithm is taken


@register_fewshot("matching")
class Matching(MetricLearner):
    """Matching networks (Vinyals et al. 2016, equation 1): a query's class is that of the samples it attends to.

    The state is the encoded support, to which further samples are added.
    """

    presets: ClassVar = {"short": FewShotConfig(iterations=1400), "paper": FewShotConfig(iterations=60_000)}

    def initial(self, params: Params, n_tasks: int) -> State:
        like = next(iter(params.values())).detach()
        return {
            ENCODED: like.new_zeros(n_tasks, 0, self.backbone.n_features),
            LABELS: torch.zeros(n_tasks, 0, dtype=torch.int64, device=like.device),
        }

    def adapt(self, params: Params, state: State, support: Support) -> State:
        return {
            ENCODED: torch.cat([state[ENCODED], self.encode_support(params, support)], 1),
            LABELS: torch.cat([state[LABELS], support.targets], 1),
        }

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        seen = self.embedded_support(params, state)
        likeness = SHARPNESS * cosine(self.embedded_query(params, self.encode(params, inputs), seen), seen)
        share = likeness.softmax(-1) @ functional.one_hot(state[LABELS], self.way).to(likeness.dtype)
        return {LOGITS: share.clamp(min=_LEAST).log()}

    def embedded_support(self, params: Params, state: State) -> Tensor:
        """Return the embeddings of the support that queries are compared with, ``(task, sample, d)``."""
        return state[ENCODED]

    def embedded_query(self, params: Params, encoded: Tensor, support: Tensor) -> Tensor:
        """Return the embeddings of encoded queries ``(task, query, d)``, given those of the support."""
        return encoded


@register_fewshot("siamese")
class Siamese(Matching):
    """Siamese networks for few samples (Koch et al. 2015) with the contrastive loss (Hadsell et al. 2006, equation 4).

    Pairs of a class are pulled together, others pushed apart until ``margin``; a query has the class of the nearest
    sample.
    """

    margin = 1.0  # between encodings of length 1
    presets: ClassVar = {"short": FewShotConfig(iterations=1100), "paper": FewShotConfig(iterations=60_000)}

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        apart = self._apart(self.encode(params, inputs), state[ENCODED])
        other = state[LABELS][:, None, :, None] != torch.arange(self.way, device=apart.device)  # (task, 1, sample, way)
        nearest = apart[..., None].masked_fill(other, torch.inf).amin(2)
        # A class without a sample is as far away as can be.
        return {LOGITS: -SHARPNESS * nearest.clamp(max=4.0)}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        apart = self._apart(self.encode(params, episodes.query.inputs), state[ENCODED])
        same = episodes.query.targets[:, :, None] == state[LABELS][:, None]
        pushed = (self.margin - (apart + _LEAST).sqrt()).clamp(min=0).square()
        # As much weight for the few pairs of a class as for the many others.
        pulled = (apart * same).sum((1, 2)) / same.sum((1, 2))
        loss = pulled + (pushed * ~same).sum((1, 2)) / (~same).sum((1, 2))
        with torch.no_grad():
            outputs = self.query(params, state, episodes.query.inputs)
        return loss, logged(loss, outputs, episodes.query.targets)

    @staticmethod
    def _apart(one: Tensor, other: Tensor) -> Tensor:
        """Return the squared distances of the directions, ``(task, n, m)``, from 0 to 4."""
        return (2 - 2 * cosine(one, other)).clamp(min=0)
