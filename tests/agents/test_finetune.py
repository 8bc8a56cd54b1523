"""Fine-tuning: multi-task training without adaptation, and a step size chosen on training tasks only."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from metarl.agents.baselines import FineTune, finetune
from metarl.agents.baselines.finetune import FineTuneConfig
from metarl.envs.navigation import PointNavigation
from metarl.evaluation.driver import Curve, adaptation_curve
from metarl.tasks import Tasks

Learns = Callable[..., None]
CONFIG = FineTuneConfig(tasks=4, episodes=5, hidden=(8,), choice_tasks=6, choice_points=3, total_timesteps=1000)


class ShortNavigation(PointNavigation):
    """Point navigation of few steps, its goals a finite set cut in two."""

    horizon = 20


def disjoint() -> ShortNavigation:
    family = ShortNavigation("pearl")
    assert family.splits.kind == "disjoint"
    return family


def chosen(agent: FineTune) -> float:
    sizes = {
        float(value) for name, each in agent.params.items() if name.startswith("step_size.") for value in each.unique()
    }
    assert len(sizes) == 1, "one size for every parameter"
    return sizes.pop()


class Recorder:
    """Stands in for the evaluation driver; remembers its tasks, and says what each size earns."""

    def __init__(self, scores: dict[float, list[float]] | None = None) -> None:
        self.scores, self.tasks, self.arguments = scores, list[Tasks](), list[dict[str, Any]]()

    def __call__(self, learner: Any, params: Any, family: Any, tasks: Tasks, **arguments: Any) -> Curve:
        self.tasks.append(tasks)
        self.arguments.append(arguments)
        if self.scores is None:
            return adaptation_curve(learner, params, family, tasks, **arguments)
        size = float(params["step_size.policy.log_std"].flatten()[0])
        known = next(score for key, score in self.scores.items() if abs(key - size) < 1e-6)
        return Curve(
            episodes=(),
            adaptations=(),
            returns=np.array(known)[:, None],
            deterministic=None,
            trajectories=(),
            states=(),
        )


def test_the_size_is_chosen_on_training_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(finetune, "adaptation_curve", recorder)
    agent = FineTune(disjoint(), CONFIG).learn()
    splits = agent.family.splits
    assert splits.train_set is not None
    train, test = set(splits.train_set.rows()), set(splits.test.rows())
    assert len(recorder.tasks) == len(CONFIG.step_sizes)
    for tasks in recorder.tasks:
        assert len(tasks) == CONFIG.choice_tasks
        assert set(tasks.rows()) <= train
        assert not set(tasks.rows()) & test
        assert tasks == recorder.tasks[0]


@pytest.mark.parametrize("best", CONFIG.step_sizes)
def test_the_size_that_adapts_best_is_kept(best: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # What was earned before any adaptation must not count.
    scores = {size: [0.0, -5.0, 1.0] if size == best else [100.0, -5.0, -size] for size in CONFIG.step_sizes}
    monkeypatch.setattr(finetune, "adaptation_curve", Recorder(scores))
    agent = FineTune(disjoint(), CONFIG)
    agent.after_training()
    assert chosen(agent) == pytest.approx(best)


def test_the_choice_is_the_best_of_scores_on_the_same_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(finetune, "adaptation_curve", recorder)
    agent = FineTune(ShortNavigation(), CONFIG).learn()
    assert all(arguments == recorder.arguments[0] for arguments in recorder.arguments)
    tasks, arguments = recorder.tasks[0], recorder.arguments[0]
    earned = {}
    for size in CONFIG.step_sizes:
        params = {
            name: torch.full_like(v, size) if name.startswith("step_size.") else v for name, v in agent.params.items()
        }
        earned[size] = adaptation_curve(agent.learner, params, agent.family, tasks, **arguments).returns[1:].mean()
    assert chosen(agent) == pytest.approx(max(earned, key=lambda size: float(earned[size])))
    assert len(set(earned.values())) == len(earned)


def test_training_adapts_to_nothing() -> None:
    agent = FineTune(ShortNavigation(), CONFIG)
    steps, metrics = agent.train_iteration()
    # One rollout of every task, where MAML has one for each inner step more.
    assert steps <= CONFIG.tasks * CONFIG.episodes * ShortNavigation.horizon
    assert [name for name in metrics if name.startswith("rollout/")] == ["rollout/return_step_0"]


def test_multi_task_training_and_fine_tuning_improve_the_return(learns: Learns) -> None:
    config = replace(CONFIG, tasks=16, episodes=10, hidden=(32,), learning_rate=1e-2, total_timesteps=100_000)

    def score(seed: int) -> dict[str, float]:
        agent = FineTune(ShortNavigation(), config, seed=seed)
        first = curve(agent)[0]
        trained = curve(agent.learn())
        # One size serves every step, and is halved after the first.
        return {"trained": trained[0] - first, "fine-tuned": trained[-1] - trained[0]}

    learns(score, above={"trained": 0.5, "fine-tuned": 0.3})


def curve(agent: FineTune) -> list[float]:
    found = adaptation_curve(
        agent.learner, agent.params, agent.family, agent.family.splits.test, points=4, n_envs=agent.n_envs
    )
    return [float(value) for value in found.returns.mean(1)]


def test_its_label_and_config() -> None:
    assert FineTune.label(FineTuneConfig()) == "finetune"
    assert CONFIG.inner_steps == 0
    assert not CONFIG.learn_step_sizes
