"""Sound folders to be damaged: runs of an agent and of a few-shot learner, whole and half done, and their results."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from campaign.calls import trapped
from campaign.children import forked
from campaign.trainees import POINTS, Trainee, agent, learner
from campaign.trap import Trap
from metarl.agents.rl2.config import RL2Config
from metarl.evaluation.fewshot_saved import saved_or_new_evaluation
from metarl.evaluation.outcome import evaluate_run, save_outcome
from metarl.evaluation.sums import record_sums
from metarl.evaluation.weights import save_weights
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.registry import preset_config
from results.files import write_result
from results.publishing import write_fewshot_result
from results.summaries import figure, summary

SETTING, EPISODES = EpisodeSpec(5, 1, 2), 4
_FACTS = {"command": "campaign", "machine": "campaign", "tuned_on": "val"}
_RL2 = RL2Config(
    tasks=4, episodes=2, width=4, embedding=4, head=(4,), epochs=1, minibatches=2, total_timesteps=6 * 4 * 2 * 20
)
_SHOT = replace(preset_config("maml"), iterations=6, tasks=2, episode=SETTING, width=4)


class Stage:
    """Folders below ``path``, and how each was made. ``half`` runs were killed just after a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.agents = {
            "run": agent("run", "rl2", POINTS, "pearl", _RL2, (0, 1)),
            "other": agent("other", "rl2", POINTS, "pearl", replace(_RL2, gamma=0.9), (1, 2)),
            "half": agent("half", "rl2", POINTS, "pearl", _RL2),
            "half-other": agent("half-other", "rl2", POINTS, "pearl", _RL2, (1,)),
        }
        other = replace(_SHOT, learning_rate=1e-3)
        self.learners = {
            "shot": learner("maml", _SHOT, "strokes", (0, 1)),
            "shot-other": learner("maml", other, "strokes", (1, 2)),
            "shot-half": learner("maml", _SHOT, "strokes"),
            "shot-half-other": learner("maml", _SHOT, "strokes", (1,)),
        }
        for name, trainee in {**self.agents, **self.learners}.items():
            if "half" in name:
                _half(trainee, path / name)
            else:
                trainee.train(path / name)
        # An evaluation counts as a run's own where it is younger than the checkpoints.
        time.sleep(0.05)
        for name in ("run", "other"):
            _evaluated(Run.open(path / name), path / f"results-{name}")
        for name in ("shot", "shot-other"):
            _scored(FewShotRun.open(path / name), path / f"results-{name}")

    def copy(self, name: str, target: Path) -> None:
        """One of the folders, with its times."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.path / name, target)


def _half(trainee: Trainee, path: Path) -> None:
    """Kill the training in its middle, where a checkpoint is whole and a log has a row more."""
    names = forked(lambda: trapped(lambda: trainee.train(path), Trap(path))).value
    saved = [i for i, name in enumerate(names) if name == "replace"]
    shutil.rmtree(path)
    forked(lambda: trapped(lambda: trainee.train(path), Trap(path, saved[-3] + 4, "after")))


def _evaluated(run: Run, results: Path) -> None:
    outcome = evaluate_run(run)
    save_outcome(run, outcome)
    targets: list[dict[str, Any]] = [
        {"name": "return episode 1", "target": ">= -1000", "basis": "campaign"},
        {"name": "normalised", "published": 0.7},
    ]
    figures = [figure(outcome.evaluation, **each) for each in targets]
    content = summary(outcome.evaluation, version="0", figures=figures, **_FACTS)
    folder = write_result(results, outcome.evaluation, content, {"width": 4})
    save_weights(folder, run)
    record_sums(results, folder)


def _scored(run: FewShotRun, results: Path) -> None:
    made = saved_or_new_evaluation(run, SETTING, EPISODES, "test", "cpu", transductive=False)
    target = {"name": "5w1s", "target": ">= 90", "basis": "campaign"}
    write_fewshot_result(results, run, [made], [target], **_FACTS)
