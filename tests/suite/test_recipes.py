"""The leaderboard's own entries are what today's recipes make, so that the command beside each trains it again."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from metarl.suite.protocol import AGENTS, CELLS, Cell
from metarl.suite.recipes import recipe

_SUITE = Path(__file__).parents[2] / "results" / "suite"
ENTRIES = [(agent, cell) for agent in AGENTS for cell in CELLS if (_SUITE / agent / cell.name).is_dir()]


@pytest.mark.parametrize(("agent", "cell"), ENTRIES, ids=[f"{agent}/{cell.name}" for agent, cell in ENTRIES])
def test_a_published_config_is_that_of_its_recipe(agent: str, cell: Cell) -> None:
    published = json.loads((_SUITE / agent / cell.name / "config.json").read_text())
    made = recipe(agent, cell)
    # A setting that is newer than an entry has its default there.
    assert json.loads(json.dumps({**asdict(type(made)()), **published})) == json.loads(json.dumps(asdict(made)))
