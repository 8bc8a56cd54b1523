"""Adam and AdamW as a rule, so that many learning rates are tried side by side."""

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from metarl.core.types import Params, State
from metarl.learned_optimizer.layout import Layout

RATE, DECAY = "learning_rate", "weight_decay"
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's
_MEAN, _SQUARE = "mean", "square"


@dataclass(frozen=True)
class AdamRule:
    """Adam (Kingma and Ba 2015), with weight decay AdamW (Loshchilov and Hutter 2019), on a cosine to zero.

    Its parameters are the learning rate at the start and the weight decay, each a number a row.
    """

    def init(self, generator: torch.Generator) -> Params:
        """Return torch's defaults for Adam."""
        return {RATE: torch.tensor(1e-3), DECAY: torch.tensor(0.0)}

    def start(self, layout: Layout, rows: int) -> State:
        """Return moments of zero, ``(row, n)``."""
        return {name: torch.zeros(rows, layout.n) for name in (_MEAN, _SQUARE)}

    def update(
        self, theta: Params, layout: Layout, state: State, values: Tensor, gradients: Tensor, step: int, total: int
    ) -> tuple[Tensor, State]:
        """Return what to add to the parameters ``(row, n)``, and the state; see ``Rule.update``."""
        first, second = _BETAS
        mean = torch.lerp(gradients, state[_MEAN], first)
        square = torch.lerp(gradients.square(), state[_SQUARE], second)
        root = (square / (1 - second ** (step + 1))).sqrt() + _EPSILON
        direction = mean / (1 - first ** (step + 1)) / root + theta[DECAY][:, None] * values
        rate = theta[RATE][:, None] * (1 + cos(pi * step / total)) / 2
        return -rate * direction, {_MEAN: mean, _SQUARE: square}
