"""The LSTM meta-learner (Ravi and Larochelle 2017): learners that adapt by gradient, with an update that is learned."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from metarl.adapt.learned_update import LearnedUpdate
from metarl.core.config import at_least
from metarl.core.types import Params
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.learners.gradient import FewShotMAML, GradientConfig
from metarl.fewshot.learners.registry import register_fewshot


@dataclass(frozen=True, kw_only=True)
class MetaLSTMConfig(GradientConfig):
    """The settings of the LSTM meta-learner; ``step_size`` is what its input gate starts at, below 1."""

    tasks: int = 4
    width: int = 32
    learning_rate: float = 3e-3
    steps: int = 2
    test_steps: int | None = 2
    update_width: int = 8  # units of the update for every element of a parameter; the paper has 20
    limits: ClassVar = {"update_width": at_least(1)}


@register_fewshot("meta-lstm")
class MetaLSTM(FewShotMAML):
    """The LSTM meta-learner (Ravi and Larochelle 2017, section 3): start and update rule are both learned.

    The rule is ``LearnedUpdate``. No derivative is taken of gradients.
    """

    first_order = True
    config_class = MetaLSTMConfig
    presets: ClassVar = {"short": MetaLSTMConfig(iterations=1600)}

    def __init__(self, backbone: Backbone, n_outputs: int, config: MetaLSTMConfig, *, regression: bool = False) -> None:
        super().__init__(backbone, n_outputs, config, regression=regression)
        self.inner: LearnedUpdate = LearnedUpdate(
            steps=config.steps, step_size=config.step_size, prefix=self.adapts, hidden=config.update_width
        )

    def init(self, generator: torch.Generator) -> Params:
        return {**super().init(generator), **self.inner.init(generator)}
