"""The memories by name."""

from metarl.adapt.memory import GRU, LSTM, Memory
from metarl.adapt.transformer import Transformer

MEMORIES: dict[str, type[Memory]] = {"gru": GRU, "lstm": LSTM, "transformer": Transformer}


def make_memory(name: str, n_inputs: int, width: int, *, layers: int, heads: int, capacity: int) -> Memory:
    """One of ``MEMORIES``; ``layers``, ``heads`` and ``capacity``, the inputs it looks back on, are a transformer's."""
    if name == "transformer":
        return Transformer(n_inputs, width, layers=layers, heads=heads, capacity=capacity)
    return MEMORIES[name](n_inputs, width)
