"""Configuration of the agents that Stable-Baselines3 trains; its fields have SB3's names."""

from dataclasses import dataclass, field
from typing import Literal

from metarl.core.config import Limit, above, at_least, between, check_config
from metarl.core.errors import MetaRLError

Activation = Literal["tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """SB3's PPO, its networks small and its inputs normalised."""

    learning_rate: float = 3e-4
    n_steps: int = 128  # of each environment between two updates
    batch_size: int = 1024
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    log_std_init: float = 0.0  # in the policy's [-1, 1]
    net_arch: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    normalise_observations: bool = True  # by VecNormalize's running statistics, which evaluation applies too
    normalise_rewards: bool = True  # in training only

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "learning_rate": above(0),
                "n_steps": at_least(1),
                "batch_size": at_least(2),  # the advantages of a batch are normalised
                "n_epochs": at_least(1),
                "gamma": above(0, up_to=1),
                "gae_lambda": between(0, 1),
                "clip_range": above(0),
                "ent_coef": at_least(0),
                "vf_coef": at_least(0),
                "max_grad_norm": above(0),
                "net_arch": at_least(1),
            },
        )


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """SB3's SAC."""

    learning_rate: float = 3e-4
    buffer_size: int = 1_000_000  # transitions, of all environments together
    learning_starts: int = 10_000  # environment steps of random actions before the first update
    batch_size: int = 256
    tau: float = 0.005
    gamma: float = 0.99
    train_freq: int = 1  # steps of all environments between two rounds of updates
    gradient_steps: int = 16  # updates a round; -1 for one for each step of all environments
    ent_coef: float | Literal["auto"] = "auto"  # learned towards minus the number of action dimensions
    net_arch: tuple[int, ...] = (256, 256)
    activation: Activation = "relu"
    log_every: int = 5_000  # environment steps between two rows of the log, and the most that a kill costs

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "learning_rate": above(0),
                "buffer_size": at_least(1),
                "learning_starts": at_least(0),
                "batch_size": at_least(1),
                "tau": above(0, up_to=1),
                "gamma": above(0, up_to=1),
                "train_freq": at_least(1),
                "gradient_steps": Limit("at least 1, or -1", lambda value: value >= 1 or value == -1),
                "ent_coef": Limit("at least 0 where it is a number", lambda value: value == "auto" or value >= 0),
                "net_arch": at_least(1),
                "log_every": at_least(1),
            },
        )


@dataclass(frozen=True, kw_only=True)
class SB3Config:
    """Which of SB3's algorithms trains, for how long and on how many environments; ``ppo`` or ``sac`` says how."""

    algorithm: Literal["ppo", "sac"] = "ppo"
    total_timesteps: int = 2_000_000  # environment steps of training
    n_envs: int = 64  # side by side, each on a task of its own that changes with every episode
    ppo: PPOConfig = field(default_factory=PPOConfig)
    sac: SACConfig = field(default_factory=SACConfig)

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "total_timesteps": at_least(1),
                "n_envs": at_least(1),
            },
        )
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
    # Tried on HalfCheetahVel: narrow networks and an update for every four steps, which one CPU thread keeps up with.
    "sac": SB3Config(
        algorithm="sac",
        total_timesteps=400_000,
        n_envs=32,
        sac=SACConfig(learning_rate=7e-4, gamma=0.98, gradient_steps=8, net_arch=(128, 128)),
    ),
}
