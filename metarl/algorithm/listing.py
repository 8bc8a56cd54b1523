"""The list of agents, as a table for the console and as JSON."""

from dataclasses import dataclass

from rich.console import Group
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


def agents_table(listed: list[AgentInfo]) -> Group:
    """Return a table of agents for the console, which fits one screen of 80 columns."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for agent in listed:
        about = f"{agent.summary}\npresets: {', '.join(agent.presets)}"
        table.add_row(f"[bold]{agent.name}[/]", escape(about))
    return Group(table, "What a preset is for, and how long it takes: metarl train AGENT --help")


def presets_lines(name: str) -> list[str]:
    """Return a line for each preset of an agent: its steps, how long a seed takes on one core, what it is for."""
    cls = agent_class(name)
    width = max(map(len, cls.presets))
    lines = []
    for preset, config in cls.presets.items():
        purpose, minutes = cls.uses.get(preset, ("", None))
        time = "" if minutes is None else f"{minutes:g} min" if minutes < 100 else f"{minutes / 60:.0f} h"
        lines.append(f"{preset:{width}} {config.total_timesteps / 1e6:4.3g}M steps {time:>7}  {purpose}".rstrip())
    return lines
