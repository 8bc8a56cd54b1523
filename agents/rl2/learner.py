"""The RL² learner: a policy on a memory and the observation."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.adapt.memory.registry import make_memory
from metarl.adapt.transitions import TransitionInput
from metarl.agents.rl2.config import RL2Config
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.hypernetwork import HyperMLP
from metarl.core.learner import MetaLearner
from metarl.core.networks import MLP
from metarl.core.normalisation import trained
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params, State, Transition

START = "start"
LOG_STD = "actor.log_std"
FEATURES = "features"
_EMBEDDING = "embedding."


class RL2Learner(MetaLearner):
    """A policy and a value on a memory and the observation (Duan et al. 2016, "RL²"; Wang et al. 2016).

    The memory lives for a trial. It takes in whole transitions, an episode's last one with its reward and its end
    among them. The state is the memory, and whether an episode begins.

    Args:
        config: which memory, and how large memory and heads are.
        capacity: transitions of a trial, all of which the memory has to hold.
    """

    online = True
    training_only = ("critic.",)
    trains_memory = True  # the policy's and the value's gradients reach the memory

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        config: RL2Config,
        capacity: int = 1000,
    ) -> None:
        self.config = config
        self.inputs = TransitionInput(observation_space, action_space, config.encoder)
        self.action_noise = self.inputs.actions.noise
        self.embedding = MLP((self.inputs.size, config.embedding), output_gain=2**0.5)
        self.memory = make_memory(
            config.memory,
            config.embedding or self.inputs.size,
            config.width,
            capacity,
            config.memory_options,
        )
        n_features = self.n_context + self.inputs.n_observation
        self.actor = self._head(n_features, self.inputs.n_action, 0.01)
        self.critic = self._head(n_features, 1, 1.0)

    @property
    def n_context(self) -> int:
        """Return how many numbers of the memory the heads see."""
        return self.memory.width

    def init(self, generator: torch.Generator) -> Params:
        """Return parameters before training."""
        params = self.inputs.init(generator)
        if self.config.embedding:
            params |= {_EMBEDDING + name: value for name, value in self.embedding.init(generator).items()}
        params |= self.memory.init(generator)
        for prefix, head in (("actor.", self.actor), ("critic.", self.critic)):
            params |= {prefix + name: value for name, value in head.init(generator).items()}
        if self.inputs.actions.axes:
            params[LOG_STD] = torch.full((self.inputs.actions.axes,), float(np.log(self.config.initial_std)))
        return params | self.inputs.init_statistics(self.config.normalise_observations, self.config.normalise_rewards)

    def prepare(self, params: Params) -> Params:
        return self.inputs.prepare(params)

    def update_statistics(self, params: Params, trajectory: Trajectory) -> Params:
        """Return ``params`` whose running statistics also count these trials."""
        return self.inputs.update_statistics(params, trajectory)

    def policy_params(self, params: Params) -> Params:
        """Return the parameters that the policy's and the value's losses train."""
        return trained(params)

    def initial(self, params: Params, n_tasks: int) -> State:
        memory = self.memory.initial(params, n_tasks)
        return {**memory, START: next(iter(memory.values())).new_ones(n_tasks, dtype=torch.float32)}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return {**state, START: torch.ones_like(state[START])}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        return self.heads(params, self._features_now(params, state, observation))

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        """Sample actions and record what the heads saw; ``with_log_probs_and_values`` adds what training needs."""
        features = self._features_now(params, state, observation)
        distribution = self.distribution(self.actions(params, features))
        return distribution.mode() if deterministic else distribution.sample(noise), {FEATURES: features}

    def with_log_probs_and_values(self, params: Params, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with ``log_prob`` and ``value``, computed for all its steps at once."""
        features = trajectory.record[FEATURES]
        with torch.no_grad():
            outputs = self.heads(params, features)
            log_prob = self.distribution(outputs).log_prob(trajectory.action)
        kept = {} if self.trains_memory else {FEATURES: features}
        return replace(trajectory, record={"log_prob": log_prob, "value": outputs["value"], **kept})

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        rows = self._embedded(params, self.inputs(params, transition, state[START][:, None])[:, 0])
        memory = {name: value for name, value in state.items() if name != START}
        return {**self.memory.step(params, memory, rows), START: torch.zeros_like(state[START])}

    def replay(self, params: Params, state: State, trajectory: Trajectory) -> tuple[Outputs, State]:
        features, state = self.features(params, state, trajectory)
        axes = features.shape[1:4]
        outputs = self.heads(params, features.flatten(1, 3).transpose(0, 1))
        return {name: value.transpose(0, 1).unflatten(1, axes) for name, value in outputs.items()}, state

    def features(self, params: Params, state: State, trajectory: Trajectory) -> tuple[Tensor, State]:
        """Return what the heads see at every step, ``(task, 1, episode, step, feature)``, and the state at the end.

        They lie in memory step by step, as a GRU puts them out.
        """
        self.check_n_envs(trajectory)
        trajectory = trajectory.filled()
        before, state = self.remember(params, state, trajectory)
        seen = self.inputs.observation(params, trajectory.observation)
        axes = before.shape[1:4]
        parts = (each.flatten(1, 3).transpose(0, 1) for each in (self.context(params, before), seen))
        return torch.cat(list(parts), -1).transpose(0, 1).unflatten(1, axes), state

    def remember(self, params: Params, state: State, trajectory: Trajectory) -> tuple[Tensor, State]:
        """Return what the memory says before every step, ``(task, 1, episode, step, width)``, and the state at the end.

        The padding of ``trajectory`` must be ``filled``.
        """
        axes = trajectory.reward.shape[1:]
        rows = self._embedded(params, self.inputs.of_trajectory(params, trajectory).flatten(1, 3))
        memory = {name: value for name, value in state.items() if name != START}
        before, memory = self.memory.replay(params, memory, rows, trajectory.valid.flatten(1))
        return before.unflatten(1, axes), {**memory, START: torch.zeros_like(state[START])}

    def context(self, params: Params, read: Tensor) -> Tensor:
        """Return what the heads see of what the memory says, ``(..., n_context)`` of ``(..., width)``."""
        return read

    def heads(self, params: Params, features: Tensor) -> Outputs:
        """Return distribution parameters and ``value`` for features ``(..., feature)``."""
        seen = self.head_inputs(params, features)
        return {**self._of_actor(params, seen), "value": self.critic(params, seen, "critic.")[..., 0]}

    def actions(self, params: Params, features: Tensor) -> Outputs:
        """Return the distribution parameters alone, for features ``(..., feature)``."""
        return self._of_actor(params, self.head_inputs(params, features))

    def head_inputs(self, params: Params, features: Tensor) -> Tensor:
        """Return what the heads compute on, ``(..., feature)`` of the recorded features ``(..., feature)``."""
        return features

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs, self.config.squash)

    def belief(self, params: Params, state: State) -> Tensor:
        """Return what the memory says, ``(task, width)``."""
        return self.memory.read(params, state)

    def _of_actor(self, params: Params, seen: Tensor) -> Outputs:
        return self.inputs.actions.outputs(self.actor(params, seen, "actor."), params.get(LOG_STD))

    def _features_now(self, params: Params, state: State, observation: Tensor) -> Tensor:
        context = self.context(params, self.memory.read(params, state))
        seen = self.inputs.observation(params, observation)
        return torch.cat([context[:, None].expand(*seen.shape[:-1], -1), seen], -1)

    def _head(self, n_features: int, n_outputs: int, gain: float) -> MLP:
        sizes, config = (n_features, *self.config.head, n_outputs), self.config
        if not config.hypernetwork:
            return MLP(sizes, config.activation, gain)
        return HyperMLP(sizes, config.activation, gain, context=self.n_context, layers=config.hypernetwork)

    def _embedded(self, params: Params, rows: Tensor) -> Tensor:
        if not self.config.embedding:
            return rows
        return torch.relu(self.embedding(params, rows, _EMBEDDING))
