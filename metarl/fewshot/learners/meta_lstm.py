"""The LSTM meta-learner (Ravi and Larochelle 2017): learners that adapt by gradient, with an update that is learned."""

import torch

from metarl.adapt.learned_update import LearnedUpdate
from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.learners.gradient import MAML, GradientConfig


class MetaLSTM(MAML):
    """Both the start of the parameters and the rule of their update are learned; see ``LearnedUpdate``.

    Args:
        backbone: of the network that adapts.
        n_outputs: classes, or numbers to predict.
        config: ``step_size`` is what the rule's input gate starts at, below 1. Of first order, without step sizes.
        hidden: units of the rule for every element of a parameter; the paper has 20.
    """

    def __init__(
        self, backbone: Backbone, n_outputs: int, config: GradientConfig, *, regression: bool = False, hidden: int = 8
    ) -> None:
        if config.learn_step_sizes or not config.first_order:
            raise MetaRLError(
                "MetaLSTM learns its update in place of step sizes, and takes no derivative of gradients: "
                f"needs learn_step_sizes=False and first_order=True, got {config}."
            )
        super().__init__(backbone, n_outputs, config, regression=regression)
        self.inner: LearnedUpdate = LearnedUpdate(
            steps=config.steps, step_size=config.step_size, prefix=self.inner.prefix, hidden=hidden
        )

    def init(self, generator: torch.Generator) -> Params:
        return {**super().init(generator), **self.inner.init(generator)}
