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
    the noise are learned for good predictions of queries. Each sample has as much noise as its class is frequent, so
    that few positives count as much as many negatives. Logits that the process is unsure of are nearer to zero, so that
    probabilities are moderate.
    """

    config_class = GaussianProcessConfig
    presets: ClassVar = {
        "molecules": GaussianProcessConfig(
            episode=EpisodeSpec(way=2, support=32, queries=32), layers=2, width=256, validate_every=None
        )
    }

    def init(self, generator: torch.Generator) -> Params:
        return {**super().init(generator), _KERNEL: torch.tensor(_FIRST) / FASTER**0.5}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        return functional.normalize(super().encode(params, inputs), dim=-1)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        return self.predicted(params, state[ENCODED], self.encode(params, inputs), state[LABELS])

    def predicted(self, params: Params, seen: Tensor, asked: Tensor, labels: Tensor) -> Outputs:
        """Return the logits of encoded queries ``(task, query, d)``, given an encoded support ``(task, n, d)``."""
        linear, bell, length, noise, scale = (FASTER**0.5 * params[_KERNEL]).exp()
        targets = functional.one_hot(labels, self.way).to(seen.dtype)
        counts = targets.sum(1, keepdim=True)  # (task, 1, class)
        of_each = (targets * counts).sum(-1)  # (task, n): how many samples each sample's class has
        classes = (counts > 0).sum(-1)  # (task, 1)
        # With as much noise as its class is frequent: in all, each class has the same weight and so the same mean.
        spread, mean = noise * of_each * classes / len(seen[0]) + _LEAST, (counts > 0) / classes[..., None]

        def kernel(one: Tensor, other: Tensor) -> Tensor:
            products = one @ other.transpose(1, 2)
            norms = one.square().sum(-1)[:, :, None] + other.square().sum(-1)[:, None]
            found: Tensor = linear * products + bell * ((products - norms / 2) / length).exp()
            return found

        within, across = kernel(seen, seen), kernel(asked, seen)
        fitted = kernel_regression(within, targets - mean, spread, across)
        own = linear * asked.square().sum(-1) + bell
        unsure = kernel_variance(within, spread, across, own)
        logits = scale * fitted / (1 + scale.square() * unsure[..., None] / _PROBIT).sqrt()
        return {LOGITS: logits.masked_fill(counts == 0, torch.finfo(logits.dtype).min)}
