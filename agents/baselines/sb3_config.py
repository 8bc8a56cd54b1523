"""Configuration of the agents that Stable-Baselines3 trains; its fields have SB3's names."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from metarl.core.config import Count, Discount, Fraction, Limit, NonNegative, Positive, at_least, check_config
from metarl.core.errors import MetaRLError

Activation = Literal["tanh", "relu"]
# Fields that are no arguments of SB3's algorithms.
NOT_SB3 = {"log_std_init", "net_arch", "activation", "normalise_observations", "normalise_rewards", "log_every"}
_ROUNDS = Limit("at least 1, or -1", lambda value: value >= 1 or value == -1)
_ENTROPY = Limit("at least 0 where it is a number", lambda value: value == "auto" or value >= 0)


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of SB3's PPO (Schulman et al. 2017), with small networks and normalised inputs."""

    learning_rate: Positive = 3e-4  # Adam's step size
    n_steps: Count = 128  # steps of each environment between two updates
    batch_size: Annotated[int, at_least(2)] = 1024  # steps of a minibatch, whose advantages are normalised
    n_epochs: Count = 10  # passes over the steps of an update
    gamma: Discount = 0.99  # discount of rewards
    gae_lambda: Fraction = 0.95  # trace of generalised advantage estimation
    clip_range: Positive = 0.2  # clipping range of the likelihood ratio
    ent_coef: NonNegative = 0.0  # weight of the entropy
    vf_coef: NonNegative = 0.5  # weight of the value's loss
    max_grad_norm: Positive = 0.5  # bound on the gradient's norm
    log_std_init: float = 0.0  # initial log standard deviation of the policy, in its [-1, 1]
    net_arch: tuple[Count, ...] = (64, 64)  # widths of the hidden layers of policy and value
    activation: Activation = "tanh"  # of the hidden layers
    normalise_observations: bool = True  # by VecNormalize's running statistics, which evaluation applies too
    normalise_rewards: bool = True  # by the running scale of the return, in training only

    def __post_init__(self) -> None:
        check_config(self)


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Settings of SB3's SAC (Haarnoja et al. 2018)."""

    learning_rate: Positive = 3e-4  # Adam's step size
    buffer_size: Count = 1_000_000  # transitions kept, of all environments together
    learning_starts: Annotated[int, at_least(0)] = 10_000  # environment steps of random actions before the first update
    batch_size: Count = 256  # transitions of an update
    tau: Discount = 0.005  # share of the way that the target networks take at each update
    gamma: Discount = 0.99  # discount of rewards
    train_freq: Count = 1  # steps of all environments between two rounds of updates
    gradient_steps: Annotated[int, _ROUNDS] = 16  # updates of a round; -1 for one for each step of all environments
    ent_coef: Annotated[float | Literal["auto"], _ENTROPY] = "auto"  # weight of the entropy; auto learns it
    net_arch: tuple[Count, ...] = (256, 256)  # widths of the hidden layers of policy and critics
    activation: Activation = "relu"  # of the hidden layers
    log_every: Count = 5_000  # environment steps between two rows of the log, and the most that a kill costs

    def __post_init__(self) -> None:
        check_config(self)


@dataclass(frozen=True, kw_only=True)
class SB3Config:
    """Settings of an SB3 baseline: its algorithm, its length and its environments; ``ppo`` or ``sac`` has the rest."""

    algorithm: Literal["ppo", "sac"] = "ppo"  # the one that trains
    total_timesteps: Count = 2_000_000  # environment steps of training
    n_envs: Count = 64  # environments side by side, each on a task of its own that changes with every episode
    ppo: PPOConfig = field(default_factory=PPOConfig)  # settings of PPO
    sac: SACConfig = field(default_factory=SACConfig)  # settings of SAC

    def __post_init__(self) -> None:
        check_config(self)
        rollout = self.ppo.n_steps * self.n_envs
        if self.algorithm == "ppo" and rollout % self.ppo.batch_size:
            raise MetaRLError(
                f"SB3Config: PPO collects n_steps × n_envs = {self.ppo.n_steps} × {self.n_envs} = {rollout} steps, "
                f"which do not divide into batches of {self.ppo.batch_size}; choose a batch_size that divides it."
            )
        if self.algorithm == "sac" and self.sac.buffer_size < self.n_envs:
            raise MetaRLError(
                f"SB3Config: buffer_size={self.sac.buffer_size} holds not even one step of n_envs={self.n_envs}; "
                "take a larger buffer."
            )

    @property
    def used(self) -> PPOConfig | SACConfig:
        """The settings of the algorithm that trains."""
        return self.ppo if self.algorithm == "ppo" else self.sac


PRESETS: dict[str, SB3Config] = {
    "default": SB3Config(),
    # As many steps as the half-cheetahs of the agents with a memory.
    "long": SB3Config(total_timesteps=10_000_000),
    # As many steps as RL²'s preset of that name.
    "pendulum": SB3Config(total_timesteps=1_500_000, n_envs=32, ppo=PPOConfig(learning_rate=1e-3, gamma=0.95)),
    "ml1": SB3Config(total_timesteps=500_000, n_envs=16),
    # Tried on HalfCheetahVel: narrow networks and an update for every four steps, which one CPU thread keeps up with.
    "sac": SB3Config(
        algorithm="sac",
        total_timesteps=400_000,
        n_envs=32,
        sac=SACConfig(learning_rate=7e-4, gamma=0.98, gradient_steps=8, net_arch=(128, 128)),
    ),
}

USES: dict[str, tuple[str, float]] = {  # preset -> what it is for, and the minutes of a seed on one core
    "default": ("small families, by PPO", 3),
    "long": ("MuJoCo families, by PPO", 45),
    "pendulum": ("Pendulum, by PPO", 7),
    "ml1": ("ML1, in episodes of 150 steps, by PPO", 13),
    "sac": ("half-cheetahs, by SAC", 24),
}
