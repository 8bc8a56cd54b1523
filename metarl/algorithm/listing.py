"""The list of agents, as a table for the console and as JSON."""

from dataclasses import dataclass

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from metarl.algorithm.registry import agent_class, agent_names


@dataclass(frozen=True, kw_only=True)
class AgentInfo:
    """An agent and its presets, the default first."""

    name: str
    adapts_by: str
    summary: str  # the docstring's first line
    presets: dict[str, int]  # name -> environment steps of training


def agents() -> list[AgentInfo]:
    """Return every known agent, sorted by name."""
    classes = {name: agent_class(name) for name in agent_names()}
    return [
        AgentInfo(
            name=name,
            adapts_by=cls.adapts_by,
            summary=(cls.__doc__ or "").strip().partition("\n")[0],
            presets={preset: config.total_timesteps for preset, config in cls.presets.items()},
        )
        for name, cls in classes.items()
    ]


def agents_table(listed: list[AgentInfo]) -> Table:
    """Return a table of agents for the console."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("agent", no_wrap=True)
    table.add_column("adapts by")
    table.add_column("what it is")
    table.add_column("presets, million steps", min_width=22)
    for agent in listed:
        presets = [f"{name} {steps / 1e6:.3g}" for name, steps in agent.presets.items()]
        table.add_row(
            agent.name, *(escape(each) for each in (agent.adapts_by or "–", agent.summary, ", ".join(presets)))
        )
    return table
