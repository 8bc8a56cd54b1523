"""Runs that are made longer or get more seeds: bit for bit the run that was made so at once."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl.agents.baselines.sb3_config import PPOConfig, SB3Config
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.rl2.config import RL2Config
from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.schedule import config_differences, extended
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.fewshot.learners.registry import preset_config

pytestmark = pytest.mark.usefixtures("heard_signals")

FAMILY = "metarl/PointNavigation-v0"
ITERATIONS = {"maml": 2 * 3 * 20 * 2, "rl2": 2 * 2 * 20}  # in steps
TINY: dict[str, Any] = {
    "maml": MAMLConfig(tasks=2, episodes=3, hidden=(4,), inner_steps=1, epochs=1),
    "rl2": RL2Config(tasks=2, episodes=2, width=4, embedding=0, head=(4,), minibatches=1, epochs=1),
}


class Killed(Exception):
    """Stands for a kill between two checkpoints."""


def run_of(path: Path, agent: str, config: Any, seeds: tuple[int, ...] | None = (0,), **options: Any) -> Run:
    return Run.create(path, agent, FAMILY, "pearl", config, seeds, **options)


def assert_same(found: Run, wanted: Run, seed: int) -> None:
    (tensors, about), (others, about_other) = (load_checkpoint(run.checkpoint(seed)) for run in (found, wanted))
    assert tensors.keys() == others.keys()
    assert [name for name, value in tensors.items() if not torch.equal(value, others[name])] == []
    own = {"wall_seconds": 0, "run": "", "log": ""}
    assert {**about, **own} == {**about_other, **own}
    logs = [(run.seed_folder(seed) / "progress.csv").read_text().splitlines() for run in (found, wanted)]
    clock = logs[0][0].split(",").index("time/fps")
    rows = [[line.split(",")[:clock] + line.split(",")[clock + 1 :] for line in log] for log in logs]
    assert rows[0] == rows[1]
    assert found.progress(seed).exists()  # raises where it is not the log that the checkpoint was saved with


@pytest.mark.parametrize("agent", ["maml", "rl2"])
def test_a_kill_an_extension_and_a_new_seed_are_the_run_made_at_once(agent: str, tmp_path: Path) -> None:
    steps = ITERATIONS[agent]
    short = replace(TINY[agent], total_timesteps=4 * steps)
    whole = run_of(
        tmp_path / "whole", agent, replace(short, total_timesteps=8 * steps, schedule_timesteps=4 * steps), (0, 1)
    )
    train_run(whole, jobs=1)

    def killed_after(run: Run, iterations: int) -> None:
        def report(_: int, done: int, words: str) -> None:
            if words and done > iterations * steps:
                raise Killed

        with pytest.raises(Killed):
            run.train_seed(0, report, TrainingOptions(seconds=0))

    path = tmp_path / "extended"
    killed_after(run_of(path, agent, short), 2)
    train_run(run_of(path, agent, short, resume=True))
    assert Run.open(path).about_training(0)["num_timesteps"] == 4 * steps
    killed_after(run_of(path, agent, short, resume=True, length=8 * steps), 6)
    run = run_of(path, agent, short, (1,), resume=True)  # as its first command says, to the new end
    assert run.seeds == (0, 1)
    assert run.config == whole.config
    train_run(run, jobs=1)
    for seed in (0, 1):
        assert_same(Run.open(path), whole, seed)
    # The schedules played a part: without their own length the second half learns otherwise.
    other = run_of(tmp_path / "other", agent, replace(short, total_timesteps=8 * steps))
    train_run(other)
    one, two = (load_checkpoint(each.checkpoint(0))[0] for each in (other, whole))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_a_longer_run_keeps_its_name_and_its_own_command(tmp_path: Path) -> None:
    config = replace(TINY["maml"], total_timesteps=480)
    path = run_of(tmp_path / "run", "maml", config, (3,), command="first").path
    longer = run_of(path, "maml", config, None, resume=True, length=900)
    assert (longer.seeds, longer.budget, longer.config.schedule_timesteps) == ((3,), 900, 480)
    again = run_of(path, "maml", config, (3, 5), resume=True, length=1000, command="last")
    assert (again.seeds, again.budget, again.config.schedule_timesteps) == ((3, 5), 1000, 480)
    assert Run.open(path) == again
    assert again.command == "first"
    preset = type(again.new_model(3)).presets["default"]
    assert replace(again, config=replace(preset, total_timesteps=99, schedule_timesteps=7)).label == "maml"


def test_a_run_only_gets_longer(tmp_path: Path) -> None:
    path = run_of(tmp_path / "run", "maml", TINY["maml"]).path
    with pytest.raises(MetaRLError, match="total_timesteps=0: the run has 14000000 already"):
        run_of(path, "maml", TINY["maml"], resume=True, length=0)
    with pytest.raises(MetaRLError, match="at least 1"):
        run_of(tmp_path / "new", "maml", TINY["maml"], length=0)
    assert not (tmp_path / "new").exists()


def test_a_baseline_without_schedules_is_extended(tmp_path: Path) -> None:
    ppo = PPOConfig(n_steps=5, batch_size=10, net_arch=(2,), n_epochs=1)
    config = SB3Config(total_timesteps=20, n_envs=4, ppo=ppo)
    run = run_of(tmp_path / "run", "multitask", config)
    train_run(run)
    with pytest.warns(UserWarning, match="not bit for bit"):
        train_run(run_of(run.path, "multitask", config, resume=True, length=60))
    assert Run.open(run.path).trained_amount(0) == 60
    with pytest.raises(MetaRLError, match=r"config ppo.n_epochs=1, not ppo.n_epochs=2;"):
        run_of(run.path, "multitask", replace(config, ppo=replace(ppo, n_epochs=2)), resume=True)


def test_a_few_shot_run_is_extended_and_gets_seeds(tmp_path: Path) -> None:
    small = replace(preset_config("prototypical"), width=4, strided=True, iterations=3)
    whole = FewShotRun.create(
        tmp_path / "whole", "prototypical", replace(small, iterations=6, schedule_iterations=3), "strokes", (0, 1)
    )
    train_run(whole, jobs=1)
    run = FewShotRun.create(tmp_path / "run", "prototypical", small, "strokes", (0,))
    train_run(run)
    train_run(FewShotRun.create(run.path, "prototypical", small, "strokes", (1,), resume=True, length=6), jobs=1)
    for seed in (0, 1):
        one, other = (load_checkpoint(each.checkpoint(seed))[0] for each in (run, whole))
        assert [name for name in other if not torch.equal(one[name], other[name])] == []
    assert FewShotRun.open(run.path).trained(0).iteration == 6


def test_the_commands_extend_and_say_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--jobs", "1"]
    words = ["train", "maml", FAMILY, "--variant", "pearl", "--runs", str(tmp_path), "--name", "run", "--json", *small]
    main([*words, "--timesteps", "480", "--seed", "2"])
    capsys.readouterr()
    main([*words, "--timesteps", "960", "--seed", "2", "4", "--resume"])
    assert json.loads(capsys.readouterr().out)["seeds"] == {"2": 960, "4": 960}
    main([*words, "--timesteps", "480", "--seed", "2", "--resume"])  # its first command
    assert json.loads(capsys.readouterr().out)["seeds"] == {"2": 960, "4": 960}
    assert Run.open(tmp_path / "run").config.schedule_timesteps == 480
    few = ["fewshot", "train", "prototypical", "--config.width", "4", "--config.strided", "--runs", str(tmp_path)]
    main([*few, "--iterations", "2", "--json"])
    assert json.loads(capsys.readouterr().out)["seeds"] == {"0": 2}
    for wrong in ([*words, "--config.tasks", "3", "--timesteps", "960", "--resume"], [*words, "--resume"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        said = capsys.readouterr().err
        wanted = r"was made with config (tasks=2, not tasks=3|schedule_timesteps=480, not schedule_timesteps=1.*);"
        assert re.search(wanted, said)
        assert "--timesteps" in said


def test_configs_of_an_earlier_version_have_no_length_of_schedules() -> None:
    given = {"total_timesteps": 9, "schedule_timesteps": None, "tasks": 2}
    assert config_differences({"total_timesteps": 9, "tasks": 2}, given) is None
    assert config_differences({"total_timesteps": 8, "tasks": 2}, {**given, "schedule_timesteps": 8}) is None
    assert config_differences({"total_timesteps": 8, "tasks": 2}, given) == (
        "schedule_timesteps=8",
        "schedule_timesteps=9",
    )


# Starting from weights


def test_a_training_starts_from_weights(tmp_path: Path) -> None:
    config = replace(TINY["maml"], total_timesteps=480)
    first = run_of(tmp_path / "first", "maml", config, (7, 12))
    train_run(first, jobs=1)
    learned = load_checkpoint(first.checkpoint(7))[0]
    other = replace(config, learning_rate=1e-4)  # with other settings, and on another variant
    run = Run.create(tmp_path / "run", "maml", FAMILY, "promp", other, (0,), init_from=first.path)
    assert Run.open(run.path).init_from == str(first.path)
    for path in (first.path / "seed-7").iterdir():
        path.unlink()
    begun = Run.open(run.path)
    agent = begun.new_model(0)
    assert agent.num_timesteps == 0
    assert [name for name, value in agent.params.items() if not torch.equal(value, learned[f"params.{name}"])] == []
    train_run(begun)
    changed = load_checkpoint(run.checkpoint(0))[0]
    assert not torch.equal(changed["params.policy.0.weight"], learned["params.policy.0.weight"])
    # A file does as well; the agent, the shapes and the place are checked before anything is made.
    weights = tmp_path / "weights.safetensors"
    agent.save_weights(weights)
    assert run_of(tmp_path / "file", "maml", config, init_from=weights).new_model(0).iteration == 0
    for bad, place, words in (
        ({"agent": "rl2", "config": TINY["rl2"]}, weights, "holds a 'maml' agent; 'rl2' starts from one of its own"),
        ({"agent": "maml", "config": replace(config, hidden=(5,))}, weights, "parameters of other shapes"),
        ({"agent": "maml", "config": config}, tmp_path, "holds no weights"),
        ({"agent": "maml", "config": config}, tmp_path / "nowhere", "holds no weights"),
    ):
        with pytest.raises(MetaRLError, match=words):
            run_of(tmp_path / "bad", **bad, init_from=place)
        assert not (tmp_path / "bad").exists()
    place = ["--runs", str(tmp_path), "--name", "cli", "--config.hidden", "4", "--config.inner-steps", "1"]
    words = ["train", "maml", FAMILY, *place, "--timesteps", "1", "--config.tasks", "2", "--config.episodes", "2"]
    main([*words, "--init-from", str(weights), "--quiet"])
    assert Run.open(tmp_path / "cli").init_from == str(weights)
    with pytest.raises(MetaRLError, match="standardises observations by what it has seen"):
        run_of(tmp_path / "sb3", "multitask", SB3Config(), init_from=weights)


def test_fewer_steps_than_there_are_is_said_where_there_are_no_schedules() -> None:
    config = SB3Config(total_timesteps=200)
    with pytest.warns(UserWarning, match="^total_timesteps=100: the run has 200 already, and is not made shorter"):
        assert extended(config, 100) == config
