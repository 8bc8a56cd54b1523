"""Perceptrons whose weights depend on a context: hypernetworks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metarl.core.networks import ACTIVATIONS, MLP
from metarl.core.types import Params

_HYPER = "hyper."


@dataclass(frozen=True)
class HyperMLP(MLP):
    """A perceptron whose first ``layers`` get their weights from the context by a linear hypernetwork.

    The first ``context`` numbers ``c`` of an input are the context, the others the state ``s``. The first layer
    computes ``(W + U c) s + V c + b + u c``: the hypernetwork adds ``U c`` to its weights on the state and ``u c`` to
    its bias, and the context is an input too. Later layers compute ``(W + U c) x + b + u c`` (Beck et al. 2022,
    arXiv 2210.11348; 2023, arXiv 2309.14970, whose control RNN+S has the input ``V c`` alone).

    It starts by Bias-HyperInit: ``U`` and ``u`` are zero, so every context begins with the plain perceptron.
    """

    context: int = 0
    layers: int = 1

    def init(self, generator: torch.Generator) -> Params:
        """Return the perceptron's parameters, and the hypernetwork's ``(out, (in + 1) context)``."""
        params = super().init(generator)
        for layer in range(self.layers):
            n_in = self.sizes[layer] - (self.context if layer == 0 else 0)
            params[f"{_HYPER}{layer}.weight"] = torch.zeros(self.sizes[layer + 1], (n_in + 1) * self.context)
        return params

    def __call__(self, params: Params, x: Tensor, prefix: str = "") -> Tensor:
        """Return outputs ``(..., out)`` of ``x`` ``(..., in)``, whose first numbers are the context."""
        context, last = x[..., : self.context], len(self.sizes) - 2
        for layer in range(last + 1):
            made = nn.functional.linear(x, params[f"{prefix}{layer}.weight"], params[f"{prefix}{layer}.bias"])
            if layer < self.layers:
                inputs = x[..., self.context :] if layer == 0 else x
                # U c x is linear in the products of both: one matrix product in place of one for each row.
                products = (nn.functional.pad(inputs, (0, 1), value=1.0)[..., None] * context[..., None, :]).flatten(-2)
                made = made + nn.functional.linear(products, params[f"{prefix}{_HYPER}{layer}.weight"])
            x = ACTIVATIONS[self.activation](made) if layer < last else made
        return x
