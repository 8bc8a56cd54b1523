"""Configuration of PEARL and its presets."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from metarl.core.config import Count, Discount, Fraction, NonNegative, Positive, at_least, between, check_config
from metarl.core.plugins import ENCODERS, plugin_field


@dataclass(frozen=True, kw_only=True)
class PEARLConfig:
    """Settings of PEARL: the defaults are for small families in the plane, ``PRESETS`` holds others."""

    total_timesteps: Count = 10_000_000  # environment steps of training
    schedule_timesteps: Count | None = None  # steps over which schedules run; all of training unless given
    train_tasks: Count = 100  # distinct training tasks, each with a replay of its own
    tasks: int = 20  # tasks of which an iteration collects a trial
    prior_episodes: Count = 1  # first episodes of a trial, whose z is drawn from the prior: exploration
    posterior_episodes: Annotated[int, at_least(0)] = 4  # further episodes of a training trial, z inferred before each
    # Steps after which z is inferred again while an episode lasts, from the first one on; 0 keeps z for an episode.
    refine_every: Annotated[int, at_least(0)] = 0

    latent: Count = 5  # dimensions of z
    # module:Name that makes a torch module for an observation's shape, whose features all networks are given
    observation_encoder: str = plugin_field("", ENCODERS)
    pooling: Literal["product", "mean", "attention"] = "product"  # how the encodings of transitions are combined
    encoder: tuple[Count, ...] = (64, 64)  # widths of the encoder's hidden layers
    hidden: tuple[Count, ...] = (64, 64)  # widths of the hidden layers of the policy, the critics and the value
    next_observation: bool = False  # whether the encoder is given the next observation
    prior_factor: bool = True  # whether the prior is a factor of the product; else it only holds before any data
    kl_coef: NonNegative = 0.0015  # weight of a task's KL to the prior, beside the squared error of scaled rewards

    context: Literal["episodes", "transitions"] = "episodes"  # whole episodes of a trial, or transitions of exploration
    context_trials: Count = 3  # last trials of a task that contexts are drawn from
    context_size: Count = 100  # transitions of a context, where it is drawn from those of exploration episodes
    # Share of contexts from which episodes with a reward are left out, so that failures alone come to say something.
    failed_contexts: Fraction = 0.0
    dense_reward: str | None = None  # extra that actor and critics learn from; contexts hold the reward itself

    replay: Count = 10_000  # transitions kept of each task
    updates: Annotated[int, at_least(0)] = 200  # updates of an iteration
    meta_batch: int = 20  # tasks of an update
    batch: Count = 32  # transitions of each task of an update
    gamma: Discount = 0.9  # discount of rewards
    alpha: Positive = 0.01  # weight of the entropy, or its initial value where it is tuned
    tune_alpha: bool = False  # whether it is tuned: to an entropy of -1 an action's axis, or of .98 log n for n choices
    reward_scale: Positive = 1.0  # factor on the rewards that actor and critics learn from
    tau: Discount = 0.01  # share of the way that the target networks take at each update
    value_network: bool = False  # whether a state value has the target, as in the paper's code; else the critics have
    regularisation: NonNegative = 1e-3  # weight of the squares of the policy's outputs
    learning_rate: Positive = 1e-3  # Adam's step size
    final_learning_rate: Fraction = 0.1  # fraction of the step size left at the end, falling linearly

    def __post_init__(self) -> None:
        check_config(self, {name: between(1, self.train_tasks) for name in ("tasks", "meta_batch")})


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

USES: dict[str, tuple[str, float]] = {  # preset -> what it is for, and the minutes of a seed on one core
    "default": ("small families in the plane", 90),
    "point": ("PointNavigation in trials of ten", 54),
    "semicircle": ("SparseSemicircle", 35),
    "cheetah": ("half-cheetahs on a CPU", 48),
    "locomotion": ("MuJoCo families as in the paper", 3300),
}
