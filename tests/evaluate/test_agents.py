"""Evaluating a run folder: which tasks are scored, and when a saved evaluation is still good."""

import json
from pathlib import Path

import numpy as np
import pytest

from metarl.agents.baselines.finetune import FineTuneConfig
from metarl.cli.main import main
from metarl.core.checked_json import seal
from metarl.core.errors import MetaRLError
from metarl.evaluation.agent import held_out
from metarl.evaluation.outcome import evaluate_run, save_outcome, saved_or_new_outcome
from metarl.evaluation.scores import Evaluation
from metarl.experiments.run import Run
from metarl.experiments.run_folder import UnfinishedRun
from metarl.experiments.training import train_run
from metarl.family import make_family

CONFIG = FineTuneConfig(
    total_timesteps=100, tasks=1, episodes=2, hidden=(4,), step_sizes=(0.1,), choice_tasks=1, choice_points=2
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run", "finetune", "metarl/PointNavigation-v0", "pearl", CONFIG, [0])
    train_run(made)
    return made


@pytest.mark.parametrize(
    ("variant", "split", "n"), [("pearl", "test", 7), ("pearl", "ood", 3), ("promp", "test", 2), ("maml", "ood", 5)]
)
def test_fewer_tasks_are_the_first_of_the_part(variant: str, split: str, n: int) -> None:
    family = make_family("metarl/PointNavigation-v0", variant)
    np.testing.assert_array_equal(held_out(family, split, n).vector, family.splits.part(split).vector[:n])


def test_only_a_fresh_split_has_more_tasks_than_it_declares() -> None:
    fresh = make_family("metarl/PointNavigation-v0", "maml")
    assert len(held_out(fresh, "test", 150)) == 150
    # More test tasks of a finite set would be tasks that were trained on.
    with pytest.raises(MetaRLError, match=r"--tasks 50: the test part .* has 20 tasks"):
        held_out(make_family("metarl/PointNavigation-v0", "pearl"), "test", 50)


def test_a_saved_evaluation_serves_only_if_it_is_whole(run: Run) -> None:
    part = evaluate_run(run, "test", 5, 2)
    save_outcome(run, part)
    whole = saved_or_new_outcome(run)[0]
    assert (len(whole.task_vectors), len(whole.episodes)) == (20, 4)
    saved = run.path / "evaluation-test.json"
    written = saved.stat().st_mtime_ns
    assert saved_or_new_outcome(run)[0].to_json() == whole.to_json()
    assert saved.stat().st_mtime_ns == written


def test_a_run_is_scored_on_validation_tasks(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(run.path), "--split", "val", "--points", "1", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert (content["split"], content["tasks"]) == ("val (disjoint)", 20)
    saved = Evaluation.load(run.path / "evaluation-val.json")
    np.testing.assert_array_equal(saved.task_vectors, run.family().splits.part("val").vector)
    with pytest.raises(MetaRLError, match="held-out tasks; choose --split val, test or ood"):
        evaluate_run(run, "train")


def test_a_run_from_before_there_were_validation_tasks_goes_on(run: Run) -> None:
    saved = json.loads((run.path / "splits.json").read_text())
    (run.path / "splits.json").write_text(json.dumps({k: v for k, v in saved.items() if not k.startswith("val")}))
    assert evaluate_run(run, "val", 2, 1).evaluation.split_label == "val (disjoint)"


def test_a_saved_evaluation_on_other_streams_is_refused(run: Run) -> None:
    save_outcome(run, evaluate_run(run, "test", 3, 2))
    file = run.path / "evaluation-test.json"
    content = json.loads(file.read_text())
    del content["streams"], content["exact_optimum"], content["sha256"]
    file.write_text(seal(json.dumps(content)))
    with pytest.raises(MetaRLError, match=r"evaluation-test\.json: .* other random streams; evaluate the run again"):
        saved_or_new_outcome(run)[0]


def test_an_unfinished_run_says_so(run: Run) -> None:
    agent = run.trained(0)
    agent.num_timesteps = 40
    agent.save(run.checkpoint(0))
    with pytest.warns(UnfinishedRun, match=r"Seed 0 .* has 40 of its 100 steps"):
        evaluate_run(run, "test", 2, 1)
