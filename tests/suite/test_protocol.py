"""The protocol is frozen: what decides on scores is held by a hash, and every agent has a recipe for it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from metarl.algorithm.registry import agent_class
from metarl.core.config import changed_config
from metarl.core.errors import MetaRLError
from metarl.evaluation.protocol import episodes_at_once
from metarl.suite import protocol
from metarl.suite.protocol import AGENTS, CELLS, chosen_cells, own_cell, protocol_hash, protocol_table
from metarl.suite.recipes import agent_of, recipe

HASH = "8c9331d8f78cdb52"  # of v1; whoever changes the protocol makes another version


def test_protocol_v1_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert protocol_hash() == HASH
    longer = (replace(CELLS[0], steps=CELLS[0].steps + 1), *CELLS[1:])
    monkeypatch.setattr(protocol, "CELLS", longer)
    assert protocol_hash() != HASH


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.needs], ids=lambda cell: cell.name)
def test_a_cell_is_what_its_family_is(cell: protocol.Cell) -> None:
    family = cell.make_family()
    assert len(family.splits.part(cell.split)) == cell.tasks
    policies = family.reference_policies()
    if cell.by_agents:
        assert family.optimum is None
    else:
        assert cell.optimum == family.optimum
        assert cell.floor == ("random" if cell.name == "RuleGrid" else family.floor)
        assert {cell.floor, cell.optimum} <= set(policies)


@pytest.mark.parametrize("entry", AGENTS)
def test_every_agent_of_the_leaderboard_can_be_trained_on_tier_1_and_play_its_trials(entry: str) -> None:
    for cell in chosen_cells(1):
        config = recipe(entry, cell)
        assert config.total_timesteps == cell.steps
        agent = agent_class(agent_of(entry))(cell.make_family(), config)
        assert cell.episodes % episodes_at_once(agent, cell.episodes) == 0


def test_options_come_last_and_the_steps_are_fixed() -> None:
    cell = chosen_cells(1, ["GridNavi"])[0]
    assert recipe("rl2-hypernetwork", cell).hypernetwork == 1
    assert recipe("rl2", cell, ["head=8", "tasks=16"]).head == (8,)
    assert recipe("multitask", cell, ["ppo.gamma=0.9"]).ppo.gamma == 0.9
    with pytest.raises(MetaRLError, match=r"trains for 3,000,000 steps on GridNavi"):
        recipe("rl2", cell, ["total_timesteps=5"])
    with pytest.raises(MetaRLError, match="RL2Config has no 'widht'"):
        changed_config(recipe("rl2", cell), ["widht=8"])
    with pytest.raises(MetaRLError, match="width must be an integer"):
        changed_config(recipe("rl2", cell), ["width=wide"])


def test_families_are_chosen_by_name_and_absent_packages_leave_theirs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [cell.name for cell in chosen_cells(1, ["GridNavi", "metarl/Pendulum-v0"])] == ["GridNavi", "Pendulum"]
    with pytest.raises(MetaRLError, match="Did you mean GridNavi"):
        chosen_cells(1, ["GridNav"])
    monkeypatch.setattr(protocol, "find_spec", lambda name: None)
    assert "ML10" not in [cell.name for cell in chosen_cells(2)]
    with pytest.raises(MetaRLError, match=r"metarl/ML10-v3 needs metaworld; see docs/meta_world\.md"):
        chosen_cells(2, ["ML10"])


def test_a_changed_family_is_refused() -> None:
    cell = replace(CELLS[2], split_hash="0" * 16)
    with pytest.raises(MetaRLError, match="the family has changed"):
        cell.make_family()


def test_a_family_of_ones_own_is_unofficial_and_between_agents_where_it_has_no_policies() -> None:
    assert not own_cell("metarl/CartPole-v0", "reversed", 100).official
    assert own_cell("metarl/HopperRandParams-v0", None, 100).by_agents


def test_the_page_is_written_from_the_protocol(root: Path) -> None:
    page = (root / "docs" / "suite.md").read_text()
    assert protocol_table() in page
    assert re.findall(r"`([0-9a-f]{16})`\n", page) == [HASH]
