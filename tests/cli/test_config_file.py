"""Training by a file: a run's own, or one written by hand."""

import json
import re
import sys
from pathlib import Path

import pytest

from metarl.cli.main import main
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run

FAMILY = "metarl/PointNavigation-v0"
SMALL = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--timesteps", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_run_is_trained_again_by_its_own_file(folder: Path) -> None:
    main(["train", "maml", FAMILY, "--variant", "pearl", "--seed", "3", "5", "--jobs", "1", "--quiet", *SMALL])
    first = Run.open(folder / "runs" / "maml-PointNavigation-pearl")
    main(["train", "--config-file", str(first.path / "run.json"), "--name", "again", "--jobs", "1", "--quiet"])
    again = Run.open(folder / "runs" / "again")
    for field in ("agent", "family_name", "variant", "config", "seeds"):
        assert getattr(again, field) == getattr(first, field), field
    # Options, and what is trained on what, change what the file says.
    more = ["--seed", "1", "--config.tasks", "3", "--quiet", "--name", "changed"]
    main(["train", "maml", "metarl/GridNavi-v0", f"--config-file={first.path / 'run.json'}", *more])
    changed = Run.open(folder / "runs" / "changed")
    assert (changed.family_name, changed.variant, changed.seeds) == ("metarl/GridNavi-v0", "varibad", (1,))
    assert (changed.config.tasks, changed.config.hidden) == (3, (4,))


def test_a_file_by_hand_says_what_differs_from_a_preset(folder: Path) -> None:
    text = """
agent = "multitask"
family = "metarl/PointNavigation-v0"
variant = "promp"
seeds = [2]
preset = "long"
[config]
n_envs = 2
total_timesteps = 8
ppo = {n_steps = 4, batch_size = 8}
"""
    (folder / "mine.toml").write_text(text)
    main(["train", "--config-file", "mine.toml", "--quiet"])
    run = Run.open(folder / "runs" / "multitask-PointNavigation-promp")
    assert (run.seeds, run.config.n_envs, run.config.ppo.n_steps, run.config.ppo.gamma) == ((2,), 2, 4, 0.99)
    few = {"learner": "prototypical", "dataset": "strokes", "config": {"iterations": 1, "width": 4, "strided": True}}
    (folder / "few.json").write_text(json.dumps(few))
    main(["fewshot", "train", "--config-file", "few.json", "--quiet", "--config.tasks", "2"])
    shots = FewShotRun.open(folder / "runs" / "prototypical-strokes")
    assert (shots.config.iterations, shots.config.width, shots.config.tasks, shots.seeds) == (1, 4, 2, (0,))


BAD = {
    "missing": (None, [], "No such file"),
    "no JSON": ("{", [], "is no JSON"),
    "no object": ("[]", [], "must hold fields"),
    "typo": ('{"agent": "maml", "famly": "x"}', [], "has no use for famly; .*Did you mean family"),
    "no family": ('{"agent": "maml"}', [], "says no family; add it"),
    "config": (f'{{"agent": "maml", "family": "{FAMILY}", "config": {{"width": 3}}}}', [], "MAMLConfig has no"),
    "no config": (f'{{"agent": "maml", "family": "{FAMILY}", "config": 3}}', [], "config must be a table"),
    "value": (f'{{"agent": "maml", "family": "{FAMILY}", "config": {{"tasks": "x"}}}}', [], "tasks must be an integer"),
    "preset twice": (f'{{"agent": "maml", "family": "{FAMILY}"}}', ["--preset", "trpo"], "leave out --preset"),
    "code": ('{"agent": "evil:Agent", "family": "metarl/GridNavi-v0"}', [], "no module is imported because a file"),
    "code within": (
        f'{{"agent": "rl2", "family": "{FAMILY}", "config": {{"memory": "evil:Memory"}}}}',
        [],
        "module 'evil' is not installed",
    ),
}


@pytest.mark.parametrize(("text", "more", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_one_line(
    text: str | None, more: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "evil.py").write_text("raise SystemExit('imported')")
    if text is not None:
        (folder / "file.json").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config-file", "file.json", *more])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert re.search(message, said), said
    assert not (folder / "runs").exists()
    assert "evil" not in sys.modules
