"""Adaptation by memory: a recurrent network takes in one transition after the other, and its state is what it knows.

Duan et al. 2016, "RL²", section 2. All networks have one interface; ``memories.py`` names them. Parameters and states
are flat dicts whose names begin with ``memory.``, and the first axis of a state is the task.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from metarl.adapt.memory.gru import gru_sequence
from metarl.core.errors import MetaRLError
from metarl.core.learner import keep_where
from metarl.core.types import Params, State

PREFIX = "memory."
HIDDEN, CELL = PREFIX + "hidden", PREFIX + "cell"
_W_X, _W_H, _B_X, _B_H = (PREFIX + name for name in ("w_x", "w_h", "b_x", "b_h"))


class Memory(ABC):
    """A network over the inputs of a trial: ``n_inputs`` numbers in, ``width`` numbers out."""

    def __init__(self, n_inputs: int, width: int) -> None:
        if n_inputs < 1 or width < 1:
            raise MetaRLError(f"{type(self).__name__}(n_inputs={n_inputs}, width={width}): both must be at least 1.")
        self.n_inputs, self.width = n_inputs, width

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Parameters before training."""

    @abstractmethod
    def initial(self, params: Params, n_tasks: int) -> State:
        """The state before any input."""

    @abstractmethod
    def step(self, params: Params, state: State, x: Tensor) -> State:
        """The state after one more input ``(task, n_inputs)`` of every row."""

    @abstractmethod
    def read(self, params: Params, state: State) -> Tensor:
        """What a state says, ``(task, width)``."""

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """What is read after every input ``(task, step, n_inputs)``, and the state after each row's last one.

        Rows have ``lengths`` ``(task,)`` inputs, finite padding behind them; what is read there means nothing. This
        default is the fold of ``step``.
        """
        outputs = []
        for t in range(x.shape[1]):
            state = keep_where(t < lengths, self.step(params, state, x[:, t]), state)
            outputs.append(self.read(params, state))
        return torch.stack(outputs, 1), state

    def replay(self, params: Params, state: State, x: Tensor, valid: Tensor) -> tuple[Tensor, State]:
        """What is read before every input ``(task, step, n_inputs)``, and the state at the end; differentiable.

        Inputs that are not ``valid`` ``(task, step)`` are left out, wherever they are: between the episodes of a trial
        there is padding. What is read before them is what was read last.
        """
        first = self.read(params, state)[:, None]
        count = valid.sum(1)
        longest = int(count.max())
        if longest == 0:
            return first.expand(-1, x.shape[1], -1), state
        whole = longest == x.shape[1] and bool(valid.all())
        if not whole:
            # A stable sort by "is padding" moves the valid inputs to the front, in their order.
            order = (~valid).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
            x = x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
            # Zero times NaN is NaN, in a gradient too.
            x = x.masked_fill((torch.arange(longest, device=x.device) >= count[:, None])[..., None], 0)
        after, state = self.sequence(params, state, x, count)
        before = torch.cat([first, after], 1)
        if whole:
            return before[:, :-1], state
        seen = valid.cumsum(1) - valid.long()  # inputs before this one
        return before.gather(1, seen[..., None].expand(-1, -1, self.width)), state


class GRU(Memory):
    """A gated recurrent unit (Cho et al. 2014)."""

    gates = 3

    def init(self, generator: torch.Generator) -> Params:
        """Orthogonal weights, gate by gate, and zero biases."""

        def stacked(n_in: int) -> Tensor:
            parts = [torch.empty(self.width, n_in) for _ in range(self.gates)]
            return torch.cat([nn.init.orthogonal_(part, generator=generator) for part in parts])

        zeros = torch.zeros(self.gates * self.width)
        return {_W_X: stacked(self.n_inputs), _W_H: stacked(self.width), _B_X: zeros, _B_H: zeros.clone()}

    def initial(self, params: Params, n_tasks: int) -> State:
        return {HIDDEN: params[_W_H].new_zeros(n_tasks, self.width)}

    def step(self, params: Params, state: State, x: Tensor) -> State:
        return {HIDDEN: torch.gru_cell(x, state[HIDDEN], *self._weights(params))}

    def read(self, params: Params, state: State) -> Tensor:
        return state[HIDDEN]

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        after = gru_sequence(x.transpose(0, 1), state[HIDDEN], *self._weights(params)).transpose(0, 1)
        last = after[torch.arange(len(after), device=after.device), (lengths - 1).clamp(min=0)]
        return after, {HIDDEN: torch.where((lengths > 0)[:, None], last, state[HIDDEN])}

    @staticmethod
    def _weights(params: Params) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return params[_W_X], params[_W_H], params[_B_X], params[_B_H]


class LSTM(GRU):
    """A long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate)."""

    gates = 4

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        params[_B_X][self.width : 2 * self.width] = 1.0  # remember at first (Jozefowicz et al. 2015)
        return params

    def initial(self, params: Params, n_tasks: int) -> State:
        hidden = super().initial(params, n_tasks)
        return {**hidden, CELL: torch.zeros_like(hidden[HIDDEN])}

    def step(self, params: Params, state: State, x: Tensor) -> State:
        hidden, cell = torch.lstm_cell(x, (state[HIDDEN], state[CELL]), *self._weights(params))
        return {HIDDEN: hidden, CELL: cell}

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        return Memory.sequence(self, params, state, x, lengths)
