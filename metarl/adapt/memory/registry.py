"""The memories by name."""

from metarl.adapt.memory.base import GRU, LSTM, Memory
from metarl.adapt.memory.external import ExternalMemory
from metarl.adapt.memory.snail import SNAIL
from metarl.adapt.memory.transformer import Transformer

MEMORIES: dict[str, type[Memory]] = {
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
    "external": ExternalMemory,
    "snail": SNAIL,
}
_MOST_SLOTS = 128  # as many as the paper has


def make_memory(name: str, n_inputs: int, width: int, *, layers: int, heads: int, capacity: int) -> Memory:
    """One of ``MEMORIES``.

    ``capacity`` is how many inputs a transformer and SNAIL look back on, and a slot for each that an external memory
    has, up to 128; ``layers`` are a transformer's and SNAIL's, whose filters are half of ``width``; ``heads`` are a
    transformer's and those that read an external memory, about half of whose ``width`` they fill.
    """
    if name == "transformer":
        return Transformer(n_inputs, width, layers=layers, heads=heads, capacity=capacity)
    if name == "external":
        slots = min(max(capacity, heads), _MOST_SLOTS)
        return ExternalMemory(n_inputs, width, slots=slots, slot_width=max(width // (2 * heads), 1), reads=heads)
    if name == "snail":
        return SNAIL(n_inputs, width, layers=layers, filters=max(width // 2, 1), capacity=capacity)
    return MEMORIES[name](n_inputs, width)
