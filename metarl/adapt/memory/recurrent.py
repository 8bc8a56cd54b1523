"""Recurrent networks as memories: a GRU and an LSTM."""

import torch
from torch import Tensor, nn

from metarl.adapt.memory.base import PREFIX, Memory
from metarl.adapt.memory.gru_sequence import gru_sequence
from metarl.adapt.memory.registry import register_memory
from metarl.core.types import Params, State

HIDDEN, CELL = PREFIX + "hidden", PREFIX + "cell"
_W_X, _W_H, _B_X, _B_H = (PREFIX + name for name in ("w_x", "w_h", "b_x", "b_h"))


@register_memory("gru")
class GRU(Memory):
    """A gated recurrent unit (Cho et al. 2014)."""

    gates = 3

    def init(self, generator: torch.Generator) -> Params:
        """Return orthogonal weights, gate by gate, and zero biases."""

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
        after = gru_sequence(x.transpose(0, 1), state[HIDDEN], *self._weights(params))[1].transpose(0, 1)
        last = after[torch.arange(len(after), device=after.device), (lengths - 1).clamp(min=0)]
        return after, {HIDDEN: torch.where((lengths > 0)[:, None], last, state[HIDDEN])}

    def whole(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        before, after = gru_sequence(x.transpose(0, 1), state[HIDDEN], *self._weights(params))
        return before.transpose(0, 1), {HIDDEN: after[-1]}

    @staticmethod
    def _weights(params: Params) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return params[_W_X], params[_W_H], params[_B_X], params[_B_H]


@register_memory("lstm")
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

    def whole(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        return Memory.whole(self, params, state, x)
