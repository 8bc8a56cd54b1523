"""The weights of published results: only what acting and adapting need, and enough of it to score them again."""

import json
import runpy
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.algorithm.algorithm import Algorithm
from metarl.algorithm.registry import agent_class
from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint, save_checkpoint
from metarl.core.errors import MetaRLError
from metarl.envs import FAMILIES
from metarl.evaluation import weights
from metarl.evaluation.driver import adaptation_curve
from metarl.evaluation.outcome import evaluate_run
from metarl.evaluation.published import PublishedRun, open_run
from metarl.evaluation.weights import save_weights, weights_file, weights_files
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from results.files import check_result, load_results

FAMILY = "metarl/PointNavigation-v0"
# What each agent's published file may not hold: how the names of its critics begin.
CRITICS = {
    "maml": (),
    "finetune": (),
    "rl2": ("critic.",),
    "varibad": ("critic.",),
    "pearl": ("critic", "value"),
    "multitask": ("policy.value_net", "policy.mlp_extractor.value_net", "policy.critic"),
    "oracle": ("policy.value_net", "policy.mlp_extractor.value_net", "policy.critic"),
}


def small(name: str, seed: int = 0) -> Algorithm:
    """An agent whose parameters are other than those that its seed begins with."""
    cls = agent_class(name)
    config = cls.presets["default"]
    agent = cls(FAMILY, replace(config, total_timesteps=100), variant="pearl", seed=seed)
    generator = torch.Generator().manual_seed(7)
    agent.params = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator) for name, value in agent.params.items()
    }
    return agent


def returns(agent: Algorithm) -> np.ndarray[Any, np.dtype[np.float64]]:
    tasks = agent.family.splits.test[:3]
    curve = adaptation_curve(agent.learner, agent.params, agent.family, tasks, points=2, n_envs=agent.n_envs)
    assert curve.deterministic is not None
    return np.stack([curve.returns, curve.deterministic])


@pytest.mark.parametrize("name", CRITICS)
def test_weights_score_as_the_agent_does_and_hold_no_critic(name: str, tmp_path: Path) -> None:
    agent, path = small(name), tmp_path / "weights-0.safetensors"
    agent.save_weights(path)
    names = {key.removeprefix("params.") for key in load_checkpoint(path)[0]}
    assert not [each for each in names if each.startswith(CRITICS[name])]
    assert all(key.startswith("params.") for key in load_checkpoint(path)[0])  # no optimiser, no replay
    again = type(agent).load(path)
    for key in names:
        assert torch.equal(again.params[key], agent.params[key]), key
    np.testing.assert_array_equal(returns(again), returns(agent))


@pytest.mark.parametrize("name", ["rl2", "varibad"])
def test_what_is_left_out_is_not_looked_at(name: str) -> None:
    agent = small(name)
    before = returns(agent)
    acting = agent.learner.acting(agent.params)
    assert 0 < len(acting) < len(agent.params)
    agent.params = {key: value if key in acting else value * torch.nan for key, value in agent.params.items()}
    np.testing.assert_array_equal(returns(agent), before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two seeds."""
    config = agent_class("rl2").presets["default"]
    config = replace(config, total_timesteps=300, tasks=4, width=8, embedding=8, head=(8,), episodes=2)
    made = Run.create(tmp_path_factory.mktemp("runs") / "run", "rl2", FAMILY, "pearl", config, [0, 3], "metarl train x")
    train_run(made, jobs=1)
    return made


@pytest.fixture(scope="module")
def publish(root: Path) -> Callable[..., int]:
    """The script's main."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "scripts")
        return runpy.run_path(str(root / "scripts" / "publish.py"))["main"]


@pytest.fixture(scope="module")
def published(run: Run, publish: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its result, which nobody changes."""
    results = tmp_path_factory.mktemp("results")
    assert publish(run.path, results, tasks=6) == 0
    (result,) = load_results(results)
    return result.folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of the result to play with."""
    return Path(shutil.copytree(published, tmp_path / published.parent.name / published.name))


def test_a_published_result_is_scored_again_to_the_same_numbers(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["streams"], summary["tuned_on"]) == (2, "test")
    assert summary["command"] == f"metarl train x && metarl evaluate {run.path} --tasks 6"
    assert sorted(weights_files(folder)) == [0, 3]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    main(["evaluate", str(folder), "--tasks", "6", "--json"])
    scored = json.loads(capsys.readouterr().out)
    for name in ("agent", "family", "variant", "split", "seeds", "steps", "wall_seconds"):
        assert scored[name] == summary[name], name
    assert len(scored["curve"]) == len(summary["curve"]) == 2
    for point, said in zip(scored["curve"], summary["curve"], strict=True):
        for score in ("return", "normalised"):
            assert point[score]["mean"] == said[score]["mean"]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    main(["evaluate", str(folder), "--tasks", "6", "--output", str(tmp_path / "scores")])
    assert (tmp_path / "scores" / "evaluation-test.json").exists()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_published_result_is_compared_and_shown_as_a_run_is(run: Run, folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.iterdir())
    main(["compare", str(folder), str(run.path), "--output", str(tmp_path / "c.png")])
    table = (tmp_path / "c.csv").read_text().splitlines()[1:]
    ours, theirs = ([line.split(",")[1:] for line in table if name in line] for name in ("pearl", "(run)"))
    assert ours == theirs
    main(["render", str(folder), "--envs", "1", "--steps", "1", "--output", str(tmp_path / "film.gif")])
    assert (tmp_path / "film.gif").stat().st_size
    assert sorted(folder.iterdir()) == before


def test_an_ablation_keeps_no_weights_and_old_ones_make_room(
    run: Run, publish: Callable[..., int], folder: Path
) -> None:
    results = folder.parents[1]
    assert publish(run.path, results, tasks=6, ablation="wiped") == 0
    wiped = folder.parents[1] / f"{folder.parent.name}-wiped" / folder.name
    assert (wiped / "summary.json").exists()
    assert not weights_files(wiped)
    weights_file(folder, 9).write_bytes(b"of another run")
    with pytest.raises(MetaRLError, match=r"its weights are of seeds \[0, 3, 9\], its scores of \[0, 3\]"):
        check_result(folder, results)
    assert publish(run.path, results, tasks=6) == 0
    assert sorted(weights_files(folder)) == [0, 3]


def test_a_result_without_weights_says_how_to_get_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in weights_files(folder).values():
        file.unlink()
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder)])
    assert "keeps no weights; train it again to score it: metarl train x" in capsys.readouterr().err


def test_weights_may_be_older_than_a_setting_and_of_no_other_config(folder: Path) -> None:
    tensors, about = load_checkpoint(weights_file(folder, 3))
    default = agent_class(about["agent"]).config_class()
    same = next(name for name, value in about["config"].items() if value == getattr(default, name))
    older = {name: value for name, value in about["config"].items() if name != same}
    save_checkpoint(weights_file(folder, 3), tensors, {**about, "config": older})
    assert open_run(folder).seeds == (0, 3)
    save_checkpoint(weights_file(folder, 3), tensors, {**about, "config": {**older, "gamma": 0.5}})
    with pytest.raises(MetaRLError, match="differ in config; restore them"):
        open_run(folder)
    save_checkpoint(weights_file(folder, 3), tensors, {k: v for k, v in about.items() if k != "config"})
    with pytest.raises(MetaRLError, match="differ in config, or do not say it"):
        open_run(folder)


def test_weights_of_several_makings_or_of_unknown_code_are_refused(folder: Path) -> None:
    tensors, about = load_checkpoint(weights_file(folder, 3))
    save_checkpoint(weights_file(folder, 3), tensors, {**about, "variant": "maml"})
    with pytest.raises(MetaRLError, match="differ in variant"):
        open_run(folder)
    for seed in (0, 3):
        save_checkpoint(weights_file(folder, seed), tensors, {**about, "seed": seed, "family": "payload:metarl/X-v0"})
    with pytest.raises(MetaRLError, match="family payload:metarl/X-v0, which is not installed"):
        open_run(folder)
    for seed in (0, 3):
        save_checkpoint(weights_file(folder, seed), tensors, {**about, "seed": seed, "split": "another"})
    with pytest.raises(MetaRLError, match=r"with split another.*the family has changed"):
        PublishedRun.open(folder).family()
    (folder / "summary.json").write_text("{")
    with pytest.raises(MetaRLError, match=r"summary\.json is damaged"):
        open_run(folder)


def test_weights_too_large_for_a_repository_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MOST_BYTES", 1000)
    with pytest.raises(MetaRLError, match="a result keeps at most"):
        save_weights(tmp_path, run)
    assert not list(tmp_path.iterdir())


def test_the_smallest_published_weights_score_as_their_summary_says(root: Path) -> None:
    """A result of this repository itself; it may have been scored on another processor, whose rounding is another."""
    kept = [
        (sum(file.stat().st_size for file in files.values()), each)
        for each in load_results(root / "results")
        if each.summary["family"] in FAMILIES and (files := weights_files(each.folder))
    ]
    _, result = min(kept, key=lambda each: each[0])
    words = shlex.split(result.summary["command"].partition(" && metarl evaluate ")[2])
    given = {name: int(words[words.index(name) + 1]) for name in ("--tasks", "--points") if name in words}
    found = evaluate_run(
        PublishedRun.open(result.folder),
        n_tasks=given.get("--tasks"),
        points=given.get("--points"),
        deterministic=False,
    ).evaluation
    for point, said in zip(found.points, result.summary["curve"], strict=True):
        wide = said["return"]["high"] - said["return"]["low"]
        assert point.returns.value == pytest.approx(said["return"]["mean"], abs=0.1 * wide)
