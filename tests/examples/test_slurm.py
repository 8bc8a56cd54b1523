"""The SLURM script: a signal before the time limit leads to a checkpoint, a requeued job, and exit code 143."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from metarl.core.checkpoint import load_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "slurm.sh"


def script(path: Path, words: str) -> None:
    path.write_text(f"#!/bin/bash\n{words}\n")
    path.chmod(0o755)


def steps(checkpoint: Path) -> int:
    return int(load_checkpoint(checkpoint)[1]["num_timesteps"]) if checkpoint.exists() else 0


@pytest.mark.usefixtures("heard_signals")
def test_a_job_that_runs_out_of_time_saves_and_is_queued_again(tmp_path: Path, root: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs / "scontrol", f'echo "$@" > {tmp_path}/requeued')
    script(programs / "metarl", f'exec {root}/.venv/bin/metarl "$@"')
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    words = ["rl2", "metarl/GridNavi-v0", "--name", "job", "--runs", str(tmp_path), "--checkpoint-seconds", "0"]
    words += ["--config.tasks", "8", "--config.minibatches", "1", "--quiet"]

    def job() -> subprocess.Popen[str]:
        command = ["bash", str(SCRIPT), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **pipes)  # type: ignore[call-overload]

    checkpoint, trained = tmp_path / "job" / "seed-0" / "checkpoint.safetensors", 0
    for _ in range(2):  # the second time it goes on
        running, until = job(), time.monotonic() + 120
        while steps(checkpoint) <= trained and running.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=120)
        assert running.returncode == 128 + signal.SIGTERM, said
        assert (tmp_path / "requeued").read_text() == "requeue 17\n"
        (tmp_path / "requeued").unlink()
        assert steps(checkpoint) > trained
        trained = steps(checkpoint)
    script(programs / "metarl", "exit 3")
    failed = job()
    failed.communicate(timeout=120)
    assert failed.returncode == 3
    assert not (tmp_path / "requeued").exists()  # what failed would only fail again
