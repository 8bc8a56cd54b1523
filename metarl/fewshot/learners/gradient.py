"""Learners that adapt by gradient steps on the support: MAML, first-order MAML, Meta-SGD, ANIL and Reptile."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice, repeat
from typing import ClassVar, Self

import torch
from torch import Tensor

from metarl.adapt.gradient import STEP_SIZE, InnerLoop
from metarl.core.config import above, at_least
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import (
    DEFAULT,
    HEAD,
    LOGITS,
    VALUE,
    FewShotLearner,
    check_labels,
    error,
    logged,
    steps_of,
)
from metarl.fewshot.learners.registry import register_fewshot


@dataclass(frozen=True, kw_only=True)
class GradientConfig(FewShotConfig):
    """The settings of learners that adapt by gradient steps.

    Small batches and strided convolutions: after 5 minutes of a core on Omniglot 8 tasks at 2e-3 were at 92.2%, at 1e-3
    at 90.8, and 16 tasks at 3e-3 were slower than both. The literature has 32 at 1e-3 and 60,000 iterations.
    """

    iterations: int = 6000
    tasks: int = 8
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=5, shot=1, queries=5))
    strided: bool = True
    learning_rate: float = 2e-3
    steps: int = 1  # gradient steps on a support in training
    # After training, as many as in it unless given; those beyond ``steps`` are as long as the last one.
    test_steps: int | None = None
    step_size: float = 0.4  # of the inner loop, or what learned step sizes start at
    each_step: bool = False  # train for the query's mean loss after every step (Antoniou et al. 2019, section 4)
    limits: ClassVar = {"steps": at_least(1), "test_steps": at_least(0), "step_size": above(0)}


# Finn et al. 2017, section 5.1: hidden layers of 40, batches of 25 tasks of 10 points. The loss after every step
# counts, so that few steps and many are good alike: trained for one, as the paper has it, many make it worse on 5
# points.
_SINUSOID = GradientConfig(
    iterations=60_000,
    tasks=25,
    episode=EpisodeSpec(way=1, shot=10, queries=10),
    width=40,
    strided=False,
    learning_rate=1e-3,
    steps=3,
    step_size=0.005,
    test_steps=10,
    each_step=True,
)
# Users' ratings, of which a support has few or many: as many steps suit both where they are short.
_RATINGS = GradientConfig(
    iterations=800,
    episode=EpisodeSpec(way=1, shot=1, most_shot=20, queries=32),
    steps=3,
    test_steps=5,
    step_size=0.05,
    validate_every=100,
)
# The literature's budget: Finn et al. 2017, appendix A.1, who score after three steps.
_PAPER = GradientConfig(iterations=60_000, tasks=32, learning_rate=1e-3, test_steps=3)


@register_fewshot("maml")
class FewShotMAML(FewShotLearner):
    """Model-agnostic meta-learning (Finn et al. 2017, equation 1): a start from which few gradient steps lead far.

    The inner loop is that of ``metarl.agents.maml``. What a subclass changes are its class attributes.

    Args:
        backbone: turns samples into features.
        n_outputs: classes, or numbers to predict.
        config: the steps.
        regression: whether numbers are predicted.
    """

    first_order: ClassVar[bool] = False  # leave out the derivative of the inner gradients
    learn_step_sizes: ClassVar[bool] = False  # learn a step size for every parameter and step
    adapts: ClassVar[str] = ""  # how the names of the parameters that adapt begin
    of_numbers = True
    config_class: ClassVar[type[FewShotConfig]] = GradientConfig
    # As many iterations as one core of an AMD EPYC does in four minutes, so that learners can be compared.
    presets: ClassVar = {
        "short": GradientConfig(iterations=1250),
        "sinusoid": _SINUSOID,
        "ratings": replace(_RATINGS, step_size=0.02),
        "paper": _PAPER,
        "paper-5-shot": replace(_PAPER, episode=EpisodeSpec(way=5, shot=5, queries=5)),
        "paper-20-way": replace(
            _PAPER, tasks=16, episode=EpisodeSpec(way=20, shot=1, queries=5), steps=5, step_size=0.1, test_steps=5
        ),
    }
    config: GradientConfig

    def __init__(self, backbone: Backbone, n_outputs: int, config: GradientConfig, *, regression: bool = False) -> None:
        super().__init__(backbone, n_outputs, config)
        self.regression = regression
        self.head = MLP((backbone.n_features, n_outputs))
        self.inner = InnerLoop(
            steps=config.steps,
            step_size=config.step_size,
            first_order=self.first_order,
            prefix=self.adapts,
            halve_beyond=False,
        )

    @classmethod
    def make(cls, config: GradientConfig, data: DataSpec, way: int, backbone: Backbone) -> Self:
        return cls(backbone, data.outputs or way, config, regression=data.outputs is not None)

    def init(self, generator: torch.Generator) -> Params:
        params = {**super().init(generator), **{HEAD + k: value for k, value in self.head.init(generator).items()}}
        return {**params, **self.inner.initial_step_sizes(params)} if self.learn_step_sizes else params

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.inner.start(params, n_tasks)

    def adapt(self, params: Params, state: State, support: Support, steps: int | None = None) -> State:
        """Take so many gradient steps on the support, ``config.steps`` unless given."""
        return deque(self.trace(params, state, support, steps), maxlen=1).pop()

    def trace(self, params: Params, state: State, support: Support, steps: int | None = None) -> Iterator[State]:
        """Yield the states before any and after each of so many steps of ``adapt``."""
        n_steps = steps_of(steps, self.config.steps)
        if not self.regression:
            check_labels(support.targets, self.head.sizes[-1])

        # Where the head alone adapts, the backbone says the same at every step.
        fixed = self.backbone(params, support.inputs, BACKBONE) if self.inner.prefix == HEAD else None

        def step(state: State, _: State) -> State:
            inputs, targets = self.batch(support, state)

            def loss(fast: Params) -> tuple[Tensor, Outputs]:
                used = {**params, **fast}
                features = self.backbone(used, inputs, BACKBONE) if fixed is None else fixed
                return error(self._outputs(used, features), targets), {}

            return self.inner.step(params, state, loss)[0]

        return accumulate(repeat(state, n_steps), step, initial=state)

    def batch(self, support: Support, state: State) -> Support:
        """Return the samples that the next gradient step is taken on: all of the support."""
        return support

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        """Yield the states before any step and after each of those that are taken after training."""
        start = self.initial(params, len(support.targets))
        return enumerate(self.trace(params, start, support, self.config.test_steps))

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the query's loss after the last step, or its mean over the steps; what is logged is after the last."""
        inputs, targets = episodes.query
        states = self.trace(params, self.initial(params, len(targets)), episodes.support)
        scored = islice(states, 1, None) if self.config.each_step else deque(states, maxlen=1)
        outputs = [self.query(params, state, inputs) for state in scored]
        losses = [error(each, targets) for each in outputs]
        return torch.stack(losses).mean(0), logged(losses[-1], outputs[-1], targets)

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        used = {name: state.get(name, value) for name, value in params.items() if not name.startswith(STEP_SIZE)}
        return self._outputs(used, self.backbone(used, inputs, BACKBONE))

    def _outputs(self, params: Params, features: Tensor) -> Outputs:
        return {VALUE if self.regression else LOGITS: self.head(params, features, HEAD)}


@register_fewshot("fomaml")
class FirstOrderMAML(FewShotMAML):
    """First-order MAML (Finn et al. 2017, section 5.2): the outer gradient is that at the adapted parameters."""

    first_order = True
    # Five short steps: trained for one of .4, a second one overshoots (72, 51 and at last 78% after many).
    presets: ClassVar = {
        DEFAULT: GradientConfig(steps=5, step_size=0.1),
        "short": GradientConfig(iterations=1100, steps=5, step_size=0.1),
        "paper": GradientConfig(iterations=60_000, steps=5, step_size=0.1),
    }


@register_fewshot("meta-sgd")
class MetaSGD(FewShotMAML):
    """Meta-SGD (Li et al. 2017, equation 3): MAML that also learns a step size for every parameter."""

    learn_step_sizes = True
    presets: ClassVar = {
        DEFAULT: GradientConfig(test_steps=1),
        "short": GradientConfig(iterations=1300, test_steps=1),
        "paper": GradientConfig(iterations=60_000, test_steps=1),
        # One step, as the paper has it: with step sizes so large further ones lead away. Without a bound on the
        # gradient training breaks down after some thousand iterations.
        "sinusoid": replace(_SINUSOID, iterations=30_000, steps=1, test_steps=1, each_step=False, max_norm=1.0),
    }


@register_fewshot("anil")
class ANIL(FewShotMAML):
    """Almost no inner loop (Raghu et al. 2020, section 4): MAML of which only the last layer adapts."""

    adapts = HEAD
    presets: ClassVar = {
        DEFAULT: GradientConfig(test_steps=10),
        "short": GradientConfig(iterations=2450, test_steps=10),
        "ratings": _RATINGS,
        "paper": GradientConfig(iterations=60_000, test_steps=10),
    }
