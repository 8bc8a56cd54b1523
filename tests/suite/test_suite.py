"""The suite from end to end on a tiny protocol: run, score, compare, publish and verify; and what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.cli.suite import split_config
from metarl.core.errors import MetaRLError
from metarl.evaluation.published import open_run
from metarl.suite import protocol
from metarl.suite.entries import leaderboard, load_entries
from metarl.suite.scores_file import EntryScores
from metarl.suite.scoring import score_run

pytestmark = pytest.mark.usefixtures("installed_families_only")

STEPS = 700
SMALL = ["--config.tasks", "8", "--config.width", "8", "--config.embedding", "0", "--quiet"]
Said = tuple[int, str]
Command = Callable[..., Said]
FAMILY = '''
import torch
from gymnasium.spaces import Box
from metarl import FunctionPolicy, TaskSpace, TorchFamily, Uniform, register_family

@register_family("stranger/Line-v0")
class Line(TorchFamily):
    """Reach a place on a line that is not seen."""
    tasks = TaskSpace(goal=Uniform(-0.5, 0.5))
    observation_space, action_space = Box(-2, 2, (1,)), Box(-0.2, 0.2, (1,))
    horizon, episodes_per_trial = 6, 2
    floor, optimum = "stay", "go"

    def reset(self, task, u):
        return {"x": torch.zeros_like(task["goal"])}

    def step(self, state, action, task, u):
        x = state["x"] + action[:, 0]
        return {"x": x}, -(x - task["goal"]).abs(), torch.zeros_like(x, dtype=torch.bool)

    def observe(self, state, task):
        return state["x"][:, None]

    def reference_policies(self):
        return {"stay": FunctionPolicy(lambda x, task, step: 0 * x),
                "go": FunctionPolicy(lambda x, task, step: 5 * (task["goal"][:, None, None] - x))}
'''


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol of two families of seconds."""
    cells = [cell for cell in protocol.CELLS if cell.name in ("GridNavi", "Pendulum")]
    monkeypatch.setattr(protocol, "CELLS", tuple(replace(cell, steps=STEPS) for cell in cells))


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``suite("run", "rl2", ...)`` runs a command in an empty folder, and gives its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*words: str) -> Said:
        code = 0
        try:
            main(["suite", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, error = capsys.readouterr()
        return code, out + error

    return run


def trained(suite: Command, name: str, *more: str) -> EntryScores:
    """Run and score an entry, and return what its file holds."""
    code, said = suite("run", "rl2", "--name", name, "--jobs", "1", *SMALL, *more)
    assert code == 0, said
    code, said = suite("score", f"runs/suite/{name}", "--quiet")
    assert code == 0, said
    assert all(len(line) <= 80 for line in said.splitlines())
    return EntryScores.load(Path("runs/suite", name))


def test_one_seed_twice_is_the_same_to_the_last_digit_and_a_run_goes_on(suite: Command) -> None:
    first = trained(suite, "a")
    second = trained(suite, "b")
    assert [(cell.mean, cell.last, cell.curve) for cell in first.cells] == [
        (cell.mean, cell.last, cell.curve) for cell in second.cells
    ]
    kept = {file: file.stat().st_mtime_ns for file in Path("runs/suite/a").rglob("checkpoint.safetensors")}
    both = trained(suite, "a", "--seed", "0", "1", "--jobs", "2")
    assert all(file.stat().st_mtime_ns == moment for file, moment in kept.items())  # what was done is not done again
    assert [cell.seeds for cell in both.cells] == [(0, 1), (0, 1)]
    assert [cell.mean[:1] for cell in both.cells] == [cell.mean for cell in first.cells]
    assert both.iqm().interval is not None
    assert first.iqm().interval is None

    code, said = suite("compare", "runs/suite/a", "runs/suite/b")
    assert code == 0
    assert "P is the probability that a run of a is above one of b" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    found = json.loads(suite("compare", "runs/suite/a", "runs/suite/b", "--json")[1])
    assert set(found["families"]) == {"metarl/GridNavi-v0", "metarl/Pendulum-v0"}
    assert suite("compare", "runs/suite/a")[0] == 2


def test_the_protocols_floor_decides_on_a_score_where_it_is_not_the_familys(
    suite: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = protocol.cell_for("metarl/GridNavi-v0")
    assert kept is not None
    assert kept.floor == kept.make_family().floor == "sweep"
    above_sweep = trained(suite, "a", "--family", "GridNavi").cells[0].curve
    monkeypatch.setattr(protocol, "CELLS", (replace(kept, floor="random"),))
    above_random = trained(suite, "a").cells[0].curve
    run, cell = open_run(Path("runs/suite/a/GridNavi")), protocol.CELLS[0]
    score, made = score_run(run, cell)
    assert made.references is not None
    floor, optimum = (ends.mean(1) for ends in made.references)
    returns = made.returns[0].mean(1)
    np.testing.assert_allclose(above_random, (returns - floor) / (optimum - floor), rtol=1e-6)
    assert score.curve == above_random
    assert max(above_sweep) < min(above_random)  # a sweep of the grid earns more than a random walk


def test_a_dry_run_says_what_is_done_and_how_long_the_rest_takes(suite: Command) -> None:
    code, said = suite("run", "rl2", "--family", "GridNavi", "--jobs", "1", *SMALL)
    assert code == 0, said
    code, said = suite("run", "rl2", "--seed", "0", "1", "--dry-run", *SMALL)
    assert code == 0, said
    rows = [line.split() for line in said.splitlines()]
    states = {(row[0], row[1]): " ".join(row[2:-3]) for row in rows if row[:1] in (["GridNavi"], ["Pendulum"])}
    assert states == {
        ("GridNavi", "0"): "done",
        ("GridNavi", "1"): "to do",
        ("Pendulum", "0"): "to do",
        ("Pendulum", "1"): "to do",
    }
    assert "core minutes are left" in said
    assert not Path("runs/suite/rl2/Pendulum").exists()


def test_each_of_several_families_keeps_a_command_of_its_own(suite: Command) -> None:
    code, said = suite("run", "rl2", "--family", "GridNavi", "Pendulum", "--jobs", "1", *SMALL)
    assert code == 0, said
    for name in ("GridNavi", "Pendulum"):
        command = open_run(Path("runs/suite/rl2", name)).command
        assert command == f"metarl suite run rl2 --jobs 1 {' '.join(SMALL)} --family {name}"


def test_what_is_outside_the_protocol_is_refused_by_name(suite: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = suite("run", "rl2", "--timesteps", "5", *SMALL)
    assert (code, said.count("\n")) == (2, 1)
    assert "The protocol fixes variant and steps" in said
    assert "trains for 700 steps" in suite("run", "rl2", "--config.total-timesteps", "5")[1]
    assert "Did you mean GridNavi" in suite("run", "rl2", "--family", "GridNavy")[1]
    assert suite("run", "rl2", "--family", "GridNavi", "--jobs", "1", *SMALL)[0] == 0

    for family in ("GridNavi", "CartPole"):
        main(["train", "rl2", f"metarl/{family}-v0", "--timesteps", "600", "--name", family, *SMALL])
    assert "has training steps 600, and protocol v1 asks for 700 on GridNavi" in suite("score", "runs/GridNavi")[1]
    code, said = suite("score", "runs/CartPole")
    assert (code, said.count("\n")) == (2, 1)
    assert "is of metarl/CartPole-v0, which is not in protocol v1" in said

    assert suite("score", "runs/suite/rl2", "--quiet")[0] == 0
    cells = protocol.CELLS
    monkeypatch.setattr(protocol, "CELLS", (replace(cells[0], episodes=8), *cells[1:]))
    with pytest.raises(MetaRLError, match="is of protocol v1 with hash"):
        EntryScores.load(Path("runs/suite/rl2"))
    monkeypatch.setattr(protocol, "CELLS", (replace(cells[0], split_hash="0" * 16), *cells[1:]))
    assert "the family has changed" in suite("score", "runs/suite/rl2")[1]


def test_an_entry_is_verified_by_its_weights_and_stands_on_the_leaderboard(suite: Command) -> None:
    scores = trained(suite, "rl2")
    (checkpoint,) = Path("runs/suite/rl2/Pendulum").rglob("checkpoint.safetensors")
    checkpoint.unlink()  # as of a run that has only begun
    code, said = suite("publish", "runs/suite/rl2")
    assert code == 0, said
    assert "Left out, for no seed is trained to its end: Pendulum." in said
    code, said = suite("score", "runs/suite/rl2/Pendulum")
    assert (code, said.count("\n")) == (2, 1)
    assert "has no seed that is trained to its end; go on with metarl suite run rl2" in said
    entry = Path("results/suite/rl2/GridNavi")
    assert sorted(file.name for file in entry.iterdir()) == [
        "config.json",
        "curve.csv",
        "summary.json",
        "weights-0.safetensors",
    ]
    summary = json.loads((entry / "summary.json").read_text())
    assert summary["command"].startswith("metarl suite run rl2 --name rl2")
    assert summary["command"].endswith("--family GridNavi --seed 0")
    code, said = suite("verify", "results/suite/rl2", "--quiet")
    assert code == 0, said
    assert "the same" in said

    board = leaderboard(Path("results"))
    (published,) = load_entries(Path("results"))
    assert published.cells == tuple(cell for cell in scores.cells if cell.family == "metarl/GridNavi-v0")
    rows = {line.split(" |")[0]: line for line in board.splitlines() if line.startswith("| rl2")}
    assert rows["| rl2"].count("| |") == 1  # Pendulum and the mean over both have not been run
    assert rows["| rl2-hypernetwork"] == "| rl2-hypernetwork | | | |"

    summary["cell"]["interval"] = [5.0, 6.0]
    summary["cell"]["mean"] = [5.5]
    (entry / "summary.json").write_text(json.dumps(summary))
    assert "is not what was published" in suite("verify", "results/suite/rl2", "--quiet")[1]
    Path("results/SHA256SUMS").unlink()
    code, said = suite("verify", "results/suite/rl2", "--quiet")
    assert code == 1
    assert "OUTSIDE its interval" in said


def test_seeds_may_be_trained_and_published_one_after_the_other(suite: Command) -> None:
    def published(*words: str) -> dict[str, Any]:
        folders = ["--name", "a", "--family", "GridNavi"]
        for code, said in (
            suite("run", "rl2", *folders, "--jobs", "1", *SMALL, *words),
            suite("publish", f"{words[words.index('--runs') + 1]}/a", "--quiet"),
        ):
            assert code == 0, said
        return dict(json.loads(Path("results/suite/a/GridNavi/summary.json").read_text()))

    first = published("--runs", "first")
    both = published("--runs", "second", "--seed", "2", "1")
    assert both["cell"]["seeds"] == [0, 1, 2]
    assert both["cell"]["mean"][0] == first["cell"]["mean"][0]
    assert "--runs second --seed 0 1 2 --family GridNavi" in both["command"]
    weights = sorted(Path("results/suite/a/GridNavi").glob("*.safetensors"))
    assert [file.name for file in weights] == [f"weights-{seed}.safetensors" for seed in range(3)]
    code, said = suite("verify", "results/suite/a", "--quiet")
    assert (code, "the same" in said) == (0, True), said
    other = published("--runs", "third", "--seed", "1", "--config.gamma", "0.9")  # another config begins anew
    assert other["cell"]["seeds"] == [1]
    assert [file.name for file in Path("results/suite/a/GridNavi").glob("*.safetensors")] == ["weights-1.safetensors"]


def test_a_strangers_agent_takes_part_from_a_folder_outside(suite: Command, root: Path) -> None:
    shutil.copy(root / "examples" / "suite_agent.py", "suite_agent.py")
    code, said = suite("run", "suite_agent:Reinforce", "--jobs", "1", "--quiet")
    assert code == 0, said
    assert "metarl suite score runs/suite/Reinforce --agent suite_agent:Reinforce" in said
    code, said = suite("score", "runs/suite/Reinforce", "--agent", "suite_agent:Reinforce", "--quiet")
    assert code == 0, said
    scores = EntryScores.load(Path("runs/suite/Reinforce"))
    assert [cell.family for cell in scores.official] == ["metarl/GridNavi-v0", "metarl/Pendulum-v0"]


def test_a_strangers_family_is_unofficial(suite: Command) -> None:
    Path("stranger.py").write_text(FAMILY)
    own = ["--family", "stranger:stranger/Line-v0"]
    assert "say how long to train on it: --timesteps N" in suite("run", "rl2", *own)[1]
    code, said = suite("run", "rl2", *own, "--timesteps", "400", "--jobs", "1", *SMALL)
    assert code == 0, said
    assert "is not in protocol v1; score it with --unofficial" in suite("score", "runs/suite/rl2", *own)[1]
    code, said = suite("score", "runs/suite/rl2", *own, "--unofficial", "--quiet")
    assert code == 0, said
    assert "Line (unofficial)" in said
    assert "IQM" not in said.partition("0 is the floor")[0]
    scores = EntryScores.load(Path("runs/suite/rl2"))
    assert [cell.official for cell in scores.cells] == [False]
    with pytest.raises(MetaRLError, match="no official scores"):
        scores.iqm()
    assert "is not in protocol v1" in suite("publish", "runs/suite/rl2", *own)[1]


def test_config_options_are_taken_out_of_the_arguments() -> None:
    words = ["run", "rl2", "--config.head", "64", "32", "--seed", "0", "--config.squash", "--config.memory-options=a=1"]
    assert split_config(words) == (
        ["run", "rl2", "--seed", "0"],
        ["head=64,32", "squash=True", "memory_options=a=1"],
    )
