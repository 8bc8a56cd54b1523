"""Agents by name, found through entry points; ``module:Class`` reaches a user's own."""

from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.plugins import AGENTS, declared, import_module


def agent_names() -> list[str]:
    """Every known agent."""
    return sorted(declared(AGENTS))


def agent_class(name: str) -> type[Algorithm]:
    """The agent's class by its name, or by ``module:Class``."""
    if ":" not in name and name not in agent_names():
        raise MetaRLError(
            f"Agent {name!r} is unknown; known are {', '.join(agent_names())}. Reach your own as module:Class."
        )
    module, _, attribute = (name if ":" in name else declared(AGENTS)[name]).partition(":")
    found = getattr(import_module(module), attribute, None)
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise MetaRLError(
            f"{module}:{attribute} is no agent; it must be a subclass of metarl.algorithm.algorithm.Algorithm."
        )
    return found
