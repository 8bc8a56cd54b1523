"""VariBAD as an agent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from metarl.agents.rl2.agent import RL2
from metarl.agents.rl2.learner import FEATURES, RL2Learner
from metarl.agents.varibad.buffer import TrialBuffer
from metarl.agents.varibad.config import PRESETS, USES, VariBADConfig
from metarl.agents.varibad.elbo import BeliefTraining
from metarl.agents.varibad.learner import VariBADLearner
from metarl.agents.varibad.novelty import Novelty
from metarl.core.advantages import next_value_trial
from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.trajectory import Trajectory


class VariBAD(RL2):
    """VariBAD: a policy on a belief of the task, which a memory infers while it acts (Zintgraf et al. 2020).

    Presets: ``default``, our recipe for GridNavi and other small families; ``semicircle``.
    """

    name = "varibad"
    adapts_by = "memory and belief"
    config_class = VariBADConfig
    presets: ClassVar[Mapping[str, VariBADConfig]] = PRESETS
    uses: ClassVar[Mapping[str, tuple[str, float]]] = USES
    config: VariBADConfig
    learner_class = VariBADLearner
    learner: VariBADLearner

    def build_learner(self) -> RL2Learner:
        self._belief: BeliefTraining | None = None
        self._novelty: Novelty | None = None
        self._buffer = TrialBuffer(self.config.buffer)
        return super().build_learner()

    @property
    def belief(self) -> BeliefTraining:
        """Return what trains the belief, made when training begins."""
        if self._belief is None:
            self._belief = BeliefTraining(self.learner, self.params, self.generator("decoder"))
        return self._belief

    @property
    def novelty(self) -> Novelty | None:
        """Return what pays for novelty, made when training begins, or None where nothing does."""
        if self._novelty is None and self.config.novelty_coef:
            n_inputs = self.learner.n_context + self.learner.inputs.n_observation
            self._novelty = Novelty(n_inputs, self.generator("novelty"), self.device)
        return self._novelty

    def learned_from(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with rewards that PPO learns from, to which the novelty of where a step leads is added.

        Nothing is added in a trial's last step.
        """
        learned, novelty = super().learned_from(trajectory), self.novelty
        weight = self.config.novelty_coef * self.falling(self.config.novelty_until)
        if novelty is None or weight <= 0:
            return learned
        order = self.generator("novelty order", self.iteration)
        bonus = novelty.update(trajectory.record[FEATURES], trajectory.valid, order)
        return replace(learned, reward=learned.reward + weight * next_value_trial(bonus, trajectory.valid))

    def update(self, trajectory: Trajectory, generator: torch.Generator) -> dict[str, float]:
        """Train the policy on the beliefs that the trials were collected with, and only then the beliefs."""
        logged = super().update(trajectory, generator)
        self._buffer.add(trajectory)
        parts: dict[str, Tensor] = {}
        for _ in range(self.config.vae_updates):
            part = self._buffer.sample(self.config.vae_tasks, generator)
            self.params, parts = self.belief.update(self.params, part, self.progress, generator, self.parallel)
        return logged | {name: float(value) for name, value in parts.items()}

    def training_state(self) -> dict[str, Tensor]:
        parts = {"belief": self.belief.state_dict(), "buffer": self._buffer.state_dict()}
        if self.novelty is not None:
            parts["novelty"] = self.novelty.state_dict()
        saved = [prefixed(name, part) for name, part in parts.items()]
        return super().training_state() | {name: value for part in saved for name, value in part.items()}

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        super().load_training_state(saved)
        self._belief = None
        self.belief.load_state_dict(with_prefix("belief", saved))
        self._novelty = None
        if self.novelty is not None:
            self.novelty.load_state_dict(with_prefix("novelty", saved))
        buffer = with_prefix("buffer", saved)
        self._buffer.load_state_dict({name: value.to(self.device) for name, value in buffer.items()})
