"""Bayesian linear regression on the numbers of a support, with a prior over weights that is learned across tasks."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapt.closed_form import kernel_regression, kernel_variance
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import DEFAULT, HEAD, SCALE, VALUE, error
from metarl.fewshot.learners.heads.base import Head, HeadConfig
from metarl.fewshot.learners.registry import register_fewshot

_SEEN, _NUMBERS = "seen", "numbers"
_MEAN, _ROOT, _NOISE = HEAD + "mean", HEAD + "root", HEAD + "noise"
_FIRST_NOISE = -0.5  # logarithm of the variance, in units of the labels' own
_FIRST_ROOT = 0.1  # standard deviation of a weight
_LEAST = 1e-4  # of the noise, below which rounding decides


@dataclass(frozen=True, kw_only=True)
class AlpacaConfig(HeadConfig):
    """The settings of regression with a learned prior; ``layers`` make the features that it is linear in."""

    iterations: int = 600
    tasks: int = 16
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=1, shot=1, most_shot=20, queries=32))
    learning_rate: float = 3e-3
    validate_every: int | None = 100


@register_fewshot("alpaca")
class Alpaca(Head):
    """Bayesian linear regression with a learned prior (Harrison et al. 2018, ALPaCA, equations 5 to 8).

    The weights of a task have a Gaussian prior ``N(m, L Lᵀ)`` with ``m`` and ``L`` learned across tasks; a support
    makes it a posterior in closed form, and a query has a mean and a variance. Beyond the paper the logarithm of the
    noise is linear in the features too, for some samples say less than others.
    """

    uses: ClassVar = {**Head.uses, DEFAULT: "users' ratings (--data movietweetings): a minute"}
    config_class = AlpacaConfig
    of_classes, of_numbers = False, True

    def init(self, generator: torch.Generator) -> Params:
        d = self.backbone.n_features + 1
        noise = torch.zeros(d)
        noise[-1] = _FIRST_NOISE
        root = _FIRST_ROOT * torch.eye(d)
        root[-1, -1] = 0.5  # of the constant, by which tasks differ the most
        return {**super().init(generator), _MEAN: torch.zeros(d), _ROOT: root, _NOISE: noise}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        """Return features ``(task, n, n_features + 1)``, the last of which is one."""
        features = super().encode(params, inputs)
        return torch.cat([features, torch.ones_like(features[..., :1])], -1)

    def initial(self, params: Params, n_tasks: int) -> State:
        like = params[_MEAN].detach()
        return {_SEEN: like.new_zeros(n_tasks, 0, len(like)), _NUMBERS: like.new_zeros(n_tasks, 0, 1)}

    def adapt(self, params: Params, state: State, support: Support) -> State:
        return {
            _SEEN: torch.cat([state[_SEEN], self.encode(params, support.inputs)], 1),
            _NUMBERS: torch.cat([state[_NUMBERS], support.targets.to(state[_NUMBERS])], 1),
        }

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        seen, asked = state[_SEEN], self.encode(params, inputs)
        mean, root = params[_MEAN][:, None], params[_ROOT].tril()
        within, across = seen @ root, asked @ root  # the kernel is of the prior over weights
        noise, own = ((each @ params[_NOISE]).clamp(-6, 6).exp() + _LEAST for each in (seen, asked))
        kernel, crossed = within @ within.mT, across @ within.mT
        fitted = asked @ mean + kernel_regression(kernel, state[_NUMBERS] - seen @ mean, noise, crossed)
        unsure = kernel_variance(kernel, noise, crossed, across.square().sum(-1)) + own
        return {VALUE: fitted, SCALE: unsure.sqrt()[..., None]}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the negative log-likelihood of the query, less its constant."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        outputs, targets = self.query(params, state, episodes.query.inputs), episodes.query.targets
        loss = ((targets - outputs[VALUE]) / outputs[SCALE]).square() / 2 + outputs[SCALE].log()
        return loss.mean((1, 2)), {"loss": error(outputs, targets)}
