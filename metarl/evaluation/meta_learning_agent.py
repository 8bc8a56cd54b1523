"""Our agents as a ``MetaLearningAgent`` of Meta-World, whose own evaluator then plays them."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray
from torch import Tensor

from metarl.algorithm.algorithm import Algorithm
from metarl.core.learner import keep_where
from metarl.core.random import Domain
from metarl.core.trajectory import Trajectory
from metarl.evaluation.driver import evaluation_keys
from metarl.evaluation.protocol import ADAPTATION, episodes_at_once
from metarl.rollout.batch import Step
from metarl.rollout.recording import Recording
from metarl.rollout.streams import noise_stream

Array = NDArray[Any]


class MetaLearningAgent:
    """An agent as ``metaworld.evaluation.metalearning_evaluation`` takes it, with the environments that it watches.

    The evaluator shows an agent neither the last observation of an episode nor, while it scores, any reward, which a
    memory needs; so the environments are given to the evaluator as ``agent.envs``, which notes them. Adaptation goes as
    in ``play_protocol``, with the same random numbers: on the same tasks the figures are the same.

        agent = MetaLearningAgent(rl2, envs)
        success, returns, by_env = metalearning_evaluation(agent, agent.envs)

    Args:
        agent: trained on a family of the same spaces.
        envs: vector of metaworld, whose episodes all have the same length while it adapts.
        adaptation_episodes: those that the evaluator is told.
    """

    def __init__(self, agent: Algorithm, envs: VectorEnv[Any, Any, Any], adaptation_episodes: int = ADAPTATION) -> None:
        self.agent, self.learner, self.envs = agent, agent.learner, _Watched(envs)
        self._group = episodes_at_once(agent, adaptation_episodes)
        self._rounds, self._n = adaptation_episodes // self._group, envs.num_envs
        self._params = self.learner.prepare(agent.params)
        self._to_env = agent.rollouts.to_env(agent.family.action_space, agent.device)
        keys = evaluation_keys(agent.family, "test", self._n, self._group).to(agent.device)
        horizon = agent.family.horizon
        self._action_noise = noise_stream(self.learner.action_noise, keys, Domain.ACTION, horizon)
        self._episode_noise = noise_stream(self.learner.episode_noise, keys[:: self._group], Domain.EPISODE, 1)

    def init(self) -> None:
        """Forget everything: other tasks follow."""
        self._state = self._adapted = self.learner.initial(self.agent.params, self._n)
        self._episode = self._step = 0
        self._support: list[Trajectory] = []
        self._scored = np.full(self._n, -1)  # which scored episode each environment is in
        self._last: tuple[Tensor, Tensor] | None = None  # observation and action that wait for their outcome

    def adapt_action(self, observations: Array) -> tuple[Array, dict[str, Array]]:
        """Return actions with exploration noise for observations ``(environment, ...)``, and nothing else."""
        if self._step == 0:
            noise = self._episode_noise.at(self._episode // self._group, 0)
            self._state = self.learner.begin_episode(self._params, self._state, noise)
            self._recording = Recording((self._n, 1), self.agent.device)
            self._recording.begin(noise)
        numbers = self._action_noise.at(self._episode // self._group, self._step).unflatten(0, (self._n, self._group))
        return self._act(observations, numbers[:, [self._episode % self._group]], deterministic=False), {}

    def step(self, timestep: Any) -> None:
        """Take in the outcome of the last actions, and adapt where enough episodes have ended."""
        transition = self._recording.add(*self._waiting(), self._record, *self.envs.outcome(self.agent.device))
        if self.learner.online:
            self._state = self.learner.observe(self._params, self._state, transition)
        self._step += 1
        if not self._recording.all_ended:
            return
        self._episode, self._step = self._episode + 1, 0
        if not self.learner.online:
            self._support.append(self._recording.trajectory())
            if len(self._support) == self._group:
                joined = Trajectory.concatenate(self._support).episodes()
                self._state, self._support = self.learner.adapt(self.agent.params, self._state, joined), []

    def adapt(self) -> None:
        """Keep the state from which every scored episode is played."""
        self._adapted, self._last = self._state, None

    def reset(self, env_mask: NDArray[np.bool_]) -> None:
        """Begin a scored episode where the mask is true, from the state after adaptation."""
        self._scored[env_mask] += 1
        noise = torch.stack([self._episode_noise.at(self._rounds + int(k), 0)[i] for i, k in enumerate(self._scored)])
        fresh = self.learner.begin_episode(self._params, self._adapted, noise)
        mask = torch.as_tensor(env_mask, device=self.agent.device)
        if self.learner.online and self._last is not None:
            step, following = self.envs.outcome(self.agent.device)
            transition = Recording((self._n, 1), self.agent.device)
            transition.begin(noise)
            seen = transition.add(*self._waiting(), {}, step, following)
            self._state = self.learner.observe(self._params, self._state, seen)
        self._state = keep_where(mask, fresh, self._state)

    def eval_action(self, observations: Array) -> Array:
        """Return actions without noise for observations ``(environment, ...)``."""
        nothing = self._action_noise.at(0, 0).unflatten(0, (self._n, self._group))[:, :1]
        return self._act(observations, nothing, deterministic=True)

    def _act(self, observations: Array, noise: Tensor, *, deterministic: bool) -> Array:
        seen = torch.as_tensor(observations, dtype=torch.float32, device=self.agent.device)[:, None]
        action, self._record = self.learner.act(self._params, self._state, seen, noise, deterministic)
        self._last = seen, action
        return np.asarray(self._to_env(action).flatten(0, 1).cpu().numpy())

    def _waiting(self) -> tuple[Tensor, Tensor]:
        assert self._last is not None  # for mypy: the evaluator acts before it steps
        return self._last


class _Watched(VectorWrapper[Any, Any, Any]):
    """Environments that note the outcome of their last step, with the observation before a reset."""

    def step(self, actions: Any) -> Any:
        self._seen = super().step(actions)
        return self._seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)  # call and get_attr, which VectorWrapper has not

    def outcome(self, device: torch.device) -> tuple[Step, Tensor]:
        """Return the last step ``(environment, ...)``, and its observation ``(environment, 1, ...)``."""
        observation, reward, terminated, truncated, info = self._seen
        following = np.array(observation, dtype=np.float32)
        for i in np.flatnonzero(info.get("_final_obs", ())):
            following[i] = info["final_obs"][i]
        seen, r = (torch.as_tensor(np.asarray(x, np.float32), device=device) for x in (following, reward))
        over, out = (torch.as_tensor(x, device=device) for x in (terminated, truncated))
        return Step(seen, r, over, out, {}), seen[:, None]
