"""What reading a folder through the public API gives: numbers that damage must not change in silence."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campaign.compare import log_rows, without_clock
from campaign.stage import EPISODES, SETTING, Stage
from metarl.agents.rl2.agent import RL2
from metarl.core.checkpoint import load_checkpoint
from metarl.evaluation import fewshot
from metarl.evaluation.outcome import evaluate_run, saved_or_new_outcome
from metarl.evaluation.published import open_fewshot_run, open_run
from metarl.evaluation.scores import Evaluation
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.fewshot.model import FewShot
from results.files import load_results

Numbers = Any  # JSON


def load(path: Path) -> Numbers:
    """The agent of a checkpoint alone."""
    return _agent(RL2.load(path / "seed-0" / "checkpoint.safetensors"))


def trained(path: Path) -> Numbers:
    """All agents of a run."""
    run = Run.open(path)
    return [_agent(run.trained(seed)) for seed in run.seeds]


def evaluate(path: Path) -> Numbers:
    """A run's score."""
    return _evaluation(evaluate_run(Run.open(path), n_tasks=2, points=2, deterministic=False).evaluation)


def compare(path: Path) -> Numbers:
    """A run's evaluation, saved before or made anew."""
    return _evaluation(saved_or_new_outcome(Run.open(path))[0])


def resume(path: Path, stage: Stage) -> Numbers:
    """What a run that was half done ends with."""
    stage.agents["half"].train(path)
    return _ended(path)


def load_learner(path: Path) -> Numbers:
    """The few-shot learner of a checkpoint alone."""
    return _learner(FewShot.load(path / "seed-0" / "checkpoint.safetensors"))


def trained_learner(path: Path) -> Numbers:
    """All learners of a run."""
    run = FewShotRun.open(path)
    return [run.dataset_name, [_learner(run.trained(seed)) for seed in run.seeds]]


def score_learner(path: Path) -> Numbers:
    """A few-shot run's score; what adapting costs is measured, and so another every time."""
    made = fewshot.evaluate_fewshot_run(FewShotRun.open(path), SETTING, EPISODES)
    return _scores(made, measured=False)


def compare_learner(path: Path) -> Numbers:
    """A few-shot run's evaluation, saved before or made anew."""
    run = FewShotRun.open(path)
    file = fewshot.evaluation_file(run.path, SETTING, "test", False)
    before = file.read_bytes() if file.is_file() else b""
    made = fewshot.saved_or_new_evaluation(run, SETTING, EPISODES, "test", "cpu", transductive=False)
    return _scores(made, measured=file.read_bytes() == before)


def resume_learner(path: Path, stage: Stage) -> Numbers:
    """What a few-shot run that was half done ends with."""
    stage.learners["shot-half"].train(path)
    return _ended(path)


def results(path: Path) -> Numbers:
    """All that tables are made of."""
    return [
        [
            each.name,
            each.summary,
            sorted((*key, sorted(map(repr, point.items()))) for key, point in each.points.items()),
        ]
        for each in load_results(path)
    ]


def published(path: Path) -> Numbers:
    """The agents of a result's weights."""
    (folder,) = path.glob("*/*")
    run = open_run(folder)
    return [run.family_name, run.variant, [_agent(run.trained(seed)) for seed in run.seeds]]


def published_learner(path: Path) -> Numbers:
    """The few-shot learners of a result's weights."""
    (folder,) = path.glob("fewshot/*/*")
    run = open_fewshot_run(folder)
    return [run.dataset_name, [_learner(run.trained(seed)) for seed in run.seeds]]


def _agent(made: Any) -> Numbers:
    tensors = {**made.params, **{f"training.{k}": v for k, v in made.training_state().items()}}
    return [made.seed, made.num_timesteps, made.iteration, made.wall_seconds, asdict(made.config), _digest(tensors)]


def _learner(made: FewShot) -> Numbers:
    tensors = {**made.params, **{f"training.{k}": v for k, v in made.adam.state_dict().items()}}
    return [made.seed, made.iteration, made.wall_seconds, asdict(made.config), asdict(made.kind), _digest(tensors)]


def _evaluation(made: Evaluation) -> Numbers:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def _scores(made: fewshot.FewShotEvaluation, measured: bool) -> Numbers:
    content = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return {k: v for k, v in content.items() if measured or k not in ("adapt_seconds", "adapt_bytes")}


def _ended(path: Path) -> Numbers:
    found = []
    for folder in sorted(path.glob("seed-*")):
        tensors, about = load_checkpoint(folder / "checkpoint.safetensors")
        found.append([folder.name, _digest(tensors), without_clock(about), log_rows(folder / "progress.csv")])
    return found


def _digest(tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def as_text(numbers: Numbers) -> str:
    """Numbers as text that is the same where they are, to the last bit."""
    return json.dumps(
        numbers, sort_keys=True, default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value)
    )
