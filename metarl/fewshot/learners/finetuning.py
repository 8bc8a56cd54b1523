"""Fine-tuning of a network that was trained on all classes at once: the baselines of few-shot classification."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.adapt.inference import Mean
from metarl.core.config import above, at_least, check_config
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.learners.base import LOGITS, FewShotLearner, accuracy, check_labels, error, steps_of
from metarl.fewshot.learners.gradient import HEAD
from metarl.fewshot.learners.metric import cosine

_WEIGHT, _BIAS = HEAD + "0.weight", HEAD + "0.bias"


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """What is fitted to a support, and how long."""

    head: Literal["linear", "cosine"] = "linear"  # Baseline and Baseline++ (Chen et al. 2019)
    adapts: Literal["head", "all"] = "head"  # all: the backbone too
    steps: int = 100  # as in the paper
    step_size: float = 0.03  # a cosine head bears .1 to 1
    # What cosines are multiplied with. Of Omniglot's 4,112 training classes 9% were told apart after 3,600 batches with
    # 10, which Chen et al. take, and 39% with 30.
    sharpness: float = 30.0

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "steps": at_least(0),
                "step_size": above(0),
                "sharpness": above(0),
            },
        )


class FineTuning(FewShotLearner):
    """Train to tell all training classes apart, then fit a new head to the support (Chen et al. 2019, section 3).

    A linear head starts at zero: its first step makes it a comparison with class means. A cosine head starts at the
    class means of the support (weight imprinting, Qi et al. 2018), for a random start, as the paper has it, would be
    one more draw, and after few steps still be seen. The gradient goes through no step.

    Args:
        backbone: what is trained, and kept or fitted further.
        way: classes of a support.
        train_classes: those of the training part, which the head in ``params`` tells apart.
        config: what is fitted, and how long.
    """

    training_only = (HEAD,)  # that of all training classes; a support gets a new one, of which it gives the shapes

    def __init__(self, backbone: Backbone, way: int, train_classes: int, config: FineTuningConfig) -> None:
        if way < 2 or train_classes < 2:
            raise MetaRLError(f"FineTuning(way={way}, train_classes={train_classes}): both must be at least 2.")
        self.backbone, self.way, self.train_classes, self.config = backbone, way, train_classes, config
        self.linear, self.pool = MLP((backbone.n_features, train_classes), output_gain=1.0), Mean(backbone.n_features)
        self.inner = InnerLoop(
            step_size=config.step_size,
            first_order=True,
            prefix=HEAD if config.adapts == "head" else "",
            halve_beyond=False,
        )

    def init(self, generator: torch.Generator) -> Params:
        head = {HEAD + name: value for name, value in self.linear.init(generator).items()}
        if self.config.head == "cosine":
            del head[_BIAS]
        return {**{BACKBONE + name: value for name, value in self.backbone.init(generator).items()}, **head}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Cross-entropy among all training classes, of support and query alike."""
        if episodes.classes is None:
            raise MetaRLError("FineTuning trains on which class a sample is of; these episodes have no classes.")
        check_labels(episodes.classes, self.train_classes, "train_classes")
        inputs, which = (torch.cat(parts, 1) for parts in zip(*episodes[:2], strict=True))
        targets = episodes.classes.gather(1, which)
        outputs = {LOGITS: self._logits(params, self.backbone(params, inputs, BACKBONE))}
        loss = error(outputs, targets)
        return loss, {"loss": loss, "accuracy": accuracy(outputs, targets)}

    def initial(self, params: Params, n_tasks: int) -> State:
        """A new head of zeros, and the backbone where it adapts."""
        new = {name: value.new_zeros(self.way, *value.shape[1:]) for name, value in self._head(params).items()}
        return self.inner.start({**params, **new}, n_tasks)

    def adapt(self, params: Params, state: State, support: Support, steps: int | None = None) -> State:
        """So many gradient steps on the support, ``config.steps`` unless given; again, they go on from there."""
        n_steps = steps_of(steps, self.config.steps)
        check_labels(support.targets, self.way)
        fixed = self._features(params, state, support.inputs)
        if self.config.head == "cosine":
            fresh, start = (state[COUNT] == 0)[:, None, None], self._imprinted(fixed, support.targets)
            state = {**state, _WEIGHT: torch.where(fresh, start, state[_WEIGHT])}

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            features = fixed if self.config.adapts == "head" else self._features(params, fast, support.inputs)
            return error({LOGITS: self._logits(fast, features)}, support.targets), {}

        for _ in range(n_steps):
            state, _ = self.inner.step(params, state, loss)
        return state

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        return {LOGITS: self._logits(state, self._features(params, state, inputs))}

    def _features(self, params: Params, fast: Params, inputs: Tensor) -> Tensor:
        return self.backbone({**params, **fast}, inputs, BACKBONE)

    def _logits(self, params: Params, features: Tensor) -> Tensor:
        """By a head of all tasks or of each, ``(task, n, class)``."""
        if self.config.head == "linear":
            return self.linear(params, features, HEAD)
        weight = params[_WEIGHT]
        return self.config.sharpness * cosine(features, weight if weight.ndim == 3 else weight[None])

    def _imprinted(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean directions by class; of a class without a sample, away from all of them."""
        directions = functional.normalize(features, dim=-1)
        empty = self.pool.initial(len(targets), self.way, features)
        full = self.pool.add(empty, directions, functional.one_hot(targets, self.way).transpose(1, 2))
        away = -directions.mean(1, keepdim=True)
        return functional.normalize(torch.where(self.pool.nothing(full)[..., None], away, self.pool.read(full)), dim=-1)

    @staticmethod
    def _head(params: Params) -> Params:
        return {name: value for name, value in params.items() if name.startswith(HEAD)}
