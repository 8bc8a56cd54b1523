"""Logistic regression on the support by an inner loop, from a start and with step sizes learned across tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import COUNT, STEP_SIZE, InnerLoop
from metarl.adapt.inference import Mean
from metarl.core.config import above, at_least
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.data.episodes import EpisodeSpec, Support
from metarl.fewshot.learners.base import HEAD, LOGITS, error
from metarl.fewshot.learners.heads.base import FASTER, Head, HeadConfig
from metarl.fewshot.learners.registry import register_fewshot

_MAP, _SCALE = "map", "scale"
_WEIGHT, _BIAS = HEAD + "weight", HEAD + "bias"
_FIRST_SCALE = 20.0  # of the products of features of length 1 with class means


@dataclass(frozen=True, kw_only=True)
class LogisticConfig(HeadConfig):
    """The settings of logistic regression by gradient steps."""

    steps: int = 5  # gradient steps on a support
    step_size: float = 1.0  # what learned step sizes start at
    limits: ClassVar = {"steps": at_least(1), "step_size": above(0)}


@register_fewshot("logistic")
class Logistic(Head):
    """ANIL (Raghu et al. 2020, section 4) from a start that is Proto-MAML's (Triantafillou et al. 2020, section 4).

    The weights of a class begin at a learned multiple of its mean over the support, which is where prototypes classify,
    and take gradient steps with learned sizes on the support's cross-entropy. Features are mapped linearly from the
    identity and made of length 1, so that it serves any number of classes.
    """

    config_class = LogisticConfig
    presets: ClassVar = {"clinc150": LogisticConfig(iterations=300, episode=EpisodeSpec(way=50, shot=1, queries=5))}
    config: LogisticConfig

    def __init__(self, backbone: Backbone, way: int, config: LogisticConfig | None = None) -> None:
        super().__init__(backbone, way, config)
        self.pool = Mean(backbone.n_features)
        self.inner = InnerLoop(
            steps=self.config.steps, step_size=self.config.step_size, prefix=HEAD, halve_beyond=False
        )

    def init(self, generator: torch.Generator) -> Params:
        # One step size for all classes and features, so that they serve any number of classes.
        one = self.inner.initial_step_sizes({_WEIGHT: torch.zeros(1, 1), _BIAS: torch.zeros(1)})
        scale = torch.tensor(_FIRST_SCALE).log() / FASTER
        return {**super().init(generator), _MAP: torch.eye(self.backbone.n_features), _SCALE: scale, **one}

    def encode(self, params: Params, inputs: Tensor) -> Tensor:
        return functional.normalize(functional.linear(super().encode(params, inputs), params[_MAP]), dim=-1)

    def initial(self, params: Params, n_tasks: int) -> State:
        """Return weights of zero; the first support decides where they start."""
        like = params[_MAP]
        return self.inner.start(
            {_WEIGHT: like.new_zeros(self.way, self.backbone.n_features), _BIAS: like.new_zeros(self.way)}, n_tasks
        )

    def adapt(self, params: Params, state: State, support: Support) -> State:
        *_, (_, last) = self._trace(params, state, support)
        return last

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        """Yield the states at the class means, and after each step."""
        return self._trace(params, self.initial(params, len(support.targets)), support)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        return {LOGITS: _linear(state, self.encode(params, inputs))}

    def _trace(self, params: Params, state: State, support: Support) -> Iterator[tuple[int, State]]:
        features = self.encode_support(params, support)
        member = functional.one_hot(support.targets, self.way).transpose(1, 2)
        pooled = self.pool.add(self.pool.initial(len(features), self.way, features), features, member)
        means = (FASTER * params[_SCALE]).exp() * self.pool.read(pooled)
        # A class without a sample is no choice.
        bias = torch.zeros_like(means[..., 0]).masked_fill(self.pool.nothing(pooled), torch.finfo(means.dtype).min / 2)
        fresh = state[COUNT] == 0
        first = {
            **state,
            _WEIGHT: torch.where(fresh[:, None, None], means, state[_WEIGHT]),
            _BIAS: torch.where(fresh[:, None], bias, state[_BIAS]),
        }
        sizes = {name: value for name, value in params.items() if name.startswith(STEP_SIZE)}

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            return error({LOGITS: _linear(fast, features)}, support.targets), {}

        def step(state: State, _: State) -> State:
            return self.inner.step({**sizes, _WEIGHT: means, _BIAS: bias}, state, loss)[0]

        return enumerate(accumulate(repeat(first, self.config.steps), step, initial=first))


def _linear(fast: State, features: Tensor) -> Tensor:
    return torch.baddbmm(fast[_BIAS][:, None], features, fast[_WEIGHT].transpose(1, 2))
