"""Any single Gymnasium environment as a batch of one, so that the one rollout serves it too: a real robot, say."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from metarl.core.actions import to_gymnasium
from metarl.core.errors import MetaRLError
from metarl.core.random import gymnasium_keys
from metarl.rollout.batch import Step


class GymnasiumBatch:
    """A batch of one Gymnasium environment, whose tensors are on ``device``, where the learner is.

    After its episode has ended, further steps are padding and do not reach it. An episode that is still running at the
    horizon is truncated there.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        horizon: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        reseed: bool = True,
    ) -> None:
        self.env, self.horizon, self.device = env, horizon, torch.device(device)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.keys = gymnasium_keys(seed, device=self.device)
        self._last, self._over, self._elapsed = torch.empty(0), False, 0
        self._seed: int | None = seed if reseed else None
        self._task: dict[str, Any] | None = None  # of the families' own views, which tell it

    @property
    def num_envs(self) -> int:
        """Return 1."""
        return 1

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        """Start an episode. The environment draws its own random numbers, seeded at the first reset if at all."""
        observation, info = self.env.reset(seed=self._seed)
        task = {name: np.asarray(value).tolist() for name, value in info.get("task", {}).items()}
        if self._task is not None and task != self._task:
            raise MetaRLError(
                f"The environment went from task {self._task} to {task} in the middle of the trial; make it with "
                "task=, or with episodes_per_trial= as many as are played."
            )
        self._task = task
        self._seed, self._over, self._elapsed = None, False, 0
        self._last = self._tensor(observation)
        return self._last

    def step(self, action: Tensor) -> Step:
        """Take a step; a padding step once the episode is over."""
        if self._over:
            return self._step(0.0, terminated=False, truncated=True)
        chosen = to_gymnasium(self.action_space, action[0].cpu().numpy())
        observation, reward, terminated, truncated, _ = self.env.step(chosen)
        self._elapsed += 1
        truncated = bool(truncated) or (self._elapsed >= self.horizon and not terminated)
        self._last, self._over = self._tensor(observation), bool(terminated) or truncated
        return self._step(float(reward), bool(terminated), truncated)

    def _step(self, reward: float, terminated: bool, truncated: bool) -> Step:
        r, over, out_of_time = (torch.tensor([value], device=self.device) for value in (reward, terminated, truncated))
        return Step(self._last, r, over, out_of_time, {})

    def _tensor(self, observation: Any) -> Tensor:
        return torch.as_tensor(np.array(observation, dtype=np.float32), device=self.device)[None]


def check_spaces(env: gymnasium.Env[Any, Any], observation_space: Any, action_space: Any) -> None:
    """Raise where an environment's spaces do not fit the agent's: same kind, same shape or number of actions."""
    for name, wanted, given in (
        ("observation", observation_space, env.observation_space),
        ("action", action_space, env.action_space),
    ):
        if not _alike(wanted, given):
            raise MetaRLError(
                f"The environment's {name} space {given} does not fit the agent's {wanted}; wrap it to fit."
            )


def _alike(one: gymnasium.Space[Any], other: gymnasium.Space[Any]) -> bool:
    if isinstance(one, gymnasium.spaces.Tuple) and isinstance(other, gymnasium.spaces.Tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    same_size = getattr(one, "n", None) == getattr(other, "n", None)
    return type(one) is type(other) and one.shape == other.shape and same_size


def episode_limit(env: gymnasium.Env[Any, Any], otherwise: int) -> int:
    """Return after how many steps an environment's episode ends at the latest."""
    limit = env.spec.max_episode_steps if env.spec is not None else None
    return int(limit) if limit else otherwise
