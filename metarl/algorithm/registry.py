"""The registry of agents: by name, found through entry points; ``module:Class`` reaches a user's own."""

from metarl.algorithm.algorithm import Algorithm
from metarl.core.plugins import AGENTS
from metarl.core.registry import Registry

agents_by_name: Registry[Algorithm] = Registry(Algorithm, "agent", AGENTS)
register_agent = agents_by_name.register
"""Return a class decorator that makes an agent known under a name: ``@register_agent("my-agent")``."""


def agent_names() -> list[str]:
    """Return the name of every known agent, sorted."""
    return agents_by_name.names()


def agent_class(name: str) -> type[Algorithm]:
    """Return the agent's class by its name, or by ``module:Class``."""
    return agents_by_name.find(name)
