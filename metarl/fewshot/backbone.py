"""What turns samples into features, whatever a learner makes of them."""

from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from metarl.core.networks import MLP
from metarl.core.types import Params
from metarl.fewshot.networks import Conv4

BACKBONE = "body."  # before the names of a backbone's parameters, among those of a learner


class Backbone(Protocol):
    """Pure functions of parameters, shared or of each task."""

    @property
    def n_features(self) -> int:
        """Numbers that come out for a sample."""

    def init(self, generator: torch.Generator) -> Params:
        """Parameters before training."""

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        """Features ``(task, n, n_features)`` of ``(task, n, *shape)``."""


@dataclass(frozen=True)
class Dense:
    """Hidden layers on flat samples, without normalisation: for regression, and for features made elsewhere."""

    sizes: tuple[int, ...] = (1, 40, 40)

    @property
    def n_features(self) -> int:
        """Of the last hidden layer."""
        return self.sizes[-1]

    def init(self, generator: torch.Generator) -> Params:
        """Orthogonal weights, zero biases."""
        return MLP(self.sizes, "relu", output_gain=2**0.5).init(generator)

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        """Features ``(task, n, n_features)``."""
        return torch.relu(MLP(self.sizes, "relu")(params, inputs.flatten(2), prefix))


def backbone_for(shape: tuple[int, ...], width: int = 64, strided: bool = True) -> Backbone:
    """Convolutions for images of at least 16 × 16, hidden layers for anything else."""
    if len(shape) >= 2 and min(shape[-2:]) >= 16:
        return Conv4(shape, width, strided=strided)
    return Dense((prod(shape), width, width))
