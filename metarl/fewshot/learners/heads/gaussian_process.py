"""A Gaussian process on the labels of a support, with a kernel that is learned across tasks."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.closed_form import kernel_regression, kernel_variance
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import HEAD, LOGITS
from metarl.fewshot.learners.heads.base import FASTER, Head, HeadConfig
from metarl.fewshot.learners.pairs import ENCODED, LABELS, Matching
from metarl.fewshot.learners.registry import register_fewshot

_KERNEL = HEAD + "kernel"
_FIRST = (0.0, 0.0, 0.0, -2.0, 2.0)  # logarithms: linear part, RBF part, its length, noise, scale of the logits
_PROBIT = 8 / torch.pi  # MacKay 1992, equation 24: a logit whose variance is so great loses a share of it
_LEAST = 1e-3  # of the noise, below which rounding decides


@dataclass(frozen=True, kw_only=True)
class GaussianProcessConfig(HeadConfig):
    """The settings of a Gaussian process; hidden layers below it make its kernel a deep one."""

    iterations: int = 600
    tasks: int = 8
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=5, shot=5, queries=10))
    learning_rate: float = 1e-3


@register_fewshot("gp")
class GaussianProcess(Head, Matching):
    """Regression of labels by a Gaussian process with a deep kernel (Patacchiola et al. 2020; ADKT, Chen et al. 2023).

    Features are of length 1; the kernel is linear plus an exponentiated quadratic, and their weights, the length and
    the noise are learned for good predictions of queries. Labels are taken less their mean, each sample with as much
    noise as its class is frequent, so that few positives count as much as many negatives. Logits that the process is
    unsure of are nearer to zero, so that probabilities are moderate.
    """

    config_class = GaussianProcessConfig
    presets: ClassVar = {"molecules": GaussianProcessConfig(layers=2, width=256)}

    def init(self, generator: torch.Generator) -> Params:
        return {**super().init(generator), _KERNEL: torch.tensor(_FIRST) / FASTER**0.5}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        return functional.normalize(super().encode(params, inputs), dim=-1)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        seen, asked = state[ENCODED], self.encode(params, inputs)
        linear, bell, length, noise, scale = (FASTER**0.5 * params[_KERNEL]).exp()
        targets = functional.one_hot(state[LABELS], self.way).to(seen.dtype)
        share = targets.mean(1, keepdim=True)  # (task, 1, class)
        of_each = (targets * share).sum(-1)  # (task, n): how frequent each sample's class is
        mean = targets.transpose(1, 2) @ (1 / of_each)[..., None] / (1 / of_each).sum(1)[:, None, None]

        def kernel(one: Tensor, other: Tensor) -> Tensor:
            products = one @ other.transpose(1, 2)
            return linear * products + bell * ((products - 1) / length).exp()

        within, across, spread = kernel(seen, seen), kernel(asked, seen), noise * of_each * self.way + _LEAST
        fitted = kernel_regression(within, targets - mean.transpose(1, 2), spread, across)
        unsure = kernel_variance(within, spread, across, (linear + bell).expand(across.shape[:-1]))
        logits = scale * fitted / (1 + scale.square() * unsure[..., None] / _PROBIT).sqrt()
        return {LOGITS: logits.masked_fill(share == 0, torch.finfo(logits.dtype).min)}
