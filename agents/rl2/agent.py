"""The agent RL²."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from metarl.agents.rl2.config import PRESETS, USES, RL2Config
from metarl.agents.rl2.learner import LOG_STD, RL2Learner
from metarl.agents.rl2.ppo import TrialPPO
from metarl.algorithm.algorithm import Algorithm
from metarl.core.optimiser import linear_decay
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params
from metarl.rollout.batch import Batch
from metarl.rollout.blocks import in_blocks
from metarl.rollout.rollout import rollout

_FEW = 10  # episodes of a trial whose returns are logged one by one


class RL2(Algorithm):
    """Trains a policy whose memory lives through the episodes of a trial: RL² (Duan et al. 2016).

    A subclass with another learner or another loss names it in ``learner_class`` or ``outer_class``. Presets:
    ``default``, our recipe for GridNavi and other small families; ``bandit``, ``bandit-wide``, ``bandit-10``,
    ``tabular``, ``control`` and ``locomotion``.
    """

    name = "rl2"
    adapts_by = "memory"
    in_blocks = True
    config_class = RL2Config
    presets: ClassVar[Mapping[str, RL2Config]] = PRESETS
    uses: ClassVar[Mapping[str, tuple[str, float]]] = USES
    config: RL2Config
    learner_class: ClassVar[type[RL2Learner]] = RL2Learner
    outer_class: ClassVar[type[TrialPPO]] = TrialPPO
    learner: RL2Learner

    def build_learner(self) -> RL2Learner:
        steps = self.episodes * self.family.horizon
        return self.learner_class(self.family.observation_space, self.family.action_space, self.config, steps)

    def init_params(self, generator: torch.Generator) -> Params:
        return self.learner.init(generator)

    @property
    def episodes(self) -> int:
        """Episodes of a trial."""
        return self.config.episodes or self.family.episodes_per_trial

    @property
    def evaluation_points(self) -> int:
        return self.episodes

    @cached_property
    def outer(self) -> TrialPPO:
        """The outer loop's optimiser, made when training begins."""
        return self.outer_class(self.learner, self.params)

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        trajectory = self.collect()
        logged = self.update(trajectory, self.generator("order", self.iteration))
        # After the update, whose likelihood ratios are those of the parameters that collected.
        self.params = self.learner.update_statistics(self.params, trajectory)
        metrics = _returns(trajectory) | {f"train/{name}": value for name, value in logged.items()}
        if LOG_STD in self.params:
            metrics["train/std"] = float(self.params[LOG_STD].exp().mean())
        return trajectory.environment_steps, metrics

    def update(self, trajectory: Trajectory, generator: torch.Generator) -> dict[str, float]:
        """Train ``self.params`` on trials collected with them, and return what to log."""
        learned = self.learned_from(trajectory)
        self.params, logged = self.outer.update(self.params, learned, self.progress, generator, self.parallel)
        return logged

    def learned_from(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with the rewards that PPO learns from: a curriculum from the dense one to the own."""
        weight = self.falling(self.config.dense_until)
        if self.config.dense_reward is None or weight <= 0:
            return trajectory
        dense = trajectory.extra(self.config.dense_reward, self.family.name)
        return replace(trajectory, reward=torch.lerp(trajectory.reward, dense, weight))

    def falling(self, until: float) -> float:
        """Return a weight that falls linearly from 1 to 0 at a share of the training, and is 0 from there on."""
        return linear_decay(1.0, 0.0, self.progress / until) if until else 0.0

    def collect(self) -> Trajectory:
        """Collect whole trials of new training tasks, with their log-probabilities and values."""
        return in_blocks(self.parallel, self.config.tasks, lambda rows: [self._collect(rows)])[0]

    def _collect(self, rows: slice) -> Trajectory:
        """Collect the trials of some of an iteration's tasks."""
        trials, _ = rollout(
            self.learner,
            self.params,
            self.learner.initial(self.params, rows.stop - rows.start),
            self.training_batch(rows),
            n_envs=1,
            episodes=self.episodes,
            context=self.rollouts,
        )
        return self.learner.with_log_probs_and_values(self.params, trials)

    def training_batch(self, rows: slice = slice(None)) -> Batch:
        """Make environments with the training tasks of this iteration, or some of them."""
        n = self.config.tasks
        tasks = self.family.splits.train(stream_keys(n, self.seed, "task", self.iteration))
        return self.family.batch(tasks[rows], stream_keys(n, self.seed, "train", self.iteration)[rows], self.device)

    def training_state(self) -> dict[str, Tensor]:
        return self.outer.state_dict()

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        vars(self).pop("outer", None)  # its parameters are those before the load
        self.outer.load_state_dict(saved)


def _returns(trajectory: Trajectory) -> dict[str, float]:
    """Return the mean return of each episode, or of the first and the last where there are many, and of the trial."""
    by_episode = trajectory.returns.mean((0, 1)).tolist()
    if len(by_episode) == 1:
        return {"rollout/return": by_episode[0]}
    if len(by_episode) <= _FEW:
        named = {f"episode_{i}": value for i, value in enumerate(by_episode, 1)}
    else:
        named = {"first": by_episode[0], "last": by_episode[-1]}
    return {f"rollout/return_{name}": value for name, value in {**named, "trial": sum(by_episode)}.items()}
