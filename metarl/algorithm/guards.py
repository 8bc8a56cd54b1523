"""Checks before an agent trains: of its family, config and numbers, and that its tasks were not swapped."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from metarl.core.errors import MetaRLError, shown
from metarl.family.base import TaskFamily


def check_arguments(agent: type, family: Any, config: Any, config_class: type, seed: Any) -> None:
    """Raise where the arguments of an agent's constructor are of another type than it takes."""
    chosen = isinstance(family, gymnasium.Env) and not getattr(family.unwrapped, "is_plain", True)
    if chosen or isinstance(family, VectorEnv | VecEnv):
        raise MetaRLError(
            f"{agent.__name__} collects on a family's training tasks by itself and was given a "
            f"{type(family).__name__}; give it the family, or its id."
        )
    if config is not None and not isinstance(config, config_class):
        raise MetaRLError(
            f"{agent.__name__}(config={shown(config)}): give a {config_class.__name__}, or none for the default."
        )
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise MetaRLError(f"{agent.__name__}(seed={shown(seed)}): give an integer.")


def check_amounts(total: Any, log_interval: Any) -> None:
    """Raise where a number of steps to train, or of iterations between two rows of the log, is none."""
    if not isinstance(total, int | float | np.number) or not 1 <= total < math.inf:
        raise MetaRLError(f"total_timesteps={shown(total)}: give an integer; training takes at least one step.")
    if not isinstance(log_interval, int | np.integer) or log_interval < 1:
        raise MetaRLError(f"log_interval={shown(log_interval)}: give an integer of at least 1, of iterations.")


def check_split(family: TaskFamily, wanted: str) -> None:
    """Raise where the family's tasks are no longer those with the hash ``wanted``: a callback can swap them."""
    if (found := family.splits.hash) != wanted:
        raise MetaRLError(
            f"The split of {family.name} is another than this agent was made with ({found}, not {wanted}): its tasks "
            "were swapped. Nothing was trained on them; make a new agent for another split."
        )
