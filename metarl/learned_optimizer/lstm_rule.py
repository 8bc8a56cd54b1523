"""The learned rule of 2016: a recurrent network, the same for every element, turns its gradients into updates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.adapt.learned_update import scaled
from metarl.core.types import Params, State
from metarl.learned_optimizer.layout import Layout

_N_INPUTS = 2  # numbers that a gradient is turned into
_LAYERS = ("first", "second")


@dataclass(frozen=True)
class LSTMRule:
    """Two layers of LSTM on every element's own gradients (Andrychowicz et al. 2016, "Learning to learn by gradient
    descent by gradient descent", section 2.1 and appendix A).

    It knows neither the time nor the other elements. The paper has 20 units a layer; fewer take less time.
    """

    hidden: int = 8
    output_scale: float = 0.1  # of what comes out

    def init(self, generator: torch.Generator) -> Params:
        """Return the rule's parameters before training; the forget gates are nearly open, and nothing comes out."""
        params = {}
        for layer, n_inputs in zip(_LAYERS, (_N_INPUTS, self.hidden), strict=True):
            params[f"{layer}.weight"] = torch.randn(4 * self.hidden, n_inputs + self.hidden, generator=generator)
            params[f"{layer}.bias"] = torch.tensor([0.0, 1.0, 0.0, 0.0]).repeat_interleave(self.hidden)
        return {**params, "out.weight": torch.zeros(1, self.hidden)}

    def start(self, layout: Layout, rows: int) -> State:
        """Return hidden and cell states of zero, ``(row, hidden, n)``."""
        return {f"{layer}.{kind}": torch.zeros(rows, self.hidden, layout.n) for layer in _LAYERS for kind in "hc"}

    def update(
        self, theta: Params, layout: Layout, state: State, values: Tensor, gradients: Tensor, step: int, total: int
    ) -> tuple[Tensor, State]:
        """Return what to add to the parameters ``(row, n)``, and the state; see ``Rule.update``."""
        signal, made = scaled(gradients), State()
        for layer in _LAYERS:
            inputs = torch.cat([signal, state[f"{layer}.h"]], 1)
            weight = theta[f"{layer}.weight"] * inputs.shape[1] ** -0.5
            gates = torch.baddbmm(theta[f"{layer}.bias"][..., None], weight, inputs)
            let_in, keep, seen, show = gates.chunk(4, 1)
            cell = torch.sigmoid(keep) * state[f"{layer}.c"] + torch.sigmoid(let_in) * torch.tanh(seen)
            signal = torch.sigmoid(show) * torch.tanh(cell)
            made |= {f"{layer}.h": signal, f"{layer}.c": cell}
        return self.output_scale * torch.bmm(theta["out.weight"], signal)[:, 0], made
