"""Processes that are started together end together, and the first of them, or who started it, says why."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.experiments.launching import launch
from metarl.experiments.signals import Interrupted
from metarl.experiments.team import joined

pytestmark = pytest.mark.usefixtures("heard_signals")

FAMILY = "metarl/PointNavigation-v0"
SIZES = ["--config.tasks", "4", "--config.episodes", "2", "--config.hidden", "4", "--config.inner-steps", "1"]
ITERATION = 4 * 2 * 20 * 2  # steps


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``instead(words)``: have the processes do these words of a shell rather than train."""

    def change(words: str) -> None:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/bash\n{words}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return change


def within(seconds: float, work: Callable[[], Any]) -> Any:
    begun = time.monotonic()
    try:
        return work()
    finally:
        assert time.monotonic() - begun < seconds


def test_all_do_their_work(instead: Callable[[str], None], tmp_path: Path) -> None:
    instead(f'echo "$RANK $LOCAL_RANK $WORLD_SIZE $3 $4" > {tmp_path}/of-$RANK')
    launch(["train", "maml"], 3)
    assert [(tmp_path / f"of-{i}").read_text() for i in range(3)] == [f"{i} {i} 3 train maml\n" for i in range(3)]


def test_one_that_is_killed_ends_all(instead: Callable[[str], None]) -> None:
    instead("if [ $RANK = 1 ]; then kill -9 $$; fi; exec sleep 100")
    with pytest.raises(MetaRLError, match=r"^Process 1 was ended by SIGKILL\. Continue with --resume\.$"):
        within(10, lambda: launch([], 3))


def test_the_first_one_speaks_for_itself(instead: Callable[[str], None]) -> None:
    instead("if [ $RANK = 0 ]; then exit 2; fi; exec sleep 100")
    with pytest.raises(SystemExit) as stop:
        within(10, lambda: launch([], 2))
    assert stop.value.code == 2


def test_a_signal_reaches_all_and_they_may_save(instead: Callable[[str], None], tmp_path: Path) -> None:
    # The others are gone at once, and the first one takes longer than they would be given after a failure.
    words = f"if [ $RANK = 0 ]; then sleep 7; touch {tmp_path}/saved; fi; exit 143"
    instead(f"trap '{words}' TERM; touch {tmp_path}/ready-$RANK; while true; do sleep 0.1; done")

    def send() -> None:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send).start()
    with pytest.raises(SystemExit) as stop:
        launch([], 2)
    assert stop.value.code == 143
    assert (tmp_path / "saved").exists()


def test_a_second_signal_ends_all_at_once(instead: Callable[[str], None], tmp_path: Path) -> None:
    instead(f"trap '' TERM; touch {tmp_path}/ready-$RANK; while true; do sleep 0.1; done")

    def send() -> None:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.05)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted):
        within(30, lambda: launch([], 2))


@contextmanager
def place(monkeypatch: pytest.MonkeyPatch, **told: object) -> Iterator[None]:
    """What torchrun would tell this process."""
    with monkeypatch.context() as patch:
        for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", **told}.items():
            patch.setenv(name, str(value))
        yield


def test_a_rendezvous_that_nobody_joins(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    with place(monkeypatch, MASTER_PORT=free_port), pytest.raises(MetaRLError, match=r"within 1 seconds .*start"):
        within(30, lambda: joined({}, "cpu", 1.0).__enter__())


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("mine", "theirs", "device", "words"),
    [
        ("1", "2", "cpu", "Process 1 has metarl '2', and process 0 '1'; give all the same"),
        ("1", "1", "cuda:0", "here cuda:0 is taken by two processes"),
    ],
)
def test_processes_that_are_to_do_other_things(mine: str, theirs: str, device: str, words: str) -> None:
    """Two of them as two threads, which tell each other who they are."""
    from torch.distributed import HashStore

    from metarl.experiments.team import _introduce

    store, failures = HashStore(), list[Exception]()

    def other() -> None:
        try:
            _introduce(store, 1, 2, {"metarl": theirs, "tasks": 4}, f"here {device}", 0.5)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(MetaRLError, match=words):
        _introduce(store, 0, 2, {"metarl": mine, "tasks": 4}, f"here {device}", 3.0)
    thread.join()
    assert len(failures) == 1  # it was not welcomed


def train(path: Path, *more: object, iterations: int = 4) -> list[str]:
    words = ["train", "maml", FAMILY, "--runs", path.parent, "--name", path.name, "--variant", "pearl"]
    words += ["--config.total-timesteps", iterations * ITERATION, "--checkpoint-seconds", 0, *SIZES, *more]
    return [str(word) for word in words]


def parameters(path: Path) -> dict[str, bytes]:
    tensors, _ = load_checkpoint(path / "seed-0" / "checkpoint.safetensors")
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


def test_blocks_are_the_runs_and_decide_whether_it_may_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(train(tmp_path / "plain", iterations=1))
    scheduled = ["--config.schedule-timesteps", 4 * ITERATION]  # whatever the length
    main(train(tmp_path / "blocks", "--blocks", "4", *scheduled, iterations=1))
    capsys.readouterr()
    for name, more, words in (
        ("plain", ["--blocks", "8"], "was made in one process"),
        ("blocks", ["--blocks", "8", *scheduled], "was made with --blocks 4"),
    ):
        with pytest.raises(SystemExit):
            main(train(tmp_path / name, "--resume", *more, iterations=1))
        assert words in capsys.readouterr().err
    main(train(tmp_path / "blocks", "--resume", "--timesteps", 2 * ITERATION, *scheduled, iterations=1))
    main(train(tmp_path / "whole", "--blocks", "4", *scheduled, iterations=2))
    assert parameters(tmp_path / "blocks") == parameters(tmp_path / "whole")


def test_an_agent_of_stable_baselines_has_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "multitask", FAMILY, "--runs", str(tmp_path), "--blocks", "2"])
    assert "The agent multitask is trained in one process" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def started(words: list[str], root: Path, program: tuple[str, ...] = ("-m", "metarl")) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *program, *words], cwd=root, **pipes)


def children(parent: int) -> list[int]:
    """The processes that a process has started, in their order."""
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_the_run_goes_on_to_the_same_numbers(
    rank: int, tmp_path: Path, root: Path
) -> None:
    main(train(tmp_path / "whole", "--blocks", "8", iterations=40))
    for processes in (2, 3):  # which resumes with another number of processes
        running = started(train(tmp_path / "killed", "--processes", processes, "--resume", iterations=40), root)
        checkpoint = tmp_path / "killed" / "seed-0" / "checkpoint.safetensors"
        until, before = time.monotonic() + 1500, checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while time.monotonic() < until and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.05)
        os.kill(children(running.pid)[rank], signal.SIGKILL)
        _, said = running.communicate(timeout=120)  # its own end counts too, which takes long on a busy machine
        assert running.returncode == 2
        assert f"Process {rank} was ended by SIGKILL. Continue with --resume.\n" in said
        assert "Traceback" not in said
    main(train(tmp_path / "killed", "--resume", iterations=40))
    assert parameters(tmp_path / "killed") == parameters(tmp_path / "whole")


@pytest.mark.slow
def test_two_agents_of_torchrun_are_two_machines(tmp_path: Path, root: Path, free_port: int) -> None:
    main(train(tmp_path / "alone", "--blocks", "8"))
    ways = (
        "--nnodes=2",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-id=1",
        f"--rdzv-endpoint=127.0.0.1:{free_port}",
    )
    program = ("-m", "torch.distributed.run", *ways, "-m", "metarl")
    both = [started(train(tmp_path / "both"), root, program) for _ in range(2)]
    said = [each.communicate(timeout=1500) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert sum("Trained " in out for out, _ in said) == 1  # the first process speaks for all
    assert parameters(tmp_path / "both") == parameters(tmp_path / "alone")


@pytest.mark.slow
def test_torchrun_starts_a_killed_training_anew_from_its_checkpoint(tmp_path: Path, root: Path) -> None:
    main(train(tmp_path / "whole", "--blocks", "8", iterations=40))
    program = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "metarl")
    running = started(train(tmp_path / "killed", iterations=40), root, program)
    checkpoint = tmp_path / "killed" / "seed-0" / "checkpoint.safetensors"
    until = time.monotonic() + 1500
    while time.monotonic() < until and not checkpoint.exists():
        time.sleep(0.05)
    os.kill(children(running.pid)[-1], signal.SIGKILL)
    _, said = running.communicate(timeout=1500)
    assert running.returncode == 0, said
    assert "Traceback" not in said
    assert parameters(tmp_path / "killed") == parameters(tmp_path / "whole")
