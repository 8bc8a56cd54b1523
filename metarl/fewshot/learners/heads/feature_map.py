"""Nearest class means after a linear map that is learned across tasks, from the identity."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.inference import TOTAL
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.dataset import TaskSource
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec
from metarl.fewshot.learners.base import HEAD, LOGITS, error, logged
from metarl.fewshot.learners.heads.base import FASTER, KNOWN, Head, HeadConfig
from metarl.fewshot.learners.metric import Prototypical
from metarl.fewshot.learners.registry import register_fewshot

_WEIGHT, _SHIFT, _SCALE = HEAD + "weight", HEAD + "shift", HEAD + "scale"
_SHRINKAGE, _KNOWN = HEAD + "shrinkage", HEAD + "known"
_FIRST_SCALE = 20.0  # of cosines
_FIRST_SHRINKAGE = -4.0  # softplus of it is in samples: nearly none
_FIRST_KNOWN = (20.0, -10.0, -5.0)  # of ⟨q, p⟩, |p|² and 1: ten times how much nearer than 1 the squared distance is
_SAMPLED = 50  # tasks over which features are averaged before training


@register_fewshot("feature-map")
class FeatureMap(Head, Prototypical):
    """Prototypical networks (Snell et al. 2017, equations 1 and 2) by cosine after ``W (x - m)``, W and m learned.

    W starts at the identity and m at the mean of the training features, so that training begins where nearest class
    means stand; away from the mean alone is worth most of a point on sentences. A prototype is drawn to the mean of the
    whole support as if that were further samples of its class (shrinkage), as many as are learned; so the fewer its own
    samples, the more. Cosines have a learned scale.

    Beside logits a query has ``known``, the logit that it is of any class of the support: linear in its product with
    the nearest mean and in that mean's square, as a squared distance is. It is learned on training tasks, where each
    query is once among all classes and once with its own left out.
    """

    presets: ClassVar = {
        "clinc150": HeadConfig(iterations=150, episode=EpisodeSpec(way=50, shot=1, queries=5), learning_rate=2e-4)
    }

    def init(self, generator: torch.Generator) -> Params:
        d = self.backbone.n_features
        scalars = {_SCALE: torch.tensor(_FIRST_SCALE).log(), _SHRINKAGE: torch.tensor(_FIRST_SHRINKAGE)}
        made = {name: value / FASTER for name, value in {**scalars, _KNOWN: torch.tensor(_FIRST_KNOWN)}.items()}
        return {**super().init(generator), _WEIGHT: torch.eye(d), _SHIFT: torch.zeros(d), **made}

    def started(self, params: Params, source: TaskSource, generator: torch.Generator) -> Params:
        """Return the parameters with the mean of the training features as the shift."""
        some = source.draw(self.config.episode, _SAMPLED, generator).support
        return {**params, _SHIFT: super().encode(params, some.inputs).mean((0, 1)).detach()}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        mapped = functional.linear(super().encode(params, inputs) - params[_SHIFT], params[_WEIGHT])
        return functional.normalize(mapped, dim=-1)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        products, squares, missing = self._compared(params, state, inputs)
        logits = (FASTER * params[_SCALE]).exp() * products / squares.sqrt().clamp(min=1e-6)
        logits = logits.masked_fill(missing, torch.finfo(logits.dtype).min)
        return {LOGITS: logits, KNOWN: self._known(params, products, squares, missing)}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the query's cross-entropy, and beside it that of ``known``, which trains nothing else."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        outputs, targets = self.query(params, state, episodes.query.inputs), episodes.query.targets
        loss = error(outputs, targets)
        products, squares, missing = (part.detach() for part in self._compared(params, state, episodes.query.inputs))
        without = missing | functional.one_hot(targets, self.way).bool()
        inside, outside = (self._known(params, products, squares, each) for each in (missing, without))
        known = functional.softplus(-inside).mean(1) + functional.softplus(outside).mean(1)
        return loss + known, logged(loss, outputs, targets)

    def _compared(self, params: Params, state: State, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return products with the prototypes, squares of these, and which are of no sample, each for every query."""
        total = state[TOTAL]
        count, extra = total[..., -1:], functional.softplus(FASTER * params[_SHRINKAGE])
        overall = total.sum(1, keepdim=True)
        overall = overall[..., :-1] / overall[..., -1:].clamp(min=1)
        prototypes = (total[..., :-1] + extra * overall) / (count + extra)
        products = self.encode(params, inputs) @ prototypes.transpose(1, 2)
        squares, missing = prototypes.square().sum(-1), self.pool.nothing(state)
        return products, squares[:, None].expand_as(products), missing[:, None].expand_as(products)

    def _known(self, params: Params, products: Tensor, squares: Tensor, missing: Tensor) -> Tensor:
        product, square, bias = FASTER * params[_KNOWN]
        scores: Tensor = (product * products + square * squares + bias).masked_fill(missing, -torch.inf)
        return scores.amax(-1)
