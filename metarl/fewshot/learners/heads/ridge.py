"""Ridge regression on the support, with a strength that is learned across tasks."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.closed_form import kernel_regression
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import HEAD, LOGITS
from metarl.fewshot.learners.heads.base import FASTER, Head, HeadConfig
from metarl.fewshot.learners.pairs import ENCODED, LABELS, Matching
from metarl.fewshot.learners.registry import register_fewshot

_WEIGHT, _STRENGTH, _SCALE = HEAD + "weight", HEAD + "strength", HEAD + "scale"
_FIRST_SCALE = 20.0  # of regressed labels
_LEAST = 1e-4  # of the strength, below which rounding decides


@register_fewshot("ridge")
class Ridge(Head, Matching):
    """Ridge regression to the classes of a support (Bertinetto et al. 2019, R2-D2, equations 3 to 6).

    Features are mapped linearly from the identity and made of length 1. Targets are 1 for a sample's class and 0 for
    others, less their mean; the strength of the ridge and the scale of the logits are learned.
    """

    presets: ClassVar = {"clinc150": HeadConfig(iterations=300, episode=EpisodeSpec(way=50, shot=1, queries=5))}

    def init(self, generator: torch.Generator) -> Params:
        numbers = {_STRENGTH: torch.tensor(0.0), _SCALE: torch.tensor(_FIRST_SCALE).log()}
        made = {name: value / FASTER for name, value in numbers.items()}
        return {**super().init(generator), _WEIGHT: torch.eye(self.backbone.n_features), **made}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        return functional.normalize(functional.linear(super().encode(params, inputs), params[_WEIGHT]), dim=-1)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        seen, asked = state[ENCODED], self.encode(params, inputs)
        targets = functional.one_hot(state[LABELS], self.way).to(seen.dtype)
        mean = targets.mean(1, keepdim=True)
        centre = seen.mean(1, keepdim=True)  # the bias, which is not drawn to zero
        seen, asked = seen - centre, asked - centre
        noise = functional.softplus(FASTER * params[_STRENGTH]) + _LEAST
        fitted = kernel_regression(seen @ seen.transpose(1, 2), targets - mean, noise, asked @ seen.transpose(1, 2))
        logits = (FASTER * params[_SCALE]).exp() * fitted
        return {LOGITS: logits.masked_fill(mean == 0, torch.finfo(logits.dtype).min)}
