"""The settings that our agents take part with: a preset for each family, and what differs from it.

The protocol fixes what is asked; a recipe is the agent's own, and anybody's may be better.
"""

from collections.abc import Sequence
from typing import Any

from metarl.algorithm.registry import agent_class
from metarl.core.config import changed_config
from metarl.core.errors import MetaRLError
from metarl.suite.protocol import VERSION, Cell

# Entries that are another agent with other settings.
VARIANTS = {"rl2-hypernetwork": ("rl2", "hypernetwork=1")}

# Without wide noise, a bonus for it and a short horizon, PPO settles on one ray of the sparse semicircle.
_SEARCH = "episodes=5 gamma=0.9 entropy_coef=0.01 initial_std=1.0"
_BELIEF = "normalise_beliefs=True head=128,128"  # of VariBAD
_SHORT = "tasks=128 epochs=4 vae_updates=3"  # of VariBAD, for a fifth of the time
# Of MAML and fine-tuning where a task has one episode at a time: a baseline of all tasks, and many updates.
_FEW = "episodes=1 gae_lambda=0.95 learning_rate=1e-3 baseline=shared"
_SWING = f"{_FEW} tasks=16 gamma=0.95 epochs=32 initial_std=0.7"  # on the Pendulum
_PPO = "default n_envs=128 ppo.n_steps=64 ppo.batch_size=2048 ppo.n_epochs=6"
_SB3 = dict.fromkeys(("PointNavigation", "SparseSemicircle", "GridNavi", "BernoulliBandit", "RuleGrid"), _PPO)
_SB3 |= {"TabularMDP": _PPO, "Pendulum": "pendulum"}
_SB3["SparseSemicircle"] += " ppo.gamma=0.9 ppo.ent_coef=0.01 ppo.learning_rate=1e-3"
_LOCOMOTION = ("HalfCheetahVel", "HalfCheetahDir", "AntDir", "Walker2dRandParams")
_METAWORLD = ("ML1-reach", "ML10")
_PEARL = "cheetah tasks=10 updates=100"
# Agent -> family -> its preset, and what differs from it; where there is none, the first preset.
RECIPES: dict[str, dict[str, str]] = {
    "maml": {
        "PointNavigation": "default episodes=5",
        "SparseSemicircle": "default episodes=5 tasks=10 gamma=0.9 gae_lambda=0.95 epochs=6",
        "GridNavi": f"default {_FEW} tasks=64 epochs=4 gamma=0.95 entropy_coef=0.01 learning_rate=3e-3",
        "BernoulliBandit": "default episodes=10 tasks=50 epochs=4",
        "RuleGrid": f"default inner_steps=1 {_FEW} gamma=0.98 tasks=32 epochs=8 entropy_coef=0.02 learning_rate=2e-3",
        "Pendulum": f"default inner_steps=1 {_SWING} inner_lr=0.03 learn_step_sizes=False learn_std_shift=False",
        "TabularMDP": "default episodes=2 tasks=100",
        **dict.fromkeys(_LOCOMOTION, "locomotion episodes=1 tasks=24"),
        **dict.fromkeys(_METAWORLD, "locomotion episodes=2 tasks=10"),
    },
    "finetune": {
        "PointNavigation": "default episodes=5",
        "SparseSemicircle": "default episodes=5 tasks=160 gamma=0.9",
        "GridNavi": "default episodes=1 tasks=512",
        "BernoulliBandit": "default episodes=20 tasks=400",
        "RuleGrid": f"default {_FEW} gamma=0.98 tasks=48 epochs=8 entropy_coef=0.02 step_sizes=0.001,0.01,0.03,0.1",
        "Pendulum": f"default {_SWING} step_sizes=0.001,0.01,0.03,0.1",
        "TabularMDP": "default episodes=2 tasks=400",
        **dict.fromkeys(_LOCOMOTION, "locomotion episodes=1 tasks=96"),
        **dict.fromkeys(_METAWORLD, "locomotion episodes=2 tasks=20"),
    },
    "rl2": {
        "PointNavigation": "default episodes=10 tasks=24 entropy_coef=0.01",
        "SparseSemicircle": f"default {_SEARCH} tasks=32 final_learning_rate=0.1",
        "GridNavi": "default",
        "BernoulliBandit": "bandit tasks=256",
        "RuleGrid": "rule-grid tasks=96",
        "Pendulum": "pendulum episodes=2 tasks=16",
        "TabularMDP": "tabular tasks=128",
        **dict.fromkeys(_LOCOMOTION, "locomotion tasks=32"),
        **dict.fromkeys(_METAWORLD, "ml1"),
    },
    # A hypernetwork makes a matrix from wide memories for every step and trial, so here all is narrow.
    "rl2-hypernetwork": {"RuleGrid": "rule-grid tasks=96 width=32 embedding=64 head=32"},
    "varibad": {
        "PointNavigation": "default tasks=32 epochs=4 vae_updates=10 episodes=4 entropy_coef=0.01",
        "SparseSemicircle": f"semicircle {_SEARCH} {_BELIEF} tasks=64 epochs=4 vae_updates=8 "
        "decoder_input=next_observation",
        "GridNavi": f"default {_BELIEF} epochs=4 vae_updates=10 latent=10",
        "BernoulliBandit": f"default {_BELIEF} tasks=128 epochs=4 vae_updates=12 latent=10 head=64,64 embedding=0 "
        "gamma=0.99 gae_lambda=0.85 learning_rate=2e-3 entropy_coef=0.04",
        # Decoding the next observation too, for the rules show there, and many steps of a policy that sees the belief.
        "RuleGrid": f"default {_BELIEF} epochs=4 minibatches=32 vae_updates=6 state_coef=1.0 latent=16 width=128 "
        "embedding=128 gamma=0.98",
        "Pendulum": f"default {_BELIEF} tasks=16 epochs=8 vae_updates=20 vae_tasks=16 normalise_observations=True "
        "state_coef=10.0 initial_std=1.0",
        "TabularMDP": f"default {_SHORT} gamma=0.99 width=128 state_coef=1.0",
        **dict.fromkeys(_LOCOMOTION, f"default {_SHORT} tasks=32 episodes=2 normalise_observations=True gamma=0.97"),
        **dict.fromkeys(_METAWORLD, f"default {_SHORT} tasks=16 vae_tasks=16 episodes=2 normalise_observations=True"),
    },
    "pearl": {
        "PointNavigation": "point updates=100",
        "SparseSemicircle": "semicircle tasks=20 updates=150",
        "GridNavi": "default train_tasks=21 tasks=20 posterior_episodes=3 updates=20 refine_every=3",
        "BernoulliBandit": "default train_tasks=500 tasks=200 prior_episodes=5 posterior_episodes=95 updates=50",
        "RuleGrid": "default train_tasks=500 tasks=40 posterior_episodes=3 updates=40 gamma=0.98",
        "Pendulum": "default tasks=10 posterior_episodes=1 updates=50 gamma=0.95 reward_scale=0.1 tune_alpha=True "
        "refine_every=10",
        "TabularMDP": "default train_tasks=500 tasks=100 posterior_episodes=9 updates=50 gamma=0.99",
        **dict.fromkeys(_LOCOMOTION, _PEARL),
        "HalfCheetahDir": f"{_PEARL} train_tasks=2 tasks=2 meta_batch=2",
        **dict.fromkeys(_METAWORLD, _PEARL),
    },
    "multitask": _SB3,
    "oracle": _SB3,
}


def agent_of(entry: str) -> str:
    """Return the agent of an entry: its name, or ``module:Class``."""
    return VARIANTS.get(entry, (entry, ""))[0]


def recipe(entry: str, cell: Cell, options: Sequence[str] = ()) -> Any:
    """Return the config that an entry is trained with on a cell.

    Args:
        entry: an agent's name, ``module:Class``, or one of ``VARIANTS``.
        cell: of the protocol.
        options: ``"field=value"``, which come last.
    """
    name, own = VARIANTS.get(entry, (entry, ""))
    presets = agent_class(name).presets
    made = {**RECIPES.get(name, {}), **RECIPES.get(entry, {})}.get(cell.name, next(iter(presets)))
    preset, *changes = made.split()
    first = f"total_timesteps={cell.steps}"
    config = changed_config(presets[preset], [first, *changes, *own.split(), *options])
    if config.total_timesteps != cell.steps:
        raise MetaRLError(
            f"total_timesteps={config.total_timesteps:,}: protocol {VERSION} trains for {cell.steps:,} steps on "
            f"{cell.name}."
        )
    return config
