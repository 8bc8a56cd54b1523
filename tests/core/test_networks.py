"""Perceptrons as pure functions of their parameters."""

from collections import OrderedDict
from typing import Literal

import pytest
import torch
from torch import nn

from metarl.core.networks import MLP

Activation = Literal["tanh", "relu"]
activations = pytest.mark.parametrize("activation", ["tanh", "relu"])
MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU}


def rows(network: MLP, n: int) -> list[dict[str, torch.Tensor]]:
    """n parameter sets, biases included."""
    sets = [network.init(torch.Generator().manual_seed(i)) for i in range(n)]
    return [{name: value + 0.1 * i for name, value in one.items()} for i, one in enumerate(sets)]


def test_by_hand() -> None:
    network = MLP((2, 2, 1), "relu")
    params = {
        "0.weight": torch.tensor([[1.0, 2.0], [-1.0, 0.0]]),
        "0.bias": torch.tensor([0.5, 0.25]),
        "1.weight": torch.tensor([[2.0, 3.0]]),
        "1.bias": torch.tensor([-1.0]),
    }
    # (3, -1): hidden relu(3 - 2 + .5, -3 + .25) = (1.5, 0), output 2 · 1.5 - 1; no activation after the last layer.
    assert network(params, torch.tensor([[[3.0, -1.0]]])).tolist() == [[[2.0]]]
    # (-3, 0): hidden relu(-2.5, 3.25) = (0, 3.25), output 3 · 3.25 - 1.
    assert network(params, torch.tensor([[[-3.0, 0.0]]])).tolist() == [[[8.75]]]


@activations
def test_stacked_parameters_are_a_network_for_each_task(activation: Activation) -> None:
    network = MLP((3, 16, 8, 2), activation, output_gain=1.0)
    sets, x = rows(network, 5), torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(9))
    stacked = {name: torch.stack([one[name] for one in sets]) for name in sets[0]}
    together = network(stacked, x)
    assert together.shape == (5, 7, 2)
    for i, one in enumerate(sets):
        torch.testing.assert_close(together[i], network(one, x[i : i + 1])[0])
    assert not torch.allclose(network(sets[0], x), together)


@activations
def test_the_parameters_are_those_of_a_sequential(activation: Activation) -> None:
    network = MLP((3, 16, 8, 2), activation)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (n_in, n_out) in enumerate(((3, 16), (16, 8), (8, 2))):
        layers[str(i)] = nn.Linear(n_in, n_out)
        if i < 2:
            layers[f"{i}_activation"] = MODULES[activation]()
    module = nn.Sequential(layers)
    params = rows(network, 2)[1]
    assert set(module.state_dict()) == set(params)
    module.load_state_dict(params)
    x = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(network(params, x), module(x))
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    found = torch.autograd.grad(network(leaves, x).square().sum(), list(leaves.values()))
    module(x).square().sum().backward()
    expected = dict(module.named_parameters())
    for name, gradient in zip(leaves, found, strict=True):
        torch.testing.assert_close(gradient, expected[name].grad)


def test_a_prefix_names_a_network_among_others() -> None:
    network = MLP((3, 4, 2))
    one, other = rows(network, 2)
    both = {**{f"policy.{k}": v for k, v in one.items()}, **{f"value.{k}": v for k, v in other.items()}}
    x = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(network(both, x, "policy."), network(one, x))
    torch.testing.assert_close(network(both, x, "value."), network(other, x))


def test_initial_weights_are_orthogonal_with_their_gain_and_biases_zero() -> None:
    params = MLP((4, 16, 16, 3), "tanh", output_gain=0.01).init(torch.Generator().manual_seed(0))
    gain = nn.init.calculate_gain("tanh")
    torch.testing.assert_close(params["0.weight"].T @ params["0.weight"], gain**2 * torch.eye(4))
    torch.testing.assert_close(params["1.weight"] @ params["1.weight"].T, gain**2 * torch.eye(16))
    torch.testing.assert_close(params["2.weight"] @ params["2.weight"].T, 0.01**2 * torch.eye(3))
    assert all((params[f"{i}.bias"] == 0).all() for i in range(3))


def test_the_generator_decides_on_the_weights() -> None:
    network = MLP((4, 8, 3))
    one, again, other = (network.init(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])
