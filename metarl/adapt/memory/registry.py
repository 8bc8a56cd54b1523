"""The registry of memories: by name, found through entry points; ``module:Class`` reaches a user's own."""

from collections.abc import Sequence

from metarl.adapt import memory
from metarl.adapt.memory.base import Memory
from metarl.core.config import options_config
from metarl.core.plugins import MEMORIES
from metarl.core.registry import Registry

memories_by_name: Registry[Memory] = Registry(Memory, "memory", MEMORIES, package=memory)
register_memory = memories_by_name.register
"""Return a class decorator that makes a memory known under a name: ``@register_memory("averages")``."""


def memory_names() -> list[str]:
    """Return the name of every known memory, sorted."""
    return memories_by_name.names()


def make_memory(name: str, n_inputs: int, width: int, capacity: int = 1, options: Sequence[str] = ()) -> Memory:
    """Return a memory by its registered name, or by ``module:Class``.

    Args:
        name: such as ``"gru"`` or ``"my_module:MyMemory"``.
        n_inputs: numbers in an input.
        width: numbers that are read.
        capacity: inputs that a memory which looks back has to hold.
        options: ``"field=value"`` for each field of the memory's own config that is not to have its default.
    """
    cls = memories_by_name.find(name)
    return cls(n_inputs, width, capacity, options_config(cls.config_class, options))


def check_memory(name: str, width: int, options: Sequence[str]) -> None:
    """Raise where there is no such memory, or its width or options do not fit; one in a module is not imported yet."""
    if ":" not in name:
        make_memory(name, 1, width, 1, options)
