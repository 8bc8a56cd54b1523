"""A memory apart from the network: a matrix that an LSTM writes into and reads from by likeness."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.memory.base import PREFIX, Memory
from metarl.adapt.memory.recurrent import CELL, HIDDEN, LSTM
from metarl.adapt.memory.registry import register_memory
from metarl.core.config import at_least, check_config
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Params, State

MATRIX, USAGE = PREFIX + "matrix", PREFIX + "usage"
ATTENTION, LAST = PREFIX + "attention", PREFIX + "last"  # where each head read, and what
DECAY = 0.99  # of the usage, γ
_INTERFACE = PREFIX + "interface."
# A cosine divides by no shorter a length, or traces in rows that are all but empty would be as like a key as what was
# written: with 32 slots nothing was learned of drawn characters.
_SHORTEST = 0.1
_ALONE = -3.0  # α at first: nearly all goes into the least used slot
_SHARPNESS = 10.0  # of a softmax over cosines, at first
_MOST_SLOTS = 128  # as many as the paper has
_FIRST = 1e-5  # so much more used a slot counts than the one before it


@dataclass(frozen=True, kw_only=True)
class ExternalMemoryConfig:
    """The size of an external memory."""

    reads: int = 4  # heads that read the matrix, and write into a slot each
    slots: int | None = None  # rows of the matrix; one for each input, up to 128, unless given
    slot_width: int | None = None  # numbers in a row; unless given, reads fill half of the width

    def __post_init__(self) -> None:
        check_config(self, {"reads": at_least(1), "slots": at_least(1), "slot_width": at_least(1)})


@register_memory("external")
class ExternalMemory(Memory):
    """A memory-augmented neural network with least recently used access (Santoro et al. 2016, section 3).

    A matrix of ``slots`` rows of ``slot_width`` numbers, and ``reads`` heads. At every input the controller, an LSTM
    that sees the input and what was read last, puts out a key, a gate σ(α) and a sharpness for each head. A head reads
    the rows that are like its key (equations 2 to 4), and writes the key: to the gate's part where it read last, and
    for the rest into a slot that was used least, which is erased before (equations 5 to 8). Where slots were used
    equally little the first is taken: they rank by their usage and 1e-5 of their number, so that which one it is is not
    up to rounding. No gradient goes through that choice.

    It reads what earlier inputs have left: after writing, what is most like a key would be that key. And cosines are
    multiplied by a learned sharpness (Graves et al. 2014, equation 5), 10 at first. Without, as in equation 3, a
    softmax over numbers from -1 to 1 tells hardly anything apart: of drawn characters nothing was learned in 120
    iterations, after which it is otherwise right in 60 % of five ways.

    ``width`` numbers are read: the controller's hidden ones, and ``reads`` × ``slot_width`` from the matrix. The
    state is the matrix ``(task, slot, slot_width)``, its usage ``(task, slot)``, where each head read ``(task, head,
    slot)`` and what, and the controller's two.
    """

    config_class = ExternalMemoryConfig
    config: ExternalMemoryConfig

    def __init__(
        self, n_inputs: int, width: int, capacity: int = 1, config: ExternalMemoryConfig | None = None
    ) -> None:
        super().__init__(n_inputs, width, capacity, config)
        reads = self.config.reads
        slots = self.config.slots or min(max(capacity, reads), _MOST_SLOTS)
        slot_width = self.config.slot_width or max(width // (2 * reads), 1)
        if reads > slots:
            raise MetaRLError(
                f"ExternalMemory(slots={slots}, reads={reads}): take no more reads than slots, for each head writes "
                "into one of its own."
            )
        hidden = width - reads * slot_width
        if hidden < 1:
            raise MetaRLError(
                f"ExternalMemory(width={width}): reads={reads} of slot_width={slot_width} leave {hidden} numbers to "
                f"the controller; take a width above {reads * slot_width}, fewer reads or narrower slots."
            )
        self.slots, self.slot_width, self.reads = slots, slot_width, reads
        self.controller = LSTM(n_inputs + reads * slot_width, hidden)
        self.interface = MLP((hidden, reads * (slot_width + 2)), output_gain=2.0)

    def init(self, generator: torch.Generator) -> Params:
        """Return the controller's parameters and an orthogonal interface, whose biases are zero but for the gates'."""
        interface = self.interface.init(generator)
        interface["0.bias"].unflatten(0, (self.reads, -1))[:, -2] = _ALONE
        named = {_INTERFACE + name: value for name, value in interface.items()}
        return {**self.controller.init(generator), **named}

    def initial(self, params: Params, n_tasks: int) -> State:
        controller = self.controller.initial(params, n_tasks)
        zeros = controller[HIDDEN].new_zeros
        return {
            **controller,
            MATRIX: zeros(n_tasks, self.slots, self.slot_width),
            USAGE: zeros(n_tasks, self.slots),
            ATTENTION: zeros(n_tasks, self.reads, self.slots),
            LAST: zeros(n_tasks, self.reads * self.slot_width),
        }

    def read(self, params: Params, state: State) -> Tensor:
        """Return the controller's hidden numbers, then what each head has read."""
        return torch.cat([state[HIDDEN], state[LAST]], -1)

    def step(self, params: Params, state: State, x: Tensor) -> State:
        before = {name: state[name] for name in (HIDDEN, CELL)}
        controller = self.controller.step(params, before, torch.cat([x, state[LAST]], -1))
        said = self.interface(params, controller[HIDDEN], _INTERFACE).unflatten(-1, (self.reads, -1))
        key, gate, sharpness = said.split([self.slot_width, 1, 1], -1)
        key, gate, sharpness = key.tanh(), gate.sigmoid(), functional.softplus(_SHARPNESS + sharpness)
        matrix = state[MATRIX]
        attention = (sharpness * (_direction(key) @ _direction(matrix).transpose(1, 2))).softmax(-1)
        unused = self.least_used(state[USAGE]).to(x.dtype)
        write = gate * state[ATTENTION] + (1 - gate) * unused  # equation 7
        erased = matrix * (1 - unused.sum(1))[..., None]
        return {
            **controller,
            MATRIX: torch.baddbmm(erased, write.transpose(1, 2), key),  # equation 8
            # Only choices are made by the usage, so nothing of its making is kept for a gradient.
            USAGE: DECAY * state[USAGE] + (attention + write).detach().sum(1),
            ATTENTION: attention,
            LAST: (attention @ matrix).flatten(1),
        }

    def least_used(self, usage: Tensor) -> Tensor:
        """Return each head's slot, one-hot ``(task, head, slot)``, the least used one first (equation 6)."""
        rank = usage + _FIRST * torch.arange(usage.shape[1], device=usage.device)
        chosen = rank.topk(self.reads, largest=False).indices[..., None]
        return (chosen == torch.arange(usage.shape[1], device=usage.device)).to(torch.int64)


def _direction(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=-1, eps=_SHORTEST)
