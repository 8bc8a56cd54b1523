"""A Gaussian process on the numbers of a support, with a kernel that is learned across tasks."""

from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapt.closed_form import kernel_regression, kernel_variance
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import HEAD, SCALE, VALUE, error
from metarl.fewshot.learners.heads.base import FASTER, Head
from metarl.fewshot.learners.heads.gaussian_process import GaussianProcessConfig
from metarl.fewshot.learners.registry import register_fewshot

_SEEN, _NUMBERS, _KERNEL = "seen", "numbers", HEAD + "kernel"
_FIRST = (-1.0, 0.0, 0.0, -2.0)  # logarithms: linear part, RBF part, its length squared, noise
_LEAST = 1e-4  # of the noise, below which rounding decides


@register_fewshot("gp-regression")
class GaussianProcessRegression(Head):
    """Gaussian-process regression with a deep kernel learned across tasks (Patacchiola et al. 2020, section 3.1).

    The kernel is linear plus an exponentiated quadratic, in units of the support's spread, and its numbers are
    standardised, so that it needs no training to fit a support; training learns the weights, the length and the noise,
    and any hidden layers, for the likelihood of queries.
    """

    config_class = GaussianProcessConfig
    of_classes, of_numbers = False, True
    presets: ClassVar = {"default": GaussianProcessConfig(episode=EpisodeSpec(way=1, shot=10, queries=20))}

    def init(self, generator: torch.Generator) -> Params:
        return {**super().init(generator), _KERNEL: torch.tensor(_FIRST) / FASTER**0.5}

    def initial(self, params: Params, n_tasks: int) -> State:
        like = next(iter(params.values())).detach()
        return {_SEEN: like.new_zeros(n_tasks, 0, self.backbone.n_features), _NUMBERS: like.new_zeros(n_tasks, 0, 1)}

    def adapt(self, params: Params, state: State, support: Support) -> State:
        before = state[_NUMBERS] if state[_NUMBERS].shape[1] else support.targets[:, :0]
        return {
            _SEEN: torch.cat([state[_SEEN], self.encode(params, support.inputs)], 1),
            _NUMBERS: torch.cat([before, support.targets], 1),
        }

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        linear, bell, length, noise = (FASTER**0.5 * params[_KERNEL]).exp()
        centre = state[_SEEN].mean(1, keepdim=True)
        seen, asked = state[_SEEN] - centre, self.encode(params, inputs) - centre
        unit = seen.square().sum(-1).mean(1).clamp(min=1e-12).sqrt()[:, None, None]
        seen, asked = seen / unit, asked / unit
        numbers = state[_NUMBERS]
        mean = numbers.mean(1, keepdim=True)
        spread = (numbers - mean).square().mean(1, keepdim=True).sqrt()
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))

        def kernel(one: Tensor, other: Tensor) -> Tensor:
            apart = (one.square().sum(-1)[:, :, None] + other.square().sum(-1)[:, None] - 2 * one @ other.mT) / 2
            found: Tensor = linear * one @ other.mT + bell * (-apart.clamp(min=0) / length).exp()
            return found

        within, across, strength = kernel(seen, seen), kernel(asked, seen), noise + _LEAST
        fitted = kernel_regression(within, (numbers - mean) / spread, strength, across)
        own = linear * asked.square().sum(-1) + bell
        unsure = kernel_variance(within, strength, across, own)[..., None] + strength
        return {VALUE: mean + spread * fitted, SCALE: (spread * unsure.sqrt()).expand_as(fitted)}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the negative log-likelihood of the query, less its constant."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        outputs, targets = self.query(params, state, episodes.query.inputs), episodes.query.targets
        loss = ((targets - outputs[VALUE]) / outputs[SCALE]).square() / 2 + outputs[SCALE].log()
        return loss.mean((1, 2)), {"loss": error(outputs, targets)}
