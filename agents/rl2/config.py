"""Configuration of RL² and its presets."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from metarl.adapt.memory.registry import check_memory
from metarl.core.config import Count, Discount, Fraction, NonNegative, Positive, at_least, between, check_config
from metarl.core.plugins import ENCODERS, MEMORIES, plugin_field


@dataclass(frozen=True, kw_only=True)
class RL2Config:
    """Settings of RL²: the defaults are our recipe for GridNavi, ``PRESETS`` holds those for other families."""

    total_timesteps: Count = 3_000_000  # environment steps of training
    schedule_timesteps: Count | None = None  # steps over which schedules run; all of training unless given
    tasks: Count = 128  # trials collected in an iteration, each on a task of its own
    episodes: Count | None = None  # episodes of a trial; as many as the family says unless given

    memory: str = plugin_field("gru", MEMORIES)  # gru, lstm, transformer, external, snail, or module:Class
    memory_options: tuple[str, ...] = ()  # field=value of the memory's own config, where not its default
    encoder: str = plugin_field("", ENCODERS)  # module:Name that makes a torch module for an observation's shape
    width: Count = 64  # numbers that are read from the memory
    embedding: Annotated[int, at_least(0)] = 64  # width of the layer before the memory; 0 for none
    head: tuple[Count, ...] = (64,)  # widths of the hidden layers of policy and value; none for linear heads
    hypernetwork: int = 0  # first layers of the heads whose weights the memory makes
    activation: Literal["tanh", "relu"] = "tanh"  # nonlinearity of the heads
    initial_std: Positive = 0.6  # standard deviation of a Gaussian policy before training, in its [-1, 1]
    squash: bool = False  # whether actions go through tanh; else they are clipped after their log-probability was taken
    normalise_observations: bool = False  # whether observations are standardised by running statistics
    normalise_rewards: bool = True  # whether the memory sees standardised rewards, and PPO returns of deviation 1

    dense_reward: str | None = None  # extra that PPO learns from at first, in the reward's place
    dense_until: Fraction = 0.5  # share of the training at which its weight, falling linearly, has come to zero

    gamma: Discount = 0.95  # discount of a step
    gae_lambda: Fraction = 0.95  # λ of generalised advantage estimation
    learning_rate: Positive = 1e-3  # Adam's at the start
    final_learning_rate: Fraction = 0.02  # fraction of it at the end, after a linear decay
    epochs: Count = 4  # passes over an iteration's trials
    minibatches: int = 4  # parts of whole trials that a pass is made in
    clip: Positive = 0.2  # PPO's clipping range of the likelihood ratio (Schulman et al. 2017, equation 7)
    value_coef: NonNegative = 0.5  # weight of the value's Huber loss
    entropy_coef: NonNegative = 0.03  # weight of the policy's entropy at the start
    final_entropy: Fraction = 0.0  # fraction of it at the end, after a linear decay
    max_grad_norm: Positive = 0.5  # norm to which greater gradients are scaled

    def __post_init__(self) -> None:
        check_config(self, {"minibatches": between(1, self.tasks)})
        check_config(self, {"hypernetwork": between(0, len(self.head) + 1)})  # once head is known to be what it should
        check_memory(self.memory, self.width, self.memory_options)


# A pull's reward is mostly noise, and so is what follows: a shorter trace learns in a third of the pulls that .95
# takes, and .3 gets stuck. With an entropy of .01 it is sure too soon: k = 10 stops at 80.0.
_BANDIT = RL2Config(
    total_timesteps=50_000_000,
    tasks=512,
    embedding=0,
    gamma=0.99,
    gae_lambda=0.85,
    epochs=3,
    learning_rate=2e-3,
    entropy_coef=0.04,
)

_RULE_GRID = RL2Config(
    total_timesteps=15_000_000, tasks=256, width=128, embedding=128, head=(128,), gamma=0.98, entropy_coef=0.03
)

# Meta-World's ML1 on one core, which steps 700 times a second: few trials in an iteration, many updates.
_ML1 = RL2Config(
    total_timesteps=1_000_000,
    tasks=16,
    episodes=2,
    gamma=0.97,
    normalise_observations=True,
    entropy_coef=0.002,
)

PRESETS: dict[str, RL2Config] = {
    "default": RL2Config(),
    "bandit": _BANDIT,
    # More arms are more to remember: in 64 numbers k = 10 stood at 82.3 after 59 million pulls.
    "bandit-wide": replace(_BANDIT, width=128, total_timesteps=80_000_000),
    "bandit-10": replace(
        _BANDIT, total_timesteps=10_000_000, tasks=1024, episodes=10, gae_lambda=0.95, entropy_coef=0.02
    ),
    # What was paid for an action in this state has to be looked up: attention finds it, and a GRU stays at 123.
    "tabular": RL2Config(
        total_timesteps=36_000_000,
        tasks=256,
        memory="transformer",
        memory_options=("layers=1",),
        embedding=128,
        head=(128,),
        activation="relu",
        gamma=0.99,
        gae_lambda=0.9,
        epochs=3,
        entropy_coef=0.02,
    ),
    "control": RL2Config(
        total_timesteps=2_000_000,
        tasks=64,
        episodes=2,
        normalise_observations=True,
        gamma=0.99,
        entropy_coef=0.01,
    ),
    "locomotion": RL2Config(
        total_timesteps=10_000_000,
        tasks=64,
        episodes=2,
        gamma=0.97,
        gae_lambda=0.9,
        normalise_observations=True,
        learning_rate=7e-4,
        entropy_coef=0.001,
    ),
    "ml1": _ML1,
    # Its reward tells the distance to the goal at every step, so that there is all to learn in a single episode.
    "ml1-reach": replace(_ML1, total_timesteps=1_500_000, episodes=1, gamma=0.95),
    # Wide noise at the start, or a seed may settle for a balance of the pendulum that no gravity upsets.
    "pendulum": RL2Config(total_timesteps=1_500_000, tasks=16, initial_std=1.0),
    "rule-grid": _RULE_GRID,
    "rule-attention": replace(
        _RULE_GRID,
        total_timesteps=8_000_000,
        tasks=128,
        width=64,
        memory="transformer",
        memory_options=("layers=1",),
    ),
}

USES: dict[str, tuple[str, float]] = {  # preset -> what it is for, and the minutes of a seed on one core
    "default": ("small families, GridNavi for one", 3),
    "bandit": ("BernoulliBandit of five arms", 20),
    "bandit-wide": ("BernoulliBandit of ten arms and more", 63),
    "bandit-10": ("BernoulliBandit in trials of ten pulls", 6),
    "tabular": ("TabularMDP", 52),
    "control": ("classic control, CartPole for one", 3.5),
    "locomotion": ("MuJoCo families", 25),
    "ml1": ("ML1, in episodes of 150 steps", 37),
    "ml1-reach": ("ML1's reach, in episodes of 150 steps", 28),
    "pendulum": ("Pendulum of hidden gravity and sign", 6),
    "rule-grid": ("RuleGrid", 23),
    "rule-attention": ("RuleGrid, by attention", 48),
}
