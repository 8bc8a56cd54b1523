"""A gated recurrent unit over a sequence, with a backward pass of its own.

Torch's takes the gradient of the weights step by step; here it is one matrix product over all steps, and the gates'
derivatives are computed in place. Forward and backward of 32 × 60, 16 × 200 and 16 × 400 steps of 64 units are 1.4, 1.6
and 1.6 times as fast as torch's on one core, and 1.1 to 1.3 times where rows are many and steps few.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gru_sequence(x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """Return hidden states ``(step, n, h)`` after each of the inputs ``(step, n, d)``, from ``hidden`` ``(n, h)`` on.

    Cho et al. 2014, equations 5 to 8, with the reset gate after the product, as in cuDNN and ``torch.gru_cell``, whose
    weights ``(3 h, d)`` and ``(3 h, h)`` these are: reset, update, new. Differentiable once.
    """
    if x.is_cuda:
        return torchs_sequence(x, hidden, w_x, w_h, b_x, b_h)
    out: Tensor = _Sequence.apply(x, hidden, w_x, w_h, b_x, b_h)  # type: ignore[no-untyped-call]  # torch has no types
    return out


def torchs_sequence(x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """Return what ``gru_sequence`` does, by torch: on a GPU cuDNN launches a few kernels, ours two dozen a step."""
    with warnings.catch_warnings():
        # The weights are parameters of their own, and the copy that puts them side by side is small.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        out: Tensor = torch._VF.gru(x, hidden[None], [w_x, w_h, b_x, b_h], True, 1, 0.0, True, False, False)[0]
    return out


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
        steps, n, h = len(x), *hidden.shape
        states = x.new_empty(steps + 1, n, h)
        states[0] = hidden
        flat = x.flatten(0, 1)
        # What the inputs contribute, all steps at once; the gates then overwrite it.
        both = b_x[: 2 * h] + b_h[: 2 * h]
        gates = torch.addmm(both, flat, w_x[: 2 * h].t()).unflatten(0, (steps, n))
        # tanh(a) = 2 sigmoid(2 a) - 1 takes half of the time of tanh.
        new = torch.addmm(b_x[2 * h :], flat, w_x[2 * h :].t()).unflatten(0, (steps, n))
        inner = x.new_empty(steps, n, h)
        w_gates, w_new, b_new = w_h[: 2 * h].t().contiguous(), w_h[2 * h :].t().contiguous(), b_h[2 * h :]
        for rz, r, z, c, m, before, after in zip(
            gates.unbind(0),
            gates[..., :h].unbind(0),
            gates[..., h:].unbind(0),
            new.unbind(0),
            inner.unbind(0),
            states[:-1].unbind(0),
            states[1:].unbind(0),
            strict=True,
        ):
            rz.addmm_(before, w_gates).sigmoid_()
            torch.addmm(b_new, before, w_new, out=m)
            c.addcmul_(r, m).mul_(2).sigmoid_().mul_(2).sub_(1)
            torch.lerp(c, before, z, out=after)
        ctx.save_for_backward(x, states, gates, new, inner, w_x, w_h)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = gradients
        x, states, gates, new, inner, w_x, w_h = ctx.saved_tensors
        steps, n, h = inner.shape
        # Before the activations, in the order (inner, reset, update, new): the first three are what the product with
        # the hidden state sees, the last three what the product with the input sees.
        d = x.new_empty(steps, n, 4 * h)
        rows = torch.cat([w_h[2 * h :], w_h[: 2 * h]])  # in that order
        d_hidden, a, b = x.new_zeros(n, h), x.new_empty(n, h), x.new_empty(n, h)
        every = (d_out, gates[..., :h], gates[..., h:], new, inner, states[:-1], d[..., : 3 * h], *d.split(h, -1))
        for d_t, r, z, c, m, before, side, d_m, d_r, d_z, d_c in zip(
            *(reversed(value.unbind(0)) for value in every), strict=True
        ):
            d_hidden += d_t
            torch.mul(d_hidden, z, out=a)  # what goes past the unit
            torch.sub(d_hidden, a, out=b)
            torch.mul(c, c, out=d_c)
            torch.addcmul(b, b, d_c, value=-1, out=d_c)
            torch.sub(before, c, out=d_z)
            d_z.mul_(a).addcmul_(d_z, z, value=-1)
            torch.mul(d_c, r, out=d_m)
            torch.mul(d_m, m, out=d_r)
            d_r.addcmul_(d_r, r, value=-1)
            torch.addmm(a, side, rows, out=d_hidden)
        d, flat = d.flatten(0, 1), x.flatten(0, 1)
        d_input_side = d[:, h:]
        d_x = (d_input_side @ w_x).view_as(x) if ctx.needs_input_grad[0] else None
        total = d.sum(0)
        d_w_h = d[:, : 3 * h].t() @ states[:-1].flatten(0, 1)
        # The narrow factor first: the other way round the product takes five times as long.
        d_w_x = (flat.t() @ d_input_side).t()
        return (
            d_x,
            d_hidden,
            d_w_x,
            torch.cat([d_w_h[h:], d_w_h[:h]]),
            total[h:],
            torch.cat([total[h : 3 * h], total[:h]]),
        )
