"""A gated recurrent unit over a sequence, with passes of its own.

A row of the hidden state is a unit, and a column a sequence, so that each gate is a block of memory without gaps. In
place of the hidden state ``h`` the loop carries ``s = (1 + h) / 2``, for ``tanh(a) = 2 sigmoid(2 a) - 1`` then needs no
operation beside the sigmoid, which takes a third of the time of tanh: ``s' = lerp(sigmoid(2 a), s, z)``. The factors
are put into the weights. Backward, what does not depend on the later steps' gradient is computed for a block of steps.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 1024  # sequences × steps whose derivatives are computed at once: what a cache holds


def gru_sequence(
    x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return hidden states before and after each of the inputs ``(step, n, d)``, from ``hidden`` ``(n, h)`` on.

    Both are ``(step, n, h)``, views of the same numbers, which are not to be written to.

    Cho et al. 2014, equations 5 to 8, with the reset gate after the product, as in cuDNN and ``torch.gru_cell``, whose
    weights ``(3 h, d)`` and ``(3 h, h)`` these are: reset, update, new. Differentiable once.
    """
    if x.is_cuda:
        after = torchs_sequence(x, hidden, w_x, w_h, b_x, b_h)
        return torch.cat([hidden[None], after[:-1]]), after
    out: tuple[Tensor, Tensor] = _Sequence.apply(x, hidden, w_x, w_h, b_x, b_h)  # type: ignore[no-untyped-call]  # torch has no types
    return out


def torchs_sequence(x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """Return the states after each input by torch: on a GPU cuDNN launches a few kernels, ours two dozen a step."""
    with warnings.catch_warnings():
        # The weights are parameters of their own, and the copy that puts them side by side is small.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        out: Tensor = torch._VF.gru(x, hidden[None], [w_x, w_h, b_x, b_h], True, 1, 0.0, True, False, False)[0]
    return out


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor
    ) -> tuple[Tensor, Tensor]:
        (steps, n, d), h = x.shape, hidden.shape[1]
        seen = x.new_ones(steps + 1, h + d + 1, n)  # the state, the input, and a one for the biases
        seen[0, :h] = (hidden.t() + 1) / 2
        seen[:-1, h:-1] = x.transpose(1, 2)
        b_s = b_h - w_h.sum(1)  # W h + b = 2 W s + b - W 1
        inner = torch.cat([4 * w_h[2 * h :], w_x.new_zeros(h, d), 2 * b_s[2 * h :, None]], 1)
        both = torch.cat([2 * w_h[: 2 * h], w_x[: 2 * h], (b_x + b_s)[: 2 * h, None]], 1)
        w_state, w_new = torch.cat([inner, both]), 2 * torch.cat([w_x[2 * h :], b_x[2 * h :, None]], 1)
        gates = x.new_empty(steps, 4 * h, n)  # inner, reset, update, new: the first is twice what reset multiplies
        m, r, z, c = gates.split(h, 1)
        every = (
            seen[:-1],
            seen[:-1, h:],
            seen[:-1, :h],
            seen[1:, :h],
            gates[:, : 3 * h],
            gates[:, h : 3 * h],
            m,
            r,
            z,
            c,
        )
        for all_t, x_t, before, after, mrz, rz, m_t, r_t, z_t, c_t in zip(*(v.unbind(0) for v in every), strict=True):
            torch.mm(w_state, all_t, out=mrz)
            torch.mm(w_new, x_t, out=c_t)
            rz.sigmoid_()
            c_t.addcmul_(r_t, m_t).sigmoid_()
            torch.lerp(c_t, before, z_t, out=after)
        states = x.new_empty(steps + 1, n, h)
        torch.mul(seen[:, :h].transpose(1, 2), 2, out=states).sub_(1)
        states[0] = hidden
        ctx.save_for_backward(seen, gates, states, w_x, w_h)
        ctx.set_materialize_grads(False)
        return states[:-1], states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_before: Tensor | None, d_after: Tensor | None) -> tuple[Tensor | None, ...]:
        seen, gates, states, w_x, w_h = ctx.saved_tensors
        steps, h, n = len(gates), gates.shape[1] // 4, gates.shape[2]
        d_states = gates.new_zeros(steps + 1, h, n)
        for part, given in ((d_states[:-1], d_before), (d_states[1:], d_after)):
            if given is not None:
                part += given.transpose(1, 2)
        size = max(1, _BLOCK // n)
        # Before the activations, in the order (inner, reset, update, new): the first three are what the product with
        # the hidden state sees, the last three what the product with the input sees.
        d, rest = gates.new_empty(size, 4 * h, n), gates.new_empty(h, n)
        d_w_h, d_x_side = w_h.new_zeros(3 * h, h), w_x.new_zeros(seen.shape[1] - h, 4 * h)
        rows = torch.cat([w_h[2 * h :], w_h[: 2 * h]]).t().contiguous()  # in that order
        d_x = gates.new_empty(steps, w_x.shape[1], n) if ctx.needs_input_grad[0] else None
        each_d = list(zip(d, d.unflatten(1, (4, h)), d[:, : 3 * h], d.transpose(1, 2), d[:, h:], strict=True))
        every = (d_states[:-1], gates[:, 2 * h : 3 * h], states[:-1], seen[:-1, h:])
        each = list(zip(*(v.unbind(0) for v in every), strict=True))
        d_after_t = d_states[-1]
        for last in range(steps, 0, -size):
            first = max(0, last - size)
            _factors(seen[first:last, :h], gates[first:last], d[: last - first])
            for t in reversed(range(first, last)):
                (_, four, side, turned, input_side), (d_t, z, before, x_t) = each_d[t - first], each[t]
                four.mul_(d_after_t)
                torch.addcmul(d_t, d_after_t, z, out=rest)
                torch.addmm(rest, rows, side, out=d_after_t)
                d_w_h.addmm_(side, before)
                # The narrow factor first: the other way round the product takes three times as long.
                d_x_side.addmm_(x_t, turned)
                if d_x is not None:
                    torch.mm(w_x.t(), input_side, out=d_x[t])
        total = d_x_side[-1]
        return (
            None if d_x is None else d_x.transpose(1, 2),
            d_after_t.t(),
            d_x_side[:-1, h:].t(),
            torch.cat([d_w_h[h:], d_w_h[:h]]),
            total[h:],
            torch.cat([total[h : 3 * h], total[:h]]),
        )


def _factors(s: Tensor, gates: Tensor, out: Tensor) -> None:
    """Compute by what the gradient of a step's hidden state is multiplied to be that of each product."""
    (m, r, z, c), (of_m, of_r, of_z, of_c) = (each.chunk(4, 1) for each in (gates, out))
    torch.addcmul(c, c, c, value=-1, out=of_c)  # 1 - tanh² = 4 c (1 - c)
    of_c.addcmul_(of_c, z, value=-1).mul_(4)
    torch.addcmul(z, z, z, value=-1, out=of_m)
    torch.sub(s, c, out=of_z).mul_(of_m).mul_(2)
    torch.mul(of_c, r, out=of_m)
    torch.mul(of_m, m, out=of_r)
    of_r.addcmul_(of_r, r, value=-1).mul_(0.5)
