"""What a memory takes in: a transition as a row of numbers."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.core.actions import ActionLayout
from metarl.core.normalisation import initial_moments, standardised, with_data
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, Transition

OBSERVATION, REWARD = "observation", "reward"


class TransitionInput:
    """Observation, action, reward, done, next observation and episode start, ``size`` numbers.

    The last transition of an episode is one like any other: its reward and its end are part of what a memory has to
    know. Observations and rewards are standardised by the moments in ``params`` where there are any; actions are those
    that the environment saw, clipped to [-1, 1], or one-hot.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
        self.n_observation = int(np.prod(observation_space.shape or ()))
        self.actions = ActionLayout(action_space)
        self.n_action = self.actions.size
        self._shape = observation_space.shape or ()
        self.size = 2 * self.n_observation + self.n_action + 3

    def initial_moments(self, observations: bool, rewards: bool) -> Params:
        """Buffers for standardising either."""
        params = initial_moments(OBSERVATION, (self.n_observation,)) if observations else {}
        return params | (initial_moments(REWARD) if rewards else {})

    def with_data(self, params: Params, trajectory: Trajectory) -> Params:
        """``params`` with their moments over these trajectories too."""
        params = with_data(params, OBSERVATION, self._flat(trajectory.observation), trajectory.valid)
        return with_data(params, REWARD, trajectory.reward, trajectory.valid)

    def observation(self, params: Params, observation: Tensor) -> Tensor:
        """Observations ``(..., *shape)`` as ``(..., n_observation)``."""
        return standardised(params, OBSERVATION, self._flat(observation))

    def action(self, action: Tensor) -> Tensor:
        """Actions as ``(..., n_action)``."""
        return self.actions.features(action)

    def reward(self, params: Params, reward: Tensor) -> Tensor:
        """Rewards as the memory sees them."""
        return standardised(params, REWARD, reward)

    def __call__(self, params: Params, transition: Transition, start: Tensor) -> Tensor:
        """Rows ``(..., size)`` of transitions ``(...)``; ``start`` ``(...)`` is 1 for the first of an episode."""
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
        """Rows ``(task, env, episode, step, size)``."""
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
        """What a reward is decoded from, ``(task, env, episode, step, n)``: observation, action, next observation."""
        return torch.cat(
            [
                self.observation(params, trajectory.observation),
                self.action(trajectory.action),
                self.observation(params, trajectory.next_observation()),
            ],
            -1,
        )

    def _flat(self, observation: Tensor) -> Tensor:
        return observation.flatten(-len(self._shape)) if self._shape else observation[..., None]
