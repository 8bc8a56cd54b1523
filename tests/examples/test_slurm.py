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


@pytest.mark.usefixtures("heard_signals")
def test_a_job_that_runs_out_of_time_saves_and_is_queued_again(tmp_path: Path, root: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs / "scontrol", f'echo "$@" > {tmp_path}/requeued')
    script(programs / "metarl", f'exec {root}/.venv/bin/metarl "$@"')
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    words = ["rl2", "metarl/GridNavi-v0", "--name", "job", "--runs", str(tmp_path), "--checkpoint-seconds", "0"]
    words += ["--config.tasks", "8", "--config.minibatches", "1", "--quiet"]

    def job(*more: str) -> subprocess.Popen[str]:
        command = ["bash", str(SCRIPT), *words, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **pipes)  # type: ignore[call-overload]

    first, checkpoint = job(), tmp_path / "job" / "seed-0" / "checkpoint.safetensors"
    until = time.monotonic() + 120
    while not checkpoint.exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 128 + signal.SIGTERM, said
    assert (tmp_path / "requeued").read_text() == "requeue 17\n"
    steps = load_checkpoint(checkpoint)[1]["num_timesteps"]
    assert steps > 0
    (tmp_path / "requeued").unlink()
    second = job("--timesteps", str(steps + 1))
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert load_checkpoint(checkpoint)[1]["num_timesteps"] > steps
    assert not (tmp_path / "requeued").exists()
