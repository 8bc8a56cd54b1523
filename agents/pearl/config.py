"""Configuration of PEARL and its presets."""

from dataclasses import dataclass, replace
from typing import Literal

from metarl.core.config import above, at_least, between, check_config


@dataclass(frozen=True, kw_only=True)
class PEARLConfig:
    """PEARL. The defaults are for small families in the plane; ``PRESETS`` holds others."""

    total_timesteps: int = 10_000_000  # environment steps of training
    train_tasks: int = 100  # distinct training tasks, each with a replay of its own
    tasks: int = 20  # of an iteration's trials
    prior_episodes: int = 1  # of a trial, z from the prior: exploration, in training and in evaluation
    posterior_episodes: int = 4  # of a training trial, z inferred anew after each

    latent: int = 5
    pooling: Literal["product", "mean", "attention"] = "product"  # of what transitions say
    encoder: tuple[int, ...] = (64, 64)  # hidden layers
    hidden: tuple[int, ...] = (64, 64)  # of the policy, of the critics and of the value
    next_observation: bool = False  # in the context
    prior_factor: bool = True  # of a product: the prior is one of its factors; else it only holds before any data
    kl_coef: float = 0.0015  # on a task's KL, a mean over tasks, beside the squared error of scaled rewards

    context: Literal["episodes", "transitions"] = "episodes"
    context_trials: int = 3  # last trials of a task that contexts are drawn from
    context_size: int = 100  # transitions, where a context is drawn from those of exploration episodes
    dense_reward: str | None = None  # an extra that actor and critics learn from; contexts hold the reward itself

    replay: int = 10_000  # transitions of each task
    updates: int = 200  # an iteration
    meta_batch: int = 20  # tasks an update
    batch: int = 32  # transitions of each
    gamma: float = 0.9
    alpha: float = 0.01  # entropy's weight
    tune_alpha: bool = False  # so that the entropy is minus one for each dimension of the action
    reward_scale: float = 1.0
    tau: float = 0.01  # of the targets
    value_network: bool = False  # a state value and its target, as the paper's code has it; else targets of the critics
    regularisation: float = 1e-3  # on the squares of the policy's means and log standard deviations
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.1  # fraction left at the end, falling linearly

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "total_timesteps": at_least(1),
                "train_tasks": at_least(1),
                "tasks": between(1, self.train_tasks),
                "prior_episodes": at_least(1),
                "posterior_episodes": at_least(0),
                "latent": at_least(1),
                "encoder": at_least(1),
                "hidden": at_least(1),
                "kl_coef": at_least(0),
                "context_trials": at_least(1),
                "context_size": at_least(1),
                "replay": at_least(1),
                "updates": at_least(0),
                "meta_batch": between(1, self.train_tasks),
                "batch": at_least(1),
                "gamma": above(0, up_to=1),
                "alpha": above(0),
                "reward_scale": above(0),
                "tau": above(0, up_to=1),
                "regularisation": at_least(0),
                "learning_rate": above(0),
                "final_learning_rate": between(0, 1),
            },
        )


_LITERATURE = PEARLConfig(
    total_timesteps=2_000_000,
    tasks=5,
    prior_episodes=2,
    posterior_episodes=3,
    encoder=(200, 200, 200),
    hidden=(300, 300, 300),
    prior_factor=False,
    kl_coef=1.6,
    context="transitions",
    context_trials=1,
    replay=50_000,
    updates=2000,
    meta_batch=16,
    batch=256,
    gamma=0.99,
    alpha=1.0,
    reward_scale=5.0,
    tau=0.005,
    value_network=True,
    learning_rate=3e-4,
    final_learning_rate=1.0,
)

PRESETS: dict[str, PEARLConfig] = {
    "default": PEARLConfig(),
    "point": PEARLConfig(total_timesteps=1_200_000, posterior_episodes=9),
    # A trial of every training task in each iteration.
    "semicircle": PEARLConfig(
        train_tasks=80, tasks=80, prior_episodes=5, posterior_episodes=15, dense_reward="dense_reward"
    ),
    # For one core: narrow networks, an update for every five steps, and entropy tuned where the paper scales rewards.
    "cheetah": replace(
        _LITERATURE,
        total_timesteps=400_000,
        tasks=10,
        updates=1500,
        encoder=(128, 128),
        hidden=(128, 128),
        prior_factor=True,
        kl_coef=0.05,
        replay=10_000,
        batch=64,
        gamma=0.98,
        alpha=0.2,
        tune_alpha=True,
        reward_scale=1.0,
        value_network=False,
        learning_rate=7e-4,
        final_learning_rate=0.2,
    ),
    # Oyster's half-cheetah. Its code sums the KL over 16 tasks: .1 there is 1.6 on their mean.
    "locomotion": _LITERATURE,
}
