"""What heads have in common: features as they are given, and settings for a training that is short."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from metarl.core.config import at_least
from metarl.core.modules import ModuleNetwork
from metarl.core.types import Params
from metarl.fewshot.backbone import Backbone, Dense
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import DEFAULT
from metarl.fewshot.learners.metric import MetricLearner

KNOWN = "known"  # output of some heads: how well a query goes with any class of the support, ``(task, sample)``
FASTER = 100.0  # what single numbers are multiplied with, so that a learning rate for matrices moves them too


@dataclass(frozen=True, kw_only=True)
class HeadConfig(FewShotConfig):
    """The settings of a head. Strong features are overfitted after some hundred iterations, so training validates."""

    iterations: int = 200
    tasks: int = 2
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=20, shot=1, queries=5))
    learning_rate: float = 1e-4
    validate_every: int | None = 20
    layers: int = 0  # hidden layers of ``width`` units below the head; with none the features stay as they are
    limits: ClassVar = {"layers": at_least(0)}


@dataclass(frozen=True)
class AsGiven:
    """The backbone that leaves features as they are."""

    n_features: int

    def init(self, generator: torch.Generator) -> Params:
        """Return no parameters."""
        return {}

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        """Return samples ``(task, n, *shape)`` as ``(task, n, n_features)``."""
        return inputs.flatten(2)


class Head(MetricLearner):
    """A learner on features as they are given, on hidden layers over them, or on a backbone of one's own."""

    uses: ClassVar[Mapping[str, str]] = {
        DEFAULT: "a minute on features of a frozen encoder",
        "clinc150": "sentences of CLINC150: a minute",
        "molecules": "assays of Tox21: a minute",
    }
    config_class = HeadConfig
    config: HeadConfig

    @classmethod
    def make(cls, config: Any, data: DataSpec, way: int, backbone: Backbone) -> Self:
        if isinstance(backbone, ModuleNetwork):
            return cls(backbone, way, config)
        hidden = [config.width] * config.layers
        return cls(Dense((data.n_inputs, *hidden)) if hidden else AsGiven(data.n_inputs), way, config)
