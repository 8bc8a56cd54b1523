"""Hypernetworks: Bias-HyperInit begins with the plain perceptron, and weights by context agree with a naive loop."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.hypernetwork import HyperMLP
from metarl.core.networks import MLP
from metarl.core.types import Params

SIZES = (3 + 2, 4, 2)  # a context of three numbers and a state of two


def network(layers: int, moved: float = 0.3) -> tuple[HyperMLP, Params]:
    """A hypernetwork whose parameters were moved away from where they begin."""
    made = HyperMLP(SIZES, context=3, layers=layers)
    generator = torch.Generator().manual_seed(0)
    params = made.init(generator)
    return made, {k: v + moved * torch.randn(v.shape, generator=generator) for k, v in params.items()}


def naive(params: Params, x: Tensor, layers: int) -> Tensor:
    """One row: the weights are made first, then applied."""
    context = x[:3]
    for layer in range(2):
        weight, bias = params[f"{layer}.weight"].clone(), params[f"{layer}.bias"].clone()
        if layer < layers:
            for k, row in enumerate(params[f"hyper.{layer}.weight"].reshape(len(bias), -1, 3)):
                made = [float(sum(u * c for u, c in zip(each, context, strict=True))) for each in row]
                weight[k, weight.shape[1] + 1 - len(made) :] += torch.tensor(made[:-1])
                bias[k] += made[-1]
        x = weight @ x + bias
        x = torch.tanh(x) if layer == 0 else x
    return x


@pytest.mark.parametrize("layers", [1, 2])
def test_it_begins_as_the_plain_perceptron(layers: int) -> None:
    hyper = HyperMLP(SIZES, context=3, layers=layers)
    params = hyper.init(torch.Generator().manual_seed(0))
    plain = MLP(SIZES).init(torch.Generator().manual_seed(0))
    assert all(torch.equal(params[name], value) for name, value in plain.items())
    assert len(params) == len(plain) + layers
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(hyper(params, x), MLP(SIZES)(plain, x), rtol=0, atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_context_makes_weights_and_biases_as_a_naive_loop_has_them(layers: int) -> None:
    hyper, params = network(layers)
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    wanted = torch.stack([torch.stack([naive(params, row, layers) for row in rows]) for rows in x])
    torch.testing.assert_close(hyper(params, x), wanted)


def test_a_number_by_hand() -> None:
    hyper = HyperMLP((2, 1), context=1, layers=1)
    params = {"0.weight": torch.tensor([[0.5, 2.0]]), "0.bias": torch.tensor([0.25])}
    params["hyper.0.weight"] = torch.tensor([[3.0, -1.0]])  # of the state, then of the bias
    x = torch.tensor([[2.0, 10.0]])  # context 2, state 10
    # (2 + 3 · 2) · 10 + .5 · 2 + .25 - 1 · 2
    np.testing.assert_allclose(hyper(params, x).item(), 79.25)


def test_the_hypernetwork_has_a_gradient_where_it_begins() -> None:
    hyper = HyperMLP(SIZES, context=3, layers=2, output_gain=1.0)
    params = {k: v.requires_grad_() for k, v in hyper.init(torch.Generator().manual_seed(0)).items()}
    hyper(params, torch.randn(6, 5, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in params.values() if value.grad is not None)
    assert all(value.grad is not None for value in params.values())
