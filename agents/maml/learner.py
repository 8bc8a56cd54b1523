"""The learner of MAML-RL: a policy that adapts by policy-gradient steps on its own trajectories."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.surrogates import SURROGATES
from metarl.core.actions import ActionLayout
from metarl.core.advantages import (
    discounted_returns,
    generalised_advantage,
    linear_baseline,
    next_value_finite_horizon,
    normalised_advantage,
)
from metarl.core.baseline import SharedBaseline
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.encoders import ObservationEncoder
from metarl.core.learner import MetaLearner
from metarl.core.networks import MLP
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params, State

POLICY = "policy."
LOG_STD = "policy.log_std"
SHIFT = "std_shift"


class MAMLLearner(MetaLearner):
    """A policy that adapts by gradient steps (MAML-RL; Finn et al. 2017, section 4.2; Rothfuss et al. 2019).

    The state is the adapted parameters, stacked over tasks. ``params``: the policy's initial parameters ``policy.*``,
    and where they are learned, step sizes ``step_size.policy.*`` (Li et al. 2017) and ``std_shift`` ``(steps,
    action)``, which is added to log std at each step.
    """

    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], config: MAMLConfig
    ) -> None:
        self.config = config
        self.actions = ActionLayout(action_space)
        self.encoder = ObservationEncoder(observation_space, config.encoder, POLICY + "encoder.")
        self.network = MLP(
            (self.encoder.n_features, *config.hidden, self.actions.size), config.activation, config.output_gain
        )
        self.action_noise = self.actions.noise
        # On images a baseline knows the time alone.
        self.baseline = SharedBaseline(0 if self.encoder.is_image else self.encoder.n_numbers)
        self.inner = InnerLoop(
            steps=max(config.inner_steps, 1),
            step_size=config.inner_lr,
            first_order=config.first_order,
            prefix=POLICY,
            halve_beyond=config.inner_steps > 0,
        )

    def init(self, generator: torch.Generator) -> Params:
        """Draw the meta-parameters before training."""
        params = self.encoder.init(generator)
        params |= {POLICY + name: value for name, value in self.network.init(generator).items()}
        if self.actions.axes:
            params[LOG_STD] = torch.full((self.actions.axes,), float(np.log(self.config.initial_std)))
        if self.config.learn_step_sizes and self.config.inner_steps:
            params |= self.inner.initial_step_sizes(params)
        if self.config.learn_std_shift and self.config.inner_steps and self.actions.axes:
            params[SHIFT] = torch.zeros(self.config.inner_steps, self.actions.axes)
            params[SHIFT][0] = self.config.initial_std_shift
        return params | self.baseline.init() if self.config.baseline == "shared" else params

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.inner.start(params, n_tasks)

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        log_std = state[LOG_STD][:, None] if LOG_STD in state else None
        seen = self.encoder(state, self.encoder.flat(observation))
        return self.actions.outputs(self.network(state, seen, POLICY), log_std)

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def adapt(self, params: Params, state: State, support: Trajectory) -> State:
        return self.adapt_and_replay(params, state, self.with_advantage(params, support))[0]

    def adapt_and_replay(self, params: Params, state: State, support: Trajectory) -> tuple[State, Outputs]:
        """Take an inner step on a support with its advantage; also return the policy's outputs on it before the step.

        The pass that the inner loss needs is the one that the outer loss and the KL on the same data need.

        Args:
            params: meta-parameters.
            state: the parameters of each task before the step.
            support: trajectories ``(task, env, episode, step)``, with ``record["advantage"]``.
        """
        valid, advantage = support.valid.flatten(1, 2), support.record["advantage"].flatten(1, 2)

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            outputs, _ = self.replay(params, fast, support)
            log_prob = self.distribution(outputs).log_prob(support.action)
            old = support.record.get("log_prob", log_prob.detach())
            surrogate = SURROGATES[self.config.inner]
            return surrogate(log_prob.flatten(1, 2), old.flatten(1, 2), advantage, valid), outputs

        new, outputs = self.inner.step(params, state, loss)
        if self.actions.axes:
            if not self.config.adapted_std:
                new[LOG_STD] = state[LOG_STD]
            new[LOG_STD] = new[LOG_STD] + self._std_shift(params, state[COUNT])
        return new, outputs

    def with_advantage(self, params: Params, trajectory: Trajectory) -> Trajectory:
        """Add ``record["advantage"]``: generalised advantages over the baseline, normalised."""
        if "advantage" in trajectory.record:
            return trajectory
        trajectory, valid = trajectory.filled(), trajectory.valid
        advantage = self._raw_advantage(params, trajectory)
        shared = self.config.baseline == "shared"
        scaled = self.baseline.scaled(params, advantage, valid) if shared else normalised_advantage(advantage, valid)
        return replace(trajectory, record={**trajectory.record, "advantage": scaled})

    def update_baseline(self, params: Params, blocks: Sequence[Sequence[Trajectory]], parallel: TaskParallel) -> Params:
        """Return the buffers of a shared baseline after a meta-iteration's ``blocks`` of trajectories; else nothing."""
        if self.config.baseline != "shared":
            return {}
        parts = []
        for block in blocks:
            data = Trajectory.concatenate(block, axis="task").filled()
            advantage = self._raw_advantage(params, data)
            parts.append(self.baseline.sums(self._known_to_the_baseline(data), advantage, self.config.gamma))
        return self.baseline.update(params, parts, parallel)

    @torch.no_grad()
    def _raw_advantage(self, params: Params, trajectory: Trajectory) -> Tensor:
        """Return the generalised advantages of a trajectory without padding, ``(task, env, episode, step)``."""
        config, known, valid = self.config, self._known_to_the_baseline(trajectory), trajectory.valid
        if config.baseline == "shared":
            value = self.baseline.value(params, known)
        else:
            value = linear_baseline(known, discounted_returns(trajectory.reward, valid, config.gamma))
        following = next_value_finite_horizon(value, valid)
        return generalised_advantage(trajectory.reward, value, following, valid, config.gamma, config.gae_lambda)

    def _known_to_the_baseline(self, trajectory: Trajectory) -> Trajectory:
        seen = trajectory.observation
        return replace(trajectory, observation=seen[..., :0]) if self.encoder.is_image else trajectory

    def _std_shift(self, params: Params, count: Tensor) -> Tensor | float:
        """Return the learned shift of log std at step ``count`` ``(task,)``; 0 beyond the steps of training."""
        if SHIFT not in params:
            return 0.0
        inside = (count < self.config.inner_steps)[:, None]
        return torch.where(inside, params[SHIFT][count.clamp(max=self.config.inner_steps - 1)], 0)
