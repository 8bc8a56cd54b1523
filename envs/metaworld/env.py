"""An environment that is any of Meta-World's, whichever the task asks for."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl.envs.metaworld.benchmarks import env_names, metaworld_task
from metarl.envs.metaworld.package import metaworld

Array = NDArray[np.float64]
Idle = dict[int, list[Any]]


class MetaWorldEnv(gymnasium.Env[Array, Array]):
    """One of metaworld's environments at a time, and behind its observation, if asked for, the one-hot of which it is.

    Args:
        numbers: of the environments that tasks are of, in the order of the one-hot.
        reward: version of the reward, "v1" or "v2".
        observes_goal: whether the observation has the goal, or zeros in its place.
        one_hot: whether the observation ends with the one-hot.
        idle: metaworld's environments that nobody plays now, by number; making one takes as long as 50 steps.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(self, numbers: list[int], reward: str, *, observes_goal: bool, one_hot: bool, idle: Idle) -> None:
        self._numbers, self._reward, self._observes_goal, self._idle = numbers, reward, observes_goal, idle
        self._one_hot = np.zeros(len(numbers) if one_hot else 0)
        self._picture: tuple[Any, Any] | None = None  # of which of metaworld's environments
        self._playing, self._env = numbers[0], self._lent(numbers[0])
        space = self._env.sawyer_observation_space
        low, high = space.low.copy(), space.high.copy()
        low[-3:], high[-3:] = -np.inf, np.inf  # of the goal: each environment has others, and where it is hidden none
        ones = np.ones_like(self._one_hot)
        self.observation_space = Box(np.append(low, 0 * ones), np.append(high, ones), dtype=np.float64)
        self.action_space = self._env.action_space

    def set_task(self, row: Array) -> None:
        """Put the environment on a task ``(1 + 6,)``, from its next reset on."""
        number = int(row[0])
        if number != self._playing:
            self._idle.setdefault(self._playing, []).append(self._env)
            self._playing, self._env = number, self._lent(number)
        size = self._env._random_reset_space.low.size
        self._env.set_task(metaworld_task(row, size, observes_goal=self._observes_goal))
        self._one_hot[:] = 0
        self._one_hot[[self._numbers.index(number)] if len(self._one_hot) else []] = 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode, which the task alone decides: nothing is drawn."""
        super().reset(seed=seed)
        observation, info = self._env.reset()
        return np.append(observation, self._one_hot), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take a step of metaworld's environment."""
        observation, reward, terminated, truncated, info = self._env.step(action)
        return np.append(observation, self._one_hot), reward, terminated, truncated, info

    def render(self) -> Any:
        """Return the picture of one of metaworld's cameras."""
        from metarl.envs.metaworld.picture import Picture  # graphics are looked for where there are pictures

        if self._picture is None or self._picture[0] is not self._env:
            self._free()
            self._picture = self._env, Picture(self._env.model)
        return self._picture[1].draw(self._env.data)

    def close(self) -> None:
        """Close the environment that is played now."""
        self._free()
        self._env.close()

    def _free(self) -> None:
        if self._picture is not None:
            self._picture[1].close()
            self._picture = None

    def _lent(self, number: int) -> Any:
        waiting = self._idle.get(number)
        if waiting:
            return waiting.pop()
        cls = metaworld().ALL_V3_ENVIRONMENTS[env_names()[number]]
        return cls(reward_function_version=self._reward)
