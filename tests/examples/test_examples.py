"""The examples run as they stand, and are short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 60  # lines


def test_there_is_one_for_each_thing_that_people_bring() -> None:
    names = {"adapt_to_a_log", "evaluate_in_python", "family", "few_shot_learner", "memory", "own_backbone"}
    assert names <= {example.stem for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_it_is_short_and_runs(example: Path, tmp_path: Path) -> None:
    assert len(example.read_text().splitlines()) <= LONGEST
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(example)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it says nothing of what it did"
