"""Choosing among adapted policies by the return of episodes on the task: the super learner's choice for policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from metarl.adapt.selection import selected
from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.core.errors import MetaRLError
from metarl.core.types import State
from metarl.rollout.single import check_spaces, episode_limit


@dataclass(frozen=True)
class PolicySelection:
    """The policy with the greatest mean return on a task, and what all of them earned."""

    policy: AdaptedPolicy
    index: int  # of that policy among the given ones
    returns: NDArray[np.float64]  # (policy, episode)


def select_policy(
    policies: Sequence[AdaptedPolicy], env: "gymnasium.Env[Any, Any]", episodes: int = 5, seed: int = 0
) -> PolicySelection:
    """Play episodes of a task with each policy, and return the one that earns most.

    Policies may be of one agent after more or less data, of its settings, or of several agents; all play the same
    episodes, as far as the environment's seed decides them, without exploration noise. One that learns while it acts
    goes on to learn from episode to episode, and each begins as it was given.

    Args:
        policies: adapted to the task, such as ``agent.adapt(env)``; ``agent.policy()`` is one before any data.
        env: of the task.
        episodes: played with each.
        seed: of the environment before each policy's first episode.

    Returns:
        the policy, its index, and the returns ``(policy, episode)``.

    Raises:
        MetaRLError: where there is no policy or no episode, or spaces do not fit.
    """
    if not policies or episodes < 1:
        raise MetaRLError(f"{len(policies)} policies and episodes={episodes}: give at least one of each.")
    for policy in policies:
        check_spaces(env, policy.observation_space, policy.action_space)
    returns = np.array([_played(policy, env, episodes, seed) for policy in policies])
    best = selected(-returns)
    return PolicySelection(policies[best], best, returns)


def _played(policy: AdaptedPolicy, env: "gymnasium.Env[Any, Any]", episodes: int, seed: int) -> list[float]:
    """Return the return of each of some episodes."""
    limit, returns = episode_limit(env, policy.family.horizon), list[float]()
    state: State | None = None
    reward: float | None = None
    for episode in range(episodes):
        observation, _ = env.reset(seed=None if episode else seed)
        total, over, steps = 0.0, False, 0
        while not over:
            action, state = policy.predict(observation, state, not steps, deterministic=True, reward=reward)
            observation, earned, terminated, truncated, _ = env.step(action)
            reward, steps = float(earned), steps + 1
            total, over = total + reward, terminated or truncated or steps == limit
        if policy.learner.online:  # the end of an episode is taken in with the observation that it led to
            _, state = policy.predict(observation, state, episode_start=True, deterministic=True, reward=reward)
            reward = None
        returns.append(total)
    return returns
