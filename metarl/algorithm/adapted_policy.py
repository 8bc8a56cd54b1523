"""An adapted policy: a learner that has adapted to one task, with SB3's ``predict``."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.algorithm.export import export_step
from metarl.algorithm.step import LAST_ACTION, LAST_OBSERVATION, FixedStep, OnlineStep, taken_in
from metarl.core.actions import ActionMap, to_gymnasium
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.random import Domain, stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State
from metarl.family.base import TaskFamily
from metarl.rollout.logged_episodes import Recorded, recorded_trajectory
from metarl.rollout.rollout import rollout
from metarl.rollout.single import GymnasiumBatch, check_spaces, episode_limit
from metarl.rollout.streams import noise_stream

Recording: TypeAlias = Trajectory | Sequence[Trajectory] | Sequence[Recorded]


class AdaptedPolicy:
    """A policy that has adapted to one task; ``adapt`` goes on from there and returns a new one.

    ``episodes`` counts the interaction so far, and ``env`` is the environment that the last of it was with.
    """

    def __init__(
        self,
        learner: MetaLearner,
        params: Params,
        state: State,
        family: TaskFamily,
        seed: int = 0,
        episodes: int = 0,
        env: "gymnasium.Env[Any, Any] | None" = None,
    ) -> None:
        self.learner, self.params, self.state, self.family = learner, params, state, family
        self._prepared = learner.prepare(params)
        self.seed, self.episodes, self._env = seed, episodes, env
        # Where the last interaction was with an environment, its actions are meant: it may scale them differently.
        self.observation_space = family.observation_space
        self.action_space = family.action_space if env is None else env.action_space
        device = next(iter(params.values())).device if params else torch.device("cpu")
        self._map = ActionMap(self.action_space, device, torch.float32)
        self._device = device
        self._draws = 0

    @torch.no_grad()
    def predict(
        self,
        observation: NDArray[Any],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        deterministic: bool = False,
        reward: float | NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], State | None]:
        """Return actions, and the memory for the next call.

        After an episode's last step, call it with the final observation, the reward and ``episode_start=True``, and
        leave the action be: the memory of an online learner then knows how the episode ended.

        Args:
            observation: one, or a batch ``(n, ...)``.
            state: the memory that the last call returned; None for a trial's first call.
            episode_start: whether an episode begins; unless given, one does where ``state`` is None.
            deterministic: whether to act without exploration noise.
            reward: of the last transition, which an online learner takes in if it is given.

        Returns:
            actions of the environment's own space; and the memory of a learner that adapts online, or that draws noise
            at an episode's start, else None.
        """
        single = np.shape(observation) == self.observation_space.shape
        seen = torch.as_tensor(np.array(observation, dtype=np.float32), device=self._device)
        seen = seen[None, None] if single else seen[None]
        if seen.shape[2:] != self.observation_space.shape:
            raise MetaRLError(
                f"Observations have shape {np.shape(observation)}; this policy takes {self.observation_space.shape}, "
                "or a batch of them."
            )
        if (self.learner.online or self.learner.episode_noise.n) and seen.shape[1] != 1:
            raise MetaRLError(
                "A policy that adapts while it acts, or draws something for a whole episode, follows one environment; "
                "adapt one policy for each."
            )
        memory = dict(self.state if state is None else state)
        if self.learner.online and reward is not None and LAST_ACTION in memory:
            earned, ended = float(np.asarray(reward).reshape(-1)[0]), bool(np.any(episode_start))
            given = (torch.tensor([[value]], device=self._device) for value in (earned, ended))
            memory = taken_in(self.learner, self._prepared, memory, seen, *given)
        if state is None if episode_start is None else bool(np.any(episode_start)):
            noise = self._noise(self.learner.episode_noise, Domain.EPISODE, 1)[0]
            memory = self.learner.begin_episode(self._prepared, memory, noise)
        noise = self._noise(self.learner.action_noise, Domain.ACTION, seen.shape[1])
        action, _ = self.learner.act(self._prepared, memory, seen, noise, deterministic)
        rows = self._map.to_env(action)[0].cpu().numpy()
        chosen = to_gymnasium(self.action_space, rows[0] if single else rows)
        if self.learner.online:
            return chosen, {**memory, LAST_OBSERVATION: seen, LAST_ACTION: action}
        return chosen, memory if self.learner.episode_noise.n else None

    def adapt(self, data: "gymnasium.Env[Any, Any] | Recording", episodes: int = 1) -> "AdaptedPolicy":
        """Return a policy that has also adapted to ``episodes`` episodes of an environment, or to recorded ones.

        The environment is seeded before its first episode, and goes on where it stands when it is adapted to again.
        Recorded ``Episode``s, Minari's too, hold the environment's own actions. A ``Trajectory`` is what ``rollout``
        gives, with one task row; its actions are the policy's, in [-1, 1] or an index. Raises where spaces or
        recordings do not fit.
        """
        if not isinstance(data, gymnasium.Env):
            trajectory = self._recorded(data)
            return self._after(trajectory, self.learner.skip_exploration(self._adapted(trajectory)), self._env)
        if self.learner.each_episode and episodes > 1:
            policy = self
            for _ in range(episodes):
                policy = policy.adapt(data)
            return policy
        trajectory, state = self._collect(data, episodes)
        return self._after(trajectory, state if self.learner.online else self._adapted(trajectory), data)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the policy's step without exploration noise, for other runtimes: ``.onnx``, or torch's own ``.pt2``.

        Observations and actions are the environment's own. A policy that learns while it acts has its memory among its
        inputs and outputs, see ``OnlineStep``; any other is fixed, see ``FixedStep``. ONNX needs the extra ``onnx``.
        """
        kind = OnlineStep if self.learner.online else FixedStep
        export_step(kind(self.learner, self.params, self.state, self.observation_space, self.action_space), path)

    @torch.no_grad()
    def _adapted(self, trajectory: Trajectory) -> State:
        return self.learner.adapt(self.params, self.state, trajectory.to(self._device))

    def _after(self, trajectory: Trajectory, state: State, env: "gymnasium.Env[Any, Any] | None") -> "AdaptedPolicy":
        count = self.episodes + trajectory.n_episodes * trajectory.n_envs
        return AdaptedPolicy(self.learner, self.params, state, self.family, self.seed, count, env)

    def _collect(self, env: gymnasium.Env[Any, Any], episodes: int) -> tuple[Trajectory, State]:
        if episodes < 1:
            raise MetaRLError(f"episodes={episodes}: adapting takes at least one episode.")
        check_spaces(env, self.observation_space, self.action_space)
        limit = episode_limit(env, self.family.horizon)
        # Seeded anew, an environment would play the episodes over again that the policy has adapted to.
        batch = GymnasiumBatch(env, limit, self.seed, self._device, reseed=env is not self._env)
        return rollout(
            self.learner, self.params, self.state, batch, n_envs=1, episodes=episodes, first_episode=self.episodes
        )

    def _recorded(self, data: "Recording") -> Trajectory:
        single = isinstance(data, Trajectory) or not hasattr(data, "__iter__")
        parts: list[Any] = [data] if single else list(cast(Sequence[Any], data))
        if parts and all(hasattr(part, "rewards") for part in parts):
            return recorded_trajectory(cast(list[Recorded], parts), self.observation_space, self.action_space)
        trajectories = [part for part in parts if isinstance(part, Trajectory)]
        rows = [part.n_tasks for part in trajectories]
        if not parts or len(rows) < len(parts) or set(rows) != {1}:
            raise MetaRLError(
                "Adapting takes an environment, recorded episodes, or at least one trajectory, of one task each; got "
                f"task rows {rows} and {len(parts) - len(rows)} other recordings."
            )
        return Trajectory.concatenate(trajectories)

    def _noise(self, noise: Any, domain: Domain, n: int) -> Tensor:
        self._draws += 1
        # Another after every adaptation, or the policy would explore as the one before did.
        keys = stream_keys(n, self.seed, "predict", self.episodes, device=self._device)
        return noise_stream(noise, keys, domain, 1).at(self._draws, 0)[None]
