"""Adaptation by gradient where the update is learned: a small network, the same for every parameter, makes the steps.

Ravi and Larochelle 2017, "Optimization as a model for few-shot learning", section 3; Andrychowicz et al. 2016,
"Learning to learn by gradient descent by gradient descent", appendix A.
"""

from dataclasses import dataclass
from math import e, log

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from metarl.adapt.gradient import InnerLoop
from metarl.adapt.memory.base import PREFIX
from metarl.adapt.memory.recurrent import LSTM
from metarl.core.errors import MetaRLError
from metarl.core.types import Params, State

UPDATE = "update."  # before the names of the rule's parameters, which do not adapt, and of its state
HIDDEN, CELL, GATES = UPDATE + "hidden", UPDATE + "cell", UPDATE + "gates"
_LAYER = UPDATE + "layer."
_FROM_HIDDEN, _FROM_VALUE, _FROM_GATES, _BIAS = (
    UPDATE + "gate." + name for name in ("from_hidden", "from_value", "from_gates", "bias")
)
_N_INPUTS = 4  # two numbers each for the gradient and for the loss
_KEEP = 5.0  # the forget gate's bias, in the paper's [4, 6]: a parameter keeps .993 of itself at first
_SPREAD = 0.01  # of the gates' weights, so that the biases decide at first
_BLOCK = 65536  # elements, of all tasks together, that are updated at once
_P = 10.0  # numbers below exp(-p) count as linear, others by their logarithm


@dataclass(frozen=True, kw_only=True)
class LearnedUpdate(InnerLoop):
    """An inner loop whose step is θ' = f θ - i ∇ (Ravi and Larochelle 2017, equations 2 to 4).

    The gates f and i, between 0 and 1, are computed for every element of every adapting parameter by one network: a
    first layer, an LSTM over the steps on the gradient and the loss, then the gates from its hidden state, from θ and
    from the gates before. The start of θ is learned as ever. No derivative goes through gradient and loss (section
    3.2.3). ``steps`` and ``halve_beyond`` mean nothing here: there are no step sizes.
    """

    step_size: float = 0.01  # what i starts at
    first_order: bool = True
    hidden: int = 8  # units of the first layer, for every element

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size >= 1 or not self.first_order or self.hidden < 1:
            raise MetaRLError(
                f"LearnedUpdate(step_size={self.step_size}, first_order={self.first_order}, hidden={self.hidden}): "
                "needs step_size < 1, which a gate starts at, first_order=True and hidden >= 1."
            )

    def adapted(self, params: Params) -> Params:
        return {name: value for name, value in super().adapted(params).items() if not name.startswith(UPDATE)}

    def init(self, generator: torch.Generator) -> Params:
        """Return the rule's parameters before training, ``update.*``, which nearly make descent by ``step_size``."""

        def spread(*shape: int) -> Tensor:
            return _SPREAD * torch.randn(*shape, generator=generator)

        layer = LSTM(_N_INPUTS, self.hidden).init(generator)
        return {
            **{_LAYER + name.removeprefix(PREFIX): value for name, value in layer.items()},
            _FROM_HIDDEN: spread(2, self.hidden),  # rows: forget, input
            _FROM_VALUE: spread(2, 1),
            _FROM_GATES: spread(2, 1),
            _BIAS: torch.tensor([_KEEP, log(self.step_size / (1 - self.step_size))]),
        }

    def start(self, params: Params, n_tasks: int) -> State:
        """Return the loop's state, with the layer's ``(task, hidden, element)`` and gates ``(task, 2, element)``."""
        state = super().start(params, n_tasks)
        n_elements = sum(value.numel() for value in self.adapted(params).values())
        zeros = params[_BIAS].new_zeros(n_tasks, self.hidden, n_elements)
        return {**state, HIDDEN: zeros, CELL: zeros, GATES: zeros.new_zeros(n_tasks, 2, n_elements)}

    def update(self, params: Params, state: State, gradients: Params, losses: Tensor) -> State:
        names = sorted(gradients)  # a state must not depend on the order of a dict
        value, gradient = (
            torch.cat([where[name].reshape(len(losses), -1) for name in names], 1) for where in (state, gradients)
        )
        rule = {name: each for name, each in params.items() if name.startswith(UPDATE)}
        inputs = (value[:, None], gradient[:, None], state[HIDDEN], state[CELL], state[GATES])
        # Blocks of elements, computed again on the way back rather than kept. Measured for Conv4, 8 tasks and 5 steps:
        # three quarters of the time, for fresh memory costs more than arithmetic, and half of the memory.
        parts = zip(*(each.split(max(_BLOCK // len(value), 1), 2) for each in inputs), strict=True)
        made = [checkpoint(_rule, rule, losses, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        new, hidden, cell, gates = (torch.cat(each, 2) for each in zip(*made, strict=True))
        split = new[:, 0].split([state[name][0].numel() for name in names], 1)
        shaped = {name: each.view_as(state[name]) for name, each in zip(names, split, strict=True)}
        return {**shaped, HIDDEN: hidden, CELL: cell, GATES: gates}


def _rule(
    rule: Params, losses: Tensor, value: Tensor, gradient: Tensor, hidden: Tensor, cell: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, hidden and cell states and gates after a step, elements along the last axis.

    Torch's own cell has elements first, so that every gate is a run of 8 numbers: half as fast. What the loss
    contributes is the same for all elements of a task.
    """
    w_x, w_h, b_x, b_h = (rule[_LAYER + name] for name in ("w_x", "w_h", "b_x", "b_h"))
    inputs = torch.cat([scaled(gradient[:, 0]), hidden], 1)
    offset = functional.linear(scaled(losses), w_x[:, 2:], b_x + b_h)
    let_in, keep, seen, show = _product(torch.cat([w_x[:, :2], w_h], 1), inputs, offset).chunk(4, 1)
    cell = torch.addcmul(keep.sigmoid() * cell, let_in.sigmoid(), seen.tanh())
    hidden = show.sigmoid() * cell.tanh()
    scores = _product(rule[_FROM_HIDDEN], hidden, rule[_BIAS].expand(len(hidden), 2))
    gates = (scores + rule[_FROM_VALUE] * value + rule[_FROM_GATES] * gates).sigmoid()
    return gates[:, :1] * value - gates[:, 1:] * gradient, hidden, cell, gates


def _product(weight: Tensor, x: Tensor, offset: Tensor) -> Tensor:
    """``(task, out, element)`` of a weight ``(out, in)``, ``(task, in, element)`` and an offset ``(task, out)``."""
    return torch.baddbmm(offset[..., None], weight.expand(len(x), *weight.shape), x)


def scaled(x: Tensor) -> Tensor:
    """Return two numbers of moderate size for each of any size, along axis 1 (Andrychowicz et al. 2016, appendix A)."""
    size = x.abs()
    large = torch.stack([size.clamp(min=torch.finfo(x.dtype).tiny).log() / _P, x.sign()], 1)
    small = torch.stack([torch.full_like(x, -1.0), x * e**_P], 1)
    return torch.where((size >= e**-_P).unsqueeze(1), large, small)
