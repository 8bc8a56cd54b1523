"""The zoo: what is published loads, plays, is filmed, and scores as it was published."""

from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest

import metarl
from metarl.cli.main import main
from metarl.core.errors import MetaRLError
from metarl.suite.entries import Verdict
from metarl.zoo import ZooEntry, zoo_entries

ENTRIES = zoo_entries()
# Scored again whenever the tests run; `make zoo` scores all.
QUICK = ("rl2/GridNavi", "maml/PointNavigation", "multitask/GridNavi")


def test_every_entry_loads_with_each_of_its_seeds() -> None:
    for entry in ENTRIES:
        for seed in entry.seeds:
            assert metarl.load(entry.name, seed=seed).seed == seed


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.name in QUICK], ids=lambda entry: entry.name)
def test_an_entry_scores_as_it_was_published(entry: ZooEntry, data: Callable[[str], Path]) -> None:
    if entry.is_learner:
        data(entry.path.name)
    verdict = entry.scored_again()
    assert verdict.holds, verdict


@pytest.mark.parametrize(("anew", "words", "code"), [(0.5, "the same", 0), (0.6, "inside", 0), (0.8, "OUTSIDE", 1)])
def test_how_a_new_score_compares_decides_on_the_exit_code(
    anew: float, words: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        ZooEntry, "scored_again", lambda self, **_: Verdict.of(self.name, 0.5, anew, (0.4, 0.7), same=anew == 0.5)
    )
    ended = 0
    try:
        main(["zoo", ENTRIES[0].name, "--verify"])
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == code
    assert words in capsys.readouterr().out


def test_a_loaded_agent_adapts_to_an_environment() -> None:
    agent = metarl.load("rl2/GridNavi")
    assert isinstance(agent, metarl.RL2)
    env = gymnasium.make("metarl/GridNavi-v0", task={"goal": (3, 4)})
    policy = agent.adapt(env, episodes=1)
    action, _ = policy.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action.item())


def test_enjoy_makes_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["enjoy", "rl2/GridNavi", "--envs", "1", "--points", "1", "--steps", "2", "--quiet"])
    assert (tmp_path / "rl2-GridNavi.gif").read_bytes().startswith(b"GIF8")


def test_what_is_not_in_the_zoo_is_refused() -> None:
    with pytest.raises(MetaRLError, match=r"rl2/GridNav is not in the zoo, whose \d+ .*Did you mean rl2/GridNavi"):
        metarl.load("rl2/GridNav")
    with pytest.raises(MetaRLError, match="has no seed 99; choose one of 0"):
        metarl.load("rl2/GridNavi", seed=99)
    with pytest.raises(SystemExit, match="2"):
        main(["enjoy", "maml-short/omniglot"])


def test_an_empty_zoo_says_so(tmp_path: Path) -> None:
    assert zoo_entries(folder=tmp_path) == []
    with pytest.raises(MetaRLError, match=r"which is empty: .* has no weights"):
        zoo_entries(["rl2/GridNavi"], tmp_path)
