"""The base of the agents that Stable-Baselines3 trains: policies that do not adapt, as a measure of adaptation."""

import os
import sys
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import gymnasium
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize
from torch import Tensor

from metarl.agents.baselines.sb3_config import NOT_SB3, PRESETS, USES, PPOConfig, SACConfig, SB3Config
from metarl.agents.baselines.sb3_learner import Moments, SB3Learner, policy_arguments
from metarl.agents.baselines.sb3_state import Model, OwnRandomness, load_model_tensors, model_tensors
from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.core.types import Params
from metarl.family.views.sb3 import TaskVecEnv, sb3_action_space

_NEVER = sys.maxsize  # SB3 logs on its own every so many episodes or iterations


class InexactResume(UserWarning):
    """Warns that training continues from a checkpoint without all that it had in memory."""


class SB3Agent(Algorithm):
    """Trains SB3's PPO or SAC on the training tasks, each environment on a new task every episode.

    An iteration is a part of SB3's own ``learn``: one rollout and its updates of PPO, ``log_every`` steps of SAC. A
    checkpoint holds networks, optimisers, the entropy coefficient and the normaliser's statistics, but neither the
    replay buffer nor the running episodes: a resumed run continues soundly, but not bit for bit as if it had never been
    stopped, of which ``InexactResume`` warns. SAC then fills its buffer with ``learning_starts`` steps of its policy
    before it learns on.
    """

    config_class = SB3Config
    adapts_by = "nothing"
    presets: ClassVar[Mapping[str, SB3Config]] = PRESETS
    uses: ClassVar[Mapping[str, tuple[str, float]]] = USES
    config: SB3Config
    learner: SB3Learner

    def build_learner(self) -> SB3Learner:
        space = sb3_action_space(self.family)
        if self.config.algorithm == "sac" and isinstance(space, gymnasium.spaces.Discrete):
            raise MetaRLError(
                f"SAC acts in a Box, and {self.family.name} has {self.family.action_space}; choose algorithm='ppo'."
            )
        self._model: Model | None = None
        self._saved: dict[str, Tensor] = {}
        self._recorded = _Recorded()
        self._randomness = OwnRandomness()
        with OwnRandomness().in_use():
            return SB3Learner(self.family.observation_space, self.family.action_space, self.config.used)

    def init_params(self, generator: torch.Generator) -> Params:
        with OwnRandomness().in_use():
            torch.manual_seed(generator.initial_seed())
            policy = self.learner.new_policy()
        moments = None
        if isinstance(self.config.used, PPOConfig) and self.config.used.normalise_observations:
            zero = torch.zeros(self.family.observation_space.shape or (), dtype=torch.float64)
            moments = zero, zero + 1
        return self.learner.params_of(policy, moments)

    @property
    def n_envs(self) -> int:
        """Episodes between two points of the curve: as many as MAML adapts to, so that their points are the same."""
        return 20

    def get_env(self) -> Any:
        return SimpleNamespace(
            num_envs=self.config.n_envs,
            observation_space=self.family.observation_space,
            action_space=self.family.action_space,
        )

    @property
    def model(self) -> Model:
        """SB3's model, made when training begins."""
        if self._model is None:
            self._randomness = OwnRandomness()
            with self._randomness.in_use():
                self._model = self._new_model()
        return self._model

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        model, used = self.model, self.config.used
        self._check_training(model)
        before = model.num_timesteps
        with self._randomness.in_use():
            if isinstance(used, PPOConfig):
                model.learn(used.n_steps * model.n_envs, log_interval=_NEVER, reset_num_timesteps=False)
            else:
                self._learn_sac(model, used)
            model.dump_logs()
        self.params = self.learner.params_of(model.policy, self._moments(model))
        return model.num_timesteps - before, self._recorded.metrics()

    def start_from(self, path: str | os.PathLike[str]) -> Self:
        if isinstance(self.config.used, PPOConfig) and self.config.used.normalise_observations:
            raise MetaRLError(
                f"{self.name} standardises observations by what it has seen, of which weights do not say how much it "
                "was; set ppo.normalise_observations=False in both trainings to start one from the other."
            )
        return super().start_from(path)

    def training_state(self) -> dict[str, Tensor]:
        return self._saved if self._model is None else model_tensors(self._model)

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        self._model, self._saved = None, saved

    def _check_training(self, model: Model) -> None:
        """Refuse evaluation environments that somebody put in the place of our own."""
        env = model.get_env()
        while isinstance(env, VecEnvWrapper):
            env = env.venv
        if isinstance(env, TaskVecEnv) and env.evaluation:
            raise MetaRLError(
                f"{self.name} was to train on a TaskVecEnv of {env.family.name} with evaluation=True, which may hold "
                "test tasks; give it one without, or leave its own."
            )

    def _learn_sac(self, model: Model, used: SACConfig) -> None:
        steps = used.log_every
        assert isinstance(model, SAC)
        assert model.replay_buffer is not None
        if model.replay_buffer.size() == 0 and self.iteration:
            # Learning from a handful of transitions would spoil what was learned before.
            steps, model.gradient_steps = max(steps, used.learning_starts), 0
        try:
            model.learn(steps, log_interval=_NEVER, reset_num_timesteps=False)
        finally:
            model.gradient_steps = used.gradient_steps

    def _new_model(self) -> Model:
        """Make SB3's model with our parameters, and after a checkpoint with the rest of what it had learned."""
        config, used = self.config, self.config.used
        # Hashed, for SB3 seeds environment i with seed + i; and on resuming anew, to play no episode twice.
        seed = int(stream_keys(1, self.seed, "sb3", self.iteration)[0, 0]) >> 1
        env: VecEnv = VecMonitor(TaskVecEnv(self.family, config.n_envs, episodes_per_trial=1, seed=seed))
        ppo = isinstance(used, PPOConfig)
        if isinstance(used, PPOConfig) and (used.normalise_observations or used.normalise_rewards):
            observations, rewards = used.normalise_observations, used.normalise_rewards
            env = VecNormalize(env, norm_obs=observations, norm_reward=rewards, gamma=used.gamma)
        model: Model = (PPO if ppo else SAC)(
            "MlpPolicy",
            env,
            policy_kwargs=policy_arguments(used),
            stats_window_size=max(100, config.n_envs),
            seed=seed,
            device=self.device,
            **{name: value for name, value in vars(used).items() if name not in NOT_SB3},
        )
        model.set_logger(Logger(folder=None, output_formats=[self._recorded]))
        # The critics are as SB3 made them.
        model.policy.load_state_dict(self.learner.weights_of(self.params), strict=False)
        model.num_timesteps = self.num_timesteps
        if self._saved:
            load_model_tensors(model, self._saved)
            if isinstance(model, SAC):
                model.learning_starts = 0  # before it SB3 acts at random, and here is a policy that acts better
            what = "the running episodes begin" if ppo else "the replay buffer begins"
            warnings.warn(
                f"{self.name} continues at {self.num_timesteps:,} steps; {what} anew: not bit for bit the run that was "
                "stopped.",
                InexactResume,
                stacklevel=2,
            )
        return model

    @staticmethod
    def _moments(model: Model) -> Moments | None:
        normaliser = model.get_vec_normalize_env()
        if normaliser is None or not normaliser.norm_obs:
            return None
        seen: Any = normaliser.obs_rms
        return torch.tensor(seen.mean, device=model.device), torch.tensor(seen.var, device=model.device)


class _Recorded(KVWriter):
    """Keeps what SB3 logs, for the run's own log."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._values = dict(key_values)

    def close(self) -> None:
        """Nothing is held open."""

    def metrics(self) -> dict[str, float]:
        """Return ``rollout/return`` of the last episodes, and what else SB3 recorded of rollouts and training."""
        kept = {k: float(v) for k, v in self._values.items() if k.startswith(("rollout/", "train/"))}
        if "rollout/ep_rew_mean" in kept:
            return {"rollout/return": kept.pop("rollout/ep_rew_mean"), **kept}
        return kept
