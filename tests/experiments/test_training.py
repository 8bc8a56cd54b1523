"""Runs: killed and resumed they end as if never killed; side by side as one after the other; errors name the seed."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.agents.maml.config import MAMLConfig
from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.experiments.logs import STEPS, ResumableCSV, RunLogger
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.training import train_run

pytestmark = pytest.mark.usefixtures("heard_signals")

FAMILY = "metarl/PointNavigation-v0"
CONFIG = MAMLConfig(tasks=2, episodes=3, hidden=(4,), inner_steps=1, epochs=1)
ITERATION = 2 * 3 * 20 * 2  # steps
TRPO = replace(CONFIG, outer="trpo", outer_steps="last", cg_iterations=3)
BROKEN = '''
"""Families that break in training."""

import os

import numpy as np
import torch
from gymnasium.spaces import Box

from metarl.envs.engine.torch import TorchFamily
from metarl.family import register_family
from metarl.tasks import TaskSpace, Uniform


class Sound(TorchFamily):
    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2,)))
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)
    horizon = 5

    def reset(self, task, u):
        return {"position": torch.zeros_like(task["goal"])}

    def step(self, state, action, task, u):
        position = state["position"] + action
        return {"position": position}, -(position - task["goal"]).norm(dim=-1), torch.zeros_like(position[:, 0]).bool()

    def observe(self, state, task):
        return state["position"]


@register_family("test/NaN-v0")
class NaN(Sound):
    def step(self, state, action, task, u):
        state, reward, terminated = super().step(state, action, task, u)
        return state, reward * float("nan"), terminated


@register_family("test/Crash-v0")
class Crash(Sound):
    def reset(self, task, u):
        os._exit(3)
'''


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of broken families in the working folder."""
    name = "broken_families_of_test_training"
    (tmp_path / f"{name}.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def create(path: Path, config: MAMLConfig = CONFIG, seeds: tuple[int, ...] = (0,), **options: Any) -> Run:
    return Run.create(path, "maml", FAMILY, "pearl", config, seeds, **options)


def arguments(path: Path, config: MAMLConfig, seeds: tuple[int, ...], *more: str) -> list[str]:
    """The command that trains what ``create`` makes."""
    changed = [
        word
        for field in ("tasks", "episodes", "hidden", "inner_steps", "epochs", "outer", "outer_steps", "cg_iterations")
        for value in [getattr(config, field)]
        for word in (f"--config.{field.replace('_', '-')}", str(value[0] if isinstance(value, tuple) else value))
    ]
    # The two that hang together go in as one preset.
    preset = ["--preset", "trpo"] if config.outer == "trpo" else []
    learned = [
        f"--config.{'' if getattr(config, field) else 'no-'}{field.replace('_', '-')}"
        for field in ("learn_step_sizes", "learn_std_shift")
    ]
    std = ["--config.initial-std", str(config.initial_std), "--config.inner", config.inner]
    return [
        *("train", "maml", FAMILY, "--variant", "pearl", "--runs", str(path.parent), "--name", path.name),
        *("--seed", *map(str, seeds), "--json", *preset, *changed, *learned, *std),
        *("--config.total-timesteps", str(config.total_timesteps), *more),
    ]


def rows(path: Path, seed: int = 0) -> list[dict[str, str]]:
    file = path / f"seed-{seed}" / "progress.csv"
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def without_clock(logged: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "time/fps"} for row in logged]


def assert_same_run(found: Path, wanted: Path, seed: int = 0) -> None:
    """Bit for bit the same parameters and optimiser, and the same rows, none lost and none twice."""
    tensors, about = load_checkpoint(found / f"seed-{seed}" / "checkpoint.safetensors")
    wanted_tensors, wanted_about = load_checkpoint(wanted / f"seed-{seed}" / "checkpoint.safetensors")
    assert tensors.keys() == wanted_tensors.keys()
    different = [name for name, value in tensors.items() if not torch.equal(value, wanted_tensors[name])]
    assert different == []
    own = {"wall_seconds": 0, "run": "", "log": ""}  # the log has the clock's times
    assert {**about, **own} == {**wanted_about, **own}
    assert without_clock(rows(found, seed)) == without_clock(rows(wanted, seed))


def kill_in_the_middle(command: list[str], path: Path, seeds: tuple[int, ...], after: int, total: int) -> list[int]:
    """Start a training, and kill it without warning once a seed has a checkpoint and so many rows.

    Returns the processes that it had started.
    """
    process = subprocess.Popen([sys.executable, "-m", "metarl.cli.main", *command], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not any(
            len(rows(path, seed)) >= after and (path / f"seed-{seed}" / "checkpoint.safetensors").exists()
            for seed in seeds
        ):
            assert process.poll() is None, f"training ended before it could be killed: {process.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        started = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert any(after <= len(rows(path, seed)) < total for seed in seeds)
    return started


@pytest.mark.parametrize(
    ("config", "kills"),
    [(CONFIG, (10, 30)), pytest.param(TRPO, (10, 30), marks=pytest.mark.slow)],
    ids=["ppo", "trpo"],
)
def test_a_killed_run_ends_as_if_it_never_was(config: MAMLConfig, kills: tuple[int, ...], tmp_path: Path) -> None:
    total = 120
    config = replace(config, total_timesteps=total * ITERATION)
    train_run(create(tmp_path / "whole", config))
    killed = tmp_path / "killed"
    # Some rows are logged after each checkpoint, and have to go when it is resumed from.
    for i, after in enumerate(kills):
        more = ["--checkpoint-seconds", "0.1", *(["--resume"] if i else [])]
        kill_in_the_middle(arguments(killed, config, (0,), *more), killed, (0,), after, total)
    train_run(create(killed, config, resume=True))
    assert len(rows(killed)) == total
    assert_same_run(killed, tmp_path / "whole")
    events = EventAccumulator(str(killed / "seed-0")).Reload()
    assert [event.step for event in events.Scalars("train/objective" if config.outer == "ppo" else "train/kl")] == [
        int(row[STEPS]) for row in rows(killed)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_children_end_with_a_killed_parent_and_seeds_side_by_side_are_those_in_turn(tmp_path: Path) -> None:
    total, seeds = 120, (3, 4)
    config = replace(CONFIG, total_timesteps=total * ITERATION)
    train_run(create(tmp_path / "whole", config, seeds), jobs=1)
    killed = tmp_path / "killed"
    command = arguments(killed, config, seeds, "--jobs", "2", "--checkpoint-seconds", "0.1")
    started = kill_in_the_middle(command, killed, seeds, 10, total)
    assert len(started) >= 2
    deadline = time.monotonic() + 20
    while any(running(pid) for pid in started):
        assert time.monotonic() < deadline, "a child goes on without its parent"
        time.sleep(0.02)
    assert any(len(rows(killed, seed)) < total for seed in seeds), "the children went on to the end"
    train_run(create(killed, config, seeds, resume=True), jobs=1)
    for seed in seeds:
        assert_same_run(killed, tmp_path / "whole", seed)
    first, second = (load_checkpoint(killed / f"seed-{seed}" / "checkpoint.safetensors")[0] for seed in seeds)
    assert not torch.equal(first["params.policy.0.weight"], second["params.policy.0.weight"])


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("config", [CONFIG, TRPO], ids=["ppo", "trpo"])
def test_a_run_that_stops_between_two_checkpoints_goes_on_exactly(config: MAMLConfig, tmp_path: Path) -> None:
    config = replace(config, total_timesteps=6 * ITERATION)
    whole = create(tmp_path / "whole", config)
    train_run(whole, TrainingOptions(seconds=0))
    for last in (1, 4):

        class Stop(Exception):
            pass

        def report(_seed: int, steps: int, _words: str, last: int = last) -> None:
            if steps > last * ITERATION:  # logged, and not yet saved
                raise Stop

        run = create(tmp_path / f"stopped-{last}", config)
        with pytest.raises(Stop):
            run.train_seed(0, report, TrainingOptions(seconds=0))
        assert len(rows(run.path)) == last + 1
        assert run.about_training(0)["iteration"] == last
        train_run(create(run.path, config, resume=True))
        assert_same_run(run.path, whole.path)


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    config = replace(CONFIG, total_timesteps=3 * ITERATION)
    for name in ("once", "twice"):
        train_run(create(tmp_path / name, config))
    wall = create(tmp_path / "once", config, resume=True).about_training(0)["wall_seconds"]
    train_run(create(tmp_path / "twice", config, resume=True))
    assert_same_run(tmp_path / "twice", tmp_path / "once")
    assert wall > 0


def test_wall_time_adds_up_over_resumes(tmp_path: Path) -> None:
    config = replace(CONFIG, total_timesteps=4 * ITERATION)
    run = create(tmp_path / "run", config)
    agent = run.new_model(0)
    agent.train_until(2 * ITERATION)
    agent.wall_seconds = 1000.0
    agent.save(run.checkpoint(0))
    train_run(create(run.path, config, resume=True))
    assert 1000 < run.about_training(0)["wall_seconds"] < 1100


def test_checkpoints_are_so_many_seconds_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = list[int]()
    run = create(tmp_path / "run", replace(CONFIG, total_timesteps=4 * ITERATION))
    agent_class = type(run.new_model(0))
    monkeypatch.setattr(agent_class, "save", lambda self, _path: saved.append(self.iteration))
    run.train_seed(0, lambda *_: None, TrainingOptions(seconds=1000))
    assert saved == [4]
    saved.clear()
    run.train_seed(0, lambda *_: None, TrainingOptions(seconds=0))
    assert saved == [1, 2, 3, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "words"), [("test/NaN-v0", "reward .*not finite"), ("test/Crash-v0", "ended with exit code 3")]
)
def test_a_failing_child_reports_its_seed(family: str, words: str, broken: str, tmp_path: Path) -> None:
    config = replace(CONFIG, total_timesteps=1000)
    run = Run.create(tmp_path / "run", "maml", f"{broken}:{family}", None, config, (5, 6))
    with pytest.raises(MetaRLError, match=rf"Training of seed [56]: .*{words}"):
        train_run(run, jobs=2)


def test_a_failing_seed_is_named_without_children_too(broken: str, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "maml", f"{broken}:test/NaN-v0", None, CONFIG, (7, 8))
    with pytest.raises(MetaRLError, match=r"Training of seed 7: .*not finite"):
        train_run(run, jobs=1)
    run.discard_untrained()
    assert not run.path.exists()


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"jobs": 0}, {"seconds": -1.0}], ids=str)
def test_numbers_of_training_are_checked(wrong: dict[str, Any], tmp_path: Path) -> None:
    jobs = wrong.pop("jobs", None)
    with pytest.raises(MetaRLError, match="must be"):
        train_run(create(tmp_path / "run"), TrainingOptions(**wrong), jobs)


# Run folders


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_folder_that_is_there_is_neither_touched_nor_mixed(tmp_path: Path) -> None:
    path = create(tmp_path / "run").path
    (path / "notes.txt").write_text("mine")
    before = files(path)
    with pytest.raises(MetaRLError, match=r"continue it with --resume, .*--overwrite"):
        create(path)
    assert files(path) == before
    create(path, overwrite=True)
    assert set(files(path)) == {"run.json", "splits.json"}


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("me")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(MetaRLError, match="no run folder; choose another --name"):
            create(tmp_path / "photos", **options)
    with pytest.raises(MetaRLError, match="no run folder"):
        create(tmp_path / "photos", resume=True)
    assert files(tmp_path / "photos") == {"me.jpg": b"me"}


def test_a_folder_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    path = create(tmp_path / "run").path
    (path / "run.json").rename(path / ".run.json.x7f3.tmp")
    assert create(path).path == path
    Run.open(path)


def test_what_is_wrong_with_a_family_shows_before_the_old_run_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = create(tmp_path / "run").path
    before = files(path)

    def overlap(*_: Any) -> None:
        raise MetaRLError("3 of 5 training tasks belong to the test split")

    monkeypatch.setattr("metarl.tasks.splits.Disjoint.make", overlap)
    for target in (path, tmp_path / "new"):
        with pytest.raises(MetaRLError, match="belong to the test split"):
            create(target, overwrite=True)
    assert files(path) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": "finetune"}, "agent maml, not finetune"),
        (
            {"config": replace(CONFIG, tasks=5, hidden=(3,))},
            r"config tasks=2, hidden=\(4,\), not tasks=5, hidden=\(3,\);",
        ),
        ({"config": replace(CONFIG, total_timesteps=5)}, "schedule_timesteps=14000000, not schedule_timesteps=5;"),
        ({"length": 5}, "total_timesteps=5: the run has 14000000 already; a run can only be made longer"),
        ({"variant": "maml"}, "variant pearl, not maml"),
        ({"family": "metarl/GridNavi-v0", "variant": None}, "holds family metarl/PointNavigation-v0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_only_the_same_run_is_resumed(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = create(tmp_path / "run").path
    made = {"agent": "maml", "family": FAMILY, "variant": "pearl", "config": CONFIG, "seeds": (0,)}
    if "agent" in change:
        from metarl.agents.baselines.finetune import FineTuneConfig

        change = {**change, "config": FineTuneConfig()}
    with pytest.raises(MetaRLError, match=words):
        Run.create(path, **{**made, **change}, resume=True)


@pytest.mark.parametrize("seeds", [(), (1, 1)], ids=str)
def test_seeds_are_given_each_once(seeds: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match="at least one seed, each once"):
        create(tmp_path / "run", seeds=seeds)
    assert not (tmp_path / "run").exists()


def test_a_run_is_found_again_as_it_was_made(tmp_path: Path) -> None:
    made = create(tmp_path / "run", seeds=(2, 5), command="metarl train ...")
    assert Run.open(made.path) == made
    assert made.label == "maml-custom"
    assert made.family().name == f"{FAMILY}:pearl"
    with pytest.raises(MetaRLError, match="no checkpoint of seed 5"):
        made.trained(5)


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[1, 2]",
    "null": lambda text: "null",
    "without its seeds": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "seeds"}),
    "no config": lambda text: json.dumps({**json.loads(text), "config": None}),
    "words for numbers": lambda text: text.replace('"tasks": 2', '"tasks": "two"'),
    "out of range": lambda text: text.replace('"tasks": 2', '"tasks": 0'),
    "another version's field": lambda text: text.replace('"tasks"', '"n_tasks"'),
    "an agent that is gone": lambda text: text.replace('"agent": "maml"', '"agent": "malm"'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_file_is_one_line(damage: Callable[[str], str], tmp_path: Path) -> None:
    path = create(tmp_path / "run").path
    text = (path / "run.json").read_text()
    (path / "run.json").write_text(damage(text))
    assert (path / "run.json").read_text() != text
    with pytest.raises(MetaRLError) as raised:
        Run.open(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["", "{", '{"kind": "disjoint"}', "[]"], ids=repr)
def test_a_damaged_split_is_one_line(damage: str, tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    (run.path / "splits.json").write_text(damage)
    with pytest.raises(MetaRLError, match="restore it or train anew") as raised:
        run.family()
    assert "\n" not in str(raised.value)


def test_a_split_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    saved = json.loads((run.path / "splits.json").read_text())
    saved["test"]["goal"][0][0] += 1e-9
    (run.path / "splits.json").write_text(json.dumps(saved))
    with pytest.raises(MetaRLError, match="the file was changed"):
        run.new_model(0)


# Logs


def log(path: Path, steps: list[int], start: int = 0, **more: float) -> None:
    output = ResumableCSV(path, start)
    for step in steps:
        values = {STEPS: step, "train/loss": step / 3, **more}
        output.write(values, dict.fromkeys(values), step)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_goes_on_after_the_rows_of_its_checkpoint(tmp_path: Path) -> None:
    log(tmp_path / "whole.csv", [10, 20, 30, 40, 50])
    log(tmp_path / "cut.csv", [10, 20, 30, 40])
    log(tmp_path / "cut.csv", [30, 40, 50], start=20)
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_csv_starts_anew_with_its_run(tmp_path: Path) -> None:
    log(tmp_path / "a.csv", [10, 20])
    log(tmp_path / "a.csv", [10])
    assert [row[STEPS] for row in read(tmp_path / "a.csv")] == ["10"]


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_row_cut_short_is_dropped(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    log(path, [10, 20])
    good = path.read_bytes()
    # A cut number may look like an earlier step.
    path.write_bytes(good + b"30000,1.5"[:cut])
    log(path, [30], start=20)
    log(tmp_path / "b.csv", [10, 20, 30])
    assert path.read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_column_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    log(path, [10])
    log(path, [20], start=10, extra=1.5)
    log(path, [30], start=20)
    assert [row["extra"] for row in read(path)] == ["", "1.5", ""]
    assert [row["train/loss"] for row in read(path)] == [str(step / 3) for step in (10, 20, 30)]


def test_values_kept_from_the_csv_are_left_out(tmp_path: Path) -> None:
    output = ResumableCSV(tmp_path / "a.csv", 0)
    output.write({STEPS: 1, "picture": 2.0}, {STEPS: (), "picture": ("csv",)}, 1)
    output.close()
    assert list(read(tmp_path / "a.csv")[0]) == [STEPS]


@pytest.mark.parametrize("kept", [0, 20])
def test_tensorboard_shows_no_step_twice(kept: int, tmp_path: Path) -> None:
    for start, steps in ((0, (10, 20, 30)), (kept, range(kept + 10, 60, 10))):
        logger = RunLogger(tmp_path, start)
        for step in steps:
            logger.record("train/loss", float(step + start))
            logger.record(STEPS, step)
            logger.dump(step)
        logger.close()
    shown = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [event.step for event in shown] == [10, 20, 30, 40, 50]
    assert [event.value for event in shown] == [10 + (kept < 10) * 0, 20, 30 + kept, 40 + kept, 50 + kept]


def test_files_are_whole_or_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    write_atomic(path, "first")
    assert path.stat().st_mode & 0o777 == 0o644

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"second")
    assert files(tmp_path) == {"folder/file": b"first"}


def test_the_command_resumes_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(CONFIG, total_timesteps=2 * ITERATION)
    main(arguments(tmp_path / "run", config, (0,)))
    assert json.loads(capsys.readouterr().out) == {"run": str(tmp_path / "run"), "seeds": {"0": 2 * ITERATION}}
    assert Run.open(tmp_path / "run").config == config
    main(arguments(tmp_path / "run", config, (0,), "--resume"))
    assert json.loads(capsys.readouterr().out)["seeds"] == {"0": 2 * ITERATION}
