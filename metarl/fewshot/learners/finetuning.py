"""Fine-tuning of a network that was trained on all classes at once: the baselines of few-shot classification."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.adapt.inference import Mean
from metarl.core.config import above, at_least
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.learners.base import (
    DEFAULT,
    HEAD,
    LOGITS,
    FewShotLearner,
    check_labels,
    error,
    logged,
    steps_of,
)
from metarl.fewshot.learners.metric import cosine
from metarl.fewshot.learners.registry import register_fewshot

_WEIGHT, _BIAS = HEAD + "0.weight", HEAD + "0.bias"


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig(FewShotConfig):
    """The settings of a network that is fitted to a support after training."""

    strided: bool = True
    learning_rate: float = 3e-3
    steps: int = 100  # gradient steps on a support, as many as in the paper
    step_size: float = 0.03  # of these steps; a cosine head bears .1 to 1
    limits: ClassVar = {"steps": at_least(0), "step_size": above(0)}


@register_fewshot("finetune-linear")
class FineTuning(FewShotLearner):
    """A network trained to tell all training classes apart, with a new head for each support (Chen et al. 2019).

    This is the Baseline of section 3: the head is linear and starts at zero, so that its first step makes it a
    comparison with class means. The gradient goes through no step.

    Args:
        backbone: what is trained, and kept or fitted further.
        way: classes of a support.
        train_classes: those of the training split, which the head in ``params`` tells apart.
        config: how long is fitted.
    """

    training_only: ClassVar[tuple[str, ...]] = (
        HEAD,
    )  # that of all training classes; a support gets a new one, of which it gives the shapes
    adapts: ClassVar[str] = HEAD  # how the names of the parameters that are fitted begin
    any_way = True
    config_class = FineTuningConfig
    presets: ClassVar = {"short": FineTuningConfig(iterations=3600)}
    config: FineTuningConfig

    def __init__(self, backbone: Backbone, way: int, train_classes: int, config: FineTuningConfig) -> None:
        if way < 2 or train_classes < 2:
            raise MetaRLError(f"FineTuning(way={way}, train_classes={train_classes}): both must be at least 2.")
        super().__init__(backbone, way, config)
        self.train_classes = train_classes
        self.linear, self.pool = MLP((backbone.n_features, train_classes), output_gain=1.0), Mean(backbone.n_features)
        self.inner = InnerLoop(step_size=config.step_size, first_order=True, prefix=self.adapts, halve_beyond=False)

    @classmethod
    def make(cls, config: FineTuningConfig, data: DataSpec, way: int, backbone: Backbone) -> Self:
        return cls(backbone, way, data.classes, config)

    def init(self, generator: torch.Generator) -> Params:
        head = {HEAD + name: value for name, value in self.linear.init(generator).items()}
        return {**super().init(generator), **head}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the cross-entropy among all training classes, of support and query alike."""
        if episodes.classes is None:
            raise MetaRLError("FineTuning trains on which class a sample is of; these episodes have no classes.")
        check_labels(episodes.classes, self.train_classes, "train_classes")
        inputs, which = (torch.cat(parts, 1) for parts in zip(*episodes[:2], strict=True))
        targets = episodes.classes.gather(1, which)
        outputs = {LOGITS: self._logits(params, self.backbone(params, inputs, BACKBONE))}
        loss = error(outputs, targets)
        return loss, logged(loss, outputs, targets)

    def initial(self, params: Params, n_tasks: int) -> State:
        """Return a new head of zeros, and the backbone where it adapts."""
        new = {name: value.new_zeros(self.way, *value.shape[1:]) for name, value in self._head(params).items()}
        return self.inner.start({**params, **new}, n_tasks)

    def adapt(self, params: Params, state: State, support: Support, steps: int | None = None) -> State:
        """Take so many gradient steps on the support, ``config.steps`` unless given; called again, they go on."""
        n_steps = steps_of(steps, self.config.steps)
        check_labels(support.targets, self.way)
        fixed = self._features(params, state, support.inputs)
        state = self._started(state, fixed, support.targets)

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            features = fixed if self.adapts == HEAD else self._features(params, fast, support.inputs)
            return error({LOGITS: self._logits(fast, features)}, support.targets), {}

        for _ in range(n_steps):
            state, _ = self.inner.step(params, state, loss)
        return state

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        return {LOGITS: self._logits(state, self._features(params, state, inputs))}

    def _features(self, params: Params, fast: Params, inputs: Tensor) -> Tensor:
        return self.backbone({**params, **fast}, inputs, BACKBONE)

    def _started(self, state: State, features: Tensor, targets: Tensor) -> State:
        """Return the state in which the first step on a support begins."""
        return state

    def _logits(self, params: Params, features: Tensor) -> Tensor:
        """Return logits ``(task, n, class)`` by a head of all tasks or of each."""
        return self.linear(params, features, HEAD)

    @staticmethod
    def _head(params: Params) -> Params:
        return {name: value for name, value in params.items() if name.startswith(HEAD)}


@register_fewshot("finetune-whole")
class WholeFineTuning(FineTuning):
    """Fine-tuning of the backbone together with a new linear head."""

    adapts = ""
    presets: ClassVar = {
        DEFAULT: FineTuningConfig(steps=15, step_size=0.01),
        "short": FineTuningConfig(iterations=3600, steps=15, step_size=0.01),
    }


@dataclass(frozen=True, kw_only=True)
class CosineConfig(FineTuningConfig):
    """The settings of a network with a cosine head."""

    step_size: float = 0.1
    # What cosines are multiplied with. Of Omniglot's 4,112 training classes 9% were told apart after 3,600 batches with
    # 10, which Chen et al. take, and 39% with 30.
    sharpness: float = 30.0
    limits: ClassVar = {"sharpness": above(0)}


@register_fewshot("finetune-cosine")
class CosineFineTuning(FineTuning):
    """Fine-tuning of a head that compares directions, the Baseline++ of Chen et al. 2019.

    It starts at the class means of the support (weight imprinting, Qi et al. 2018), for a random start, as the paper
    has it, would be one more draw, and after few steps still be seen.
    """

    config_class = CosineConfig
    presets: ClassVar = {"short": CosineConfig(iterations=3600)}
    config: CosineConfig

    def init(self, generator: torch.Generator) -> Params:
        return {name: value for name, value in super().init(generator).items() if name != _BIAS}

    def _started(self, state: State, features: Tensor, targets: Tensor) -> State:
        fresh = (state[COUNT] == 0)[:, None, None]
        return {**state, _WEIGHT: torch.where(fresh, self._imprinted(features, targets), state[_WEIGHT])}

    def _logits(self, params: Params, features: Tensor) -> Tensor:
        weight = params[_WEIGHT]
        return self.config.sharpness * cosine(features, weight if weight.ndim == 3 else weight[None])

    def _imprinted(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return mean directions by class; for a class without a sample, one away from all of them."""
        directions = functional.normalize(features, dim=-1)
        empty = self.pool.initial(len(targets), self.way, features)
        full = self.pool.add(empty, directions, functional.one_hot(targets, self.way).transpose(1, 2))
        away = -directions.mean(1, keepdim=True)
        return functional.normalize(torch.where(self.pool.nothing(full)[..., None], away, self.pool.read(full)), dim=-1)
