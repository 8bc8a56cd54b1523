"""Multi-layer perceptrons whose parameters may differ from task to task."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metarl.core.types import Params

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


@dataclass(frozen=True)
class MLP:
    """A perceptron as a pure function of parameters, named by layer: ``0.weight``, ``0.bias``, ``1.weight``, ..."""

    sizes: tuple[int, ...]  # input, hidden layers, output
    activation: Literal["tanh", "relu"] = "tanh"
    output_gain: float = 0.01  # small, so that a policy starts near the middle of its action space

    def init(self, generator: torch.Generator) -> Params:
        """Return orthogonal weights ``(out, in)`` (Saxe et al. 2014) and zero biases."""
        params = {}
        pairs = list(pairwise(self.sizes))
        for layer, (n_in, n_out) in enumerate(pairs):
            gain = self.output_gain if layer == len(pairs) - 1 else nn.init.calculate_gain(self.activation)
            weight = torch.empty(n_out, n_in)
            params[f"{layer}.weight"] = nn.init.orthogonal_(weight, gain, generator=generator)
            params[f"{layer}.bias"] = torch.zeros(n_out)
        return params

    def __call__(self, params: Params, x: Tensor, prefix: str = "") -> Tensor:
        """Return outputs ``(task, n, out)`` of ``x`` ``(task, n, in)``; weights may have a task axis first."""
        last = len(self.sizes) - 2
        shared = params[f"{prefix}0.weight"].ndim == 2
        by_sigmoids = shared and self.activation == "tanh"
        for layer in range(last + 1):
            weight, bias = params[f"{prefix}{layer}.weight"], params[f"{prefix}{layer}.bias"]
            if by_sigmoids:
                # tanh(a) = 2 sigmoid(2 a) - 1, whose factors go into the weights: it takes a third of the time of tanh.
                if layer > 0:
                    weight, bias = 2 * weight, bias - weight.sum(1)
                if layer < last:
                    weight, bias = 2 * weight, 2 * bias
            if shared:
                x = nn.functional.linear(x, weight, bias)
            else:
                x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
            if layer < last:
                x = torch.sigmoid(x) if by_sigmoids else ACTIVATIONS[self.activation](x)
        return x
