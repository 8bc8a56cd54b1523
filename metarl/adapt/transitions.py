"""The input of a memory: a transition as a row of numbers."""

from typing import Any

import gymnasium
import torch
from torch import Tensor

from metarl.core.actions import ActionLayout
from metarl.core.encoders import ObservationEncoder
from metarl.core.normalisation import Standardiser
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, Transition


class TransitionInput:
    """Turn transitions into rows of ``size`` numbers.

    A row holds observation, action, reward, done, episode start and next observation. The last transition of an episode
    is one like any other: its reward and its end are part of what a memory has to know. Observations and rewards are
    standardised by the running statistics in ``params`` where there are any; actions are those that the environment
    saw, clipped to [-1, 1], or one-hot.

    Args:
        observation_space: a Box.
        action_space: a Discrete, a Box or a Tuple of both.
        encoder: what ``ObservationEncoder`` names a module by; images have one without a name.
        prefix: what precedes the names of the module's parameters.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        encoder: str = "",
        prefix: str = "encoder.",
    ) -> None:
        self.encoder = ObservationEncoder(observation_space, encoder, prefix)
        self.n_observation = self.encoder.n_features
        self.actions = ActionLayout(action_space)
        self.n_action = self.actions.size
        self.size = 2 * self.n_observation + self.n_action + 3
        self._observation = Standardiser("observation", (self.encoder.n_numbers,))
        self.reward = Standardiser("reward")

    def init(self, generator: torch.Generator) -> Params:
        """Return the encoder's parameters before training, if there is one."""
        return self.encoder.init(generator)

    def init_statistics(self, observations: bool, rewards: bool) -> Params:
        """Return buffers for standardising observations, rewards, both or neither."""
        params = self._observation.init() if observations else {}
        return params | (self.reward.init() if rewards else {})

    def update_statistics(self, params: Params, trajectory: Trajectory) -> Params:
        """Return ``params`` whose statistics, if there are any, also count these trajectories."""
        params = self._observation.update(params, self.encoder.flat(trajectory.observation), trajectory.valid)
        return self.reward.update(params, trajectory.reward, trajectory.valid)

    def prepare(self, params: Params) -> Params:
        """Return ``params`` with what standardising computes from them alone."""
        return self.reward.prepare(self._observation.prepare(params))

    def observation(self, params: Params, observation: Tensor) -> Tensor:
        """Return observations ``(..., *shape)`` as rows ``(..., n_observation)``, standardised and then encoded."""
        return self.encoder(params, self._observation(params, self.encoder.flat(observation)))

    def action(self, action: Tensor) -> Tensor:
        """Return actions as rows ``(..., n_action)``."""
        return self.actions.features(action)

    def __call__(self, params: Params, transition: Transition, start: Tensor) -> Tensor:
        """Return rows ``(..., size)`` of transitions ``(...)``; ``start`` ``(...)`` is 1 for an episode's first."""
        done = (transition.terminated | transition.truncated).float()
        reward = self.reward(params, transition.reward)
        return torch.cat(
            [
                self.observation(params, transition.observation),
                self.action(transition.action),
                torch.stack([reward, done, start], -1),
                self.observation(params, transition.next_observation),
            ],
            -1,
        )

    def of_trajectory(self, params: Params, trajectory: Trajectory) -> Tensor:
        """Return rows ``(task, env, episode, step, size)`` of every step."""
        start = torch.zeros_like(trajectory.reward)
        start[..., 0] = 1
        transition = Transition(
            observation=trajectory.observation,
            action=trajectory.action,
            reward=trajectory.reward,
            terminated=trajectory.terminated,
            truncated=trajectory.truncated,
            next_observation=trajectory.next_observation(),
        )
        return self(params, transition, start)

    def decodable(self, params: Params, trajectory: Trajectory) -> Tensor:
        """Return observation, action and next observation, from which a reward is decoded.

        Returns:
            ``(task, env, episode, step, 2 n_observation + n_action)``.
        """
        return torch.cat(
            [
                self.observation(params, trajectory.observation),
                self.action(trajectory.action),
                self.observation(params, trajectory.next_observation()),
            ],
            -1,
        )
