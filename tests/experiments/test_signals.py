"""Signals: a training saves at the end of its iteration and says how it goes on; nothing prints a traceback."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl.agents.maml import MAML
from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint
from metarl.core.lock import locked
from metarl.experiments import signals
from metarl.experiments.run import Run
from metarl.fewshot.model import FewShot

pytestmark = pytest.mark.usefixtures("heard_signals")

FAMILY = "metarl/PointNavigation-v0"
ITERATION = 2 * 3 * 20 * 4  # steps
SMALL = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--variant", "pearl"]
FEWSHOT = [
    *("--config.episode.way", "5", "--config.episode.queries", "3", "--config.width", "8", "--config.strided"),
    *("--config.tasks", "2"),
]


def train(path: Path, *more: object, iterations: int = 6) -> list[str]:
    place = ["--runs", path.parent, "--name", path.name, "--config.total-timesteps", iterations * ITERATION]
    return [str(word) for word in ["train", "maml", FAMILY, *place, *SMALL, *more]]


def send(number: int) -> None:
    """To this process, and see that it has arrived."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def stopped(arguments: list[str]) -> int:
    """The exit code of a command that a signal ends."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def at_iteration(when: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a signal in the middle of an iteration."""
    real = MAML.train_iteration

    def iterate(self: MAML) -> Any:
        if self.iteration == when:
            send(number)
        return real(self)

    monkeypatch.setattr(MAML, "train_iteration", iterate)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_at_the_end_of_the_iteration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    number = signal.Signals[name]
    before = [signal.getsignal(each) for each in signals.SIGNALS]
    words = train(tmp_path / "run", "--checkpoint-seconds", 1000)
    with monkeypatch.context() as patch:
        at_iteration(2, number, patch)
        assert stopped(words) == 128 + number
    said = capfd.readouterr().err
    assert f"{name}: saving after this iteration" in said
    assert f"Interrupted by {name}. Saved; continue with: metarl train maml {FAMILY}" in said
    assert said.rstrip().endswith("--checkpoint-seconds 1000 --resume")
    assert "Traceback" not in said
    run = Run.open(tmp_path / "run")
    assert run.about_training(0)["iteration"] == 3
    assert [signal.getsignal(each) for each in signals.SIGNALS] == before
    main([*words, "--resume"])
    main(train(tmp_path / "whole", "--checkpoint-seconds", 1000))
    one, other = (load_checkpoint(tmp_path / each / "seed-0/checkpoint.safetensors")[0] for each in ("run", "whole"))
    assert all(torch.equal(one[key], value) for key, value in other.items())


def test_a_signal_before_the_first_iteration_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = Run.new_model

    def make(self: Run, *more: Any) -> Any:
        send(signal.SIGTERM)
        return real(self, *more)

    monkeypatch.setattr(Run, "new_model", make)
    assert stopped(train(tmp_path / "run")) == 128 + signal.SIGTERM
    assert "Interrupted by SIGTERM. Nothing had been trained yet." in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_signal_while_a_command_only_computes_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.family.listing.families", lambda *_: send(signal.SIGTERM))
    assert stopped(["families"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "Interrupted by SIGTERM.\n"


@pytest.mark.parametrize("iterations", [6, 3000])
def test_a_fewshot_training_saves_with_the_next_row_of_its_log(
    iterations: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--runs", str(tmp_path), "--name", "run", "--config.iterations", str(iterations)]
    words = ["fewshot", "train", "prototypical", *FEWSHOT, *place, "--checkpoint-seconds", "1000"]
    real = FewShot.adam.fget
    assert real is not None

    def adam(self: FewShot) -> Any:
        if self.iteration == 4:
            send(signal.SIGTERM)
            monkeypatch.undo()
        return real(self)

    monkeypatch.setattr(FewShot, "adam", property(adam))
    assert stopped(words) == 128 + signal.SIGTERM
    assert "continue with: metarl fewshot train prototypical" in capfd.readouterr().err
    about = load_checkpoint(tmp_path / "run" / "seed-0" / "checkpoint.safetensors")[1]["fewshot"]
    # A row of the log is the mean of every third of 3000 iterations.
    assert about["iteration"] == {6: 4, 3000: 6}[iterations]


def test_what_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raising(), signals.deferring():
            send(signal.SIGHUP)
            assert signals.asked() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once() -> None:
    code = """
import os, signal, time
from metarl.experiments import signals
with signals.deferring():
    os.kill(os.getpid(), signal.SIGINT)
    assert signals.asked() == signal.SIGINT
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == -signal.SIGTERM
    assert done.stderr.strip() == "SIGINT: saving after this iteration; again to end at once."


def when(ready: Callable[[], bool], do: Callable[[], None]) -> threading.Thread:
    """Do something from a thread once it is time."""

    def wait() -> None:
        deadline = time.monotonic() + 240
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.01)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_seeds_side_by_side_save_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    words = train(path, "--seed", 0, 1, 2, "--jobs", 2, "--checkpoint-seconds", 1000, iterations=100_000)

    def as_a_terminal_does() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    both = [path / f"seed-{seed}" / "progress.csv" for seed in (0, 1)]
    thread = when(lambda: all(file.exists() and file.read_text().count("\n") > 2 for file in both), as_a_terminal_does)
    assert stopped(words) == 128 + signal.SIGINT
    thread.join()
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "Saved; continue with: metarl train maml" in said
    run = Run.open(path)
    for seed in (0, 1):
        assert run.about_training(seed)["iteration"] >= 2
        assert run.about_training(seed)["iteration"] == len(run.progress(seed).read_text().splitlines()) - 1
    assert not run.checkpoint(2).exists()


def test_seeds_that_only_begin_print_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    number = signal.SIGINT

    def as_a_terminal_does() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, number)
        os.kill(os.getpid(), number)

    thread = when(lambda: len(multiprocessing.active_children()) == 2, as_a_terminal_does)
    assert stopped(train(tmp_path / "run", "--seed", 0, 1, "--jobs", 2)) == 128 + number
    thread.join()
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "Nothing had been trained yet." in said
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_seeds_that_only_begin_end_with_a_killed_parent(tmp_path: Path) -> None:
    words = train(tmp_path / "run", "--seed", 0, 1, "--jobs", 2, "--json")
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-m", "metarl.cli.main", *words], stdout=said, stderr=said)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    started: list[int] = []
    while len(started) < 3:  # the two, and the helper of their semaphores
        assert process.poll() is None
        started = [int(pid) for pid in children.read_text().split()]
        time.sleep(0.01)
    time.sleep(0.5)  # for what they are begun with: cut off within it, Python itself would say so
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120
    while any(running(pid) for pid in started):
        assert time.monotonic() < deadline, "a child goes on without its parent"
        time.sleep(0.05)
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"run.json", "splits.json", ".lock"}
    with locked(tmp_path / "run"):  # the lock went with the process
        pass
    assert "Traceback" not in (tmp_path / "said").read_text()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
