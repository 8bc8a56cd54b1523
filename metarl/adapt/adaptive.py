"""Adaptation by Adam's steps in place of gradient descent's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.core.types import Params, State

SECOND = "second_moment."  # before the name of a parameter: its running mean of squared gradients
_DECAY, _LEAST = 0.999, 1e-8  # Adam's β2 and ε


@dataclass(frozen=True, kw_only=True)
class AdamLoop(InnerLoop):
    """An inner loop of Adam's steps without a first moment (Kingma and Ba 2015, algorithm 1, with β1 = 0).

    ``θ' = θ - α g / (√v̂ + ε)``, where v̂ is the mean of squared gradients so far, corrected for its start at zero. It is
    the inner loop of Nichol et al. 2018, appendix A, where every task begins with a new v.
    """

    first_order: bool = True

    def start(self, params: Params, n_tasks: int) -> State:
        state = super().start(params, n_tasks)
        return state | {SECOND + name: torch.zeros_like(state[name]) for name in self.adapted(params)}

    def update(self, params: Params, state: State, gradients: Params, losses: Tensor) -> State:
        changed: State = {}
        for name, gradient in gradients.items():
            second = torch.lerp(gradient.square(), state[SECOND + name], _DECAY)
            count = (state[COUNT] + 1).reshape(-1, *[1] * (gradient.ndim - 1))
            direction = gradient / ((second / (1 - _DECAY**count)).sqrt() + _LEAST)
            size = self._step_size(params, name, state[COUNT], gradient)
            changed |= {SECOND + name: second, name: state[name] - size * direction}
        return changed
