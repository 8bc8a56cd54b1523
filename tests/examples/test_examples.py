"""The examples run as they stand, and are short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(file for file in (ROOT / "examples").iterdir() if file.suffix in (".py", ".sh"))
LONGEST = 60  # lines
NEEDED = {"optuna_search": ("optuna",), "seeds_by_submitit": ("submitit",)}  # packages that are no dependencies of ours
WORDS = {  # that an example is given
    "seeds_by_submitit": "rl2 metarl/GridNavi-v0 --seeds 0 --cluster local --config.tasks 2 --config.minibatches 1 "
    "--timesteps 120 --quiet"
}


def test_there_is_one_for_each_thing_that_people_bring() -> None:
    names = {"adapt_to_a_log", "evaluate_in_python", "family", "few_shot_learner", "memory", "own_backbone"}
    assert names <= {example.stem for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_it_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.suffix == ".py"], ids=lambda each: each.stem)
def test_it_runs(example: Path, tmp_path: Path) -> None:
    for package in NEEDED.get(example.stem, ()):
        pytest.importorskip(package, reason=f"{example.name} needs it")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(example), *WORDS.get(example.stem, "").split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it says nothing of what it did"
