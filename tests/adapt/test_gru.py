"""The gated recurrent unit with a backward pass of its own, against torch's."""

import pytest
import torch
from torch import Tensor, nn

from metarl.adapt.memory import gru_sequence as gru_sequence_module
from metarl.adapt.memory.gru_sequence import gru_sequence, torchs_sequence

NAMES = ("x", "hidden", "w_x", "w_h", "b_x", "b_h")


def inputs(steps: int, n: int, d: int, h: int, seed: int = 0) -> list[Tensor]:
    """Inputs, a hidden state that is not zero, and weights, all leaves in float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((steps, n, d), (n, h), (3 * h, d), (3 * h, h), (3 * h,), (3 * h,))
    return [torch.randn(s, generator=generator, dtype=torch.float64).mul(0.7).requires_grad_() for s in shapes]


def gradients(out: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Of a sum in which every output of every step has a weight of its own."""
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return list(
        torch.autograd.grad((out * weight).sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
    )


def same(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for name, one, other in zip(NAMES, gradients(ours, leaves), gradients(theirs, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_values_and_gradients_are_those_of_the_fold_of_a_cell(steps: int) -> None:
    leaves = inputs(steps, 3, 4, 5)
    x, hidden, *weights = leaves
    states = []
    for t in range(steps):
        hidden = torch.gru_cell(x[t], hidden, *weights)
        states.append(hidden)
    every = torch.stack([leaves[1], *states])
    same(gru_sequence(*leaves)[0], every[:-1].clone(), leaves)
    same(gru_sequence(*leaves)[1], every[1:].clone(), leaves)
    before, after = gru_sequence(*leaves)
    same(before + 2 * after, every[:-1] + 2 * every[1:], leaves)


def test_sequences_of_more_steps_than_a_block_of_derivatives_are_the_same() -> None:
    leaves = inputs(7, gru_sequence_module._BLOCK // 3, 2, 3)
    same(gru_sequence(*leaves)[1], torchs_sequence(*leaves), leaves)


def test_values_and_gradients_are_those_of_torchs_module() -> None:
    leaves = inputs(9, 3, 4, 5)
    module = nn.GRU(4, 5).double()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    theirs, _ = torch.func.functional_call(
        module, dict(zip(names, leaves[2:], strict=True)), (leaves[0], leaves[1][None])
    )
    same(gru_sequence(*leaves)[1], theirs, leaves)


@pytest.mark.parametrize("steps", [1, 9])
def test_what_a_gpu_runs_is_the_same(steps: int) -> None:
    leaves = inputs(steps, 3, 4, 5)
    same(torchs_sequence(*leaves), gru_sequence(*leaves)[1], leaves)


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(gru_sequence, tuple(inputs(3, 2, 2, 3)))


def test_data_without_a_gradient_changes_no_other_gradient() -> None:
    leaves = inputs(4, 3, 4, 5)
    expected = gradients(gru_sequence(*leaves)[1], leaves[2:])
    data = [value.detach() for value in leaves[:2]]
    found = gradients(gru_sequence(*data, *leaves[2:])[1], leaves[2:])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_saturated_gates_stay_finite() -> None:
    leaves = [value.detach().mul(200).float().requires_grad_() for value in inputs(5, 3, 4, 5)]
    leaves[1] = leaves[1].detach().clamp(-1, 1).requires_grad_()
    out = gru_sequence(*leaves)[1]
    assert out.abs().max() <= 1
    assert all(value.isfinite().all() for value in gradients(out, leaves))
