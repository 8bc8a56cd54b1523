"""Trajectories: recorded episodes with the axes (task, env, episode, step), padded and masked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Transition


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Recorded episodes, each of which begins at step 0; one that ended early is padded and not ``valid``.

    ``action`` is the policy's own, in [-1, 1] before clipping or an index; ``record`` holds what the learner's ``act``
    recorded (``log_prob``, ``value``), ``extras`` the family's named extras.
    """

    observation: Tensor  # (task, env, episode, step, *observation)
    action: Tensor  # (task, env, episode, step[, action])
    reward: Tensor  # (task, env, episode, step)
    terminated: Tensor  # (task, env, episode, step), bool
    truncated: Tensor  # (task, env, episode, step), bool
    valid: Tensor  # (task, env, episode, step), bool
    final_observation: Tensor  # (task, env, episode, *observation), after the last valid step
    episode_noise: Tensor  # (task, episode, n)
    record: dict[str, Tensor] = field(default_factory=dict)  # (task, env, episode, step, ...)
    extras: dict[str, Tensor] = field(default_factory=dict)  # (task, env, episode, step, ...)

    @property
    def n_tasks(self) -> int:
        """Return the number of task rows."""
        return self.reward.shape[0]

    @property
    def n_envs(self) -> int:
        """Return the number of environments side by side per task."""
        return self.reward.shape[1]

    @property
    def n_episodes(self) -> int:
        """Return the number of consecutive episodes."""
        return self.reward.shape[2]

    @property
    def n_steps(self) -> int:
        """Return the steps of the longest episode."""
        return self.reward.shape[3]

    @property
    def lengths(self) -> Tensor:
        """Return the valid steps of each episode, ``(task, env, episode)``."""
        return self.valid.sum(-1)

    @property
    def environment_steps(self) -> int:
        """Return how many steps count as interaction: the valid ones."""
        return int(self.valid.sum())

    @property
    def returns(self) -> Tensor:
        """Return the undiscounted return of each episode, ``(task, env, episode)``."""
        return self.reward.masked_fill(~self.valid, 0).sum(-1)

    def extra(self, name: str, family: str) -> Tensor:
        """Return one of the extras, ``(task, env, episode, step, ...)``.

        Raises:
            MetaRLError: where the ``family`` that was played has none of this name.
        """
        if name not in self.extras:
            raise MetaRLError(f"{family} has no extra {name!r}; it has {', '.join(self.extras) or 'none'}.")
        return self.extras[name]

    def next_observation(self) -> Tensor:
        """Return the observation after each step, the final one after the last valid step."""
        following = self.observation[:, :, :, 1:]
        shifted = torch.cat([following, torch.zeros_like(self.observation[:, :, :, :1])], 3)
        last = (self.lengths - 1).clamp(min=0)
        index = last.reshape(*last.shape, 1, *[1] * (self.observation.ndim - 4))
        index = index.expand(*last.shape, 1, *self.observation.shape[4:])
        return shifted.scatter(3, index, self.final_observation.unsqueeze(3))

    def transition(self, episode: int, step: int) -> Transition:
        """Return one step as an online learner observes it."""
        following = self.observation[:, :, episode, min(step + 1, self.n_steps - 1)]
        is_last = (self.lengths[:, :, episode] == step + 1).reshape(*self.reward.shape[:2], *[1] * (following.ndim - 2))
        return Transition(
            observation=self.observation[:, :, episode, step],
            action=self.action[:, :, episode, step],
            reward=self.reward[:, :, episode, step],
            terminated=self.terminated[:, :, episode, step],
            truncated=self.truncated[:, :, episode, step],
            next_observation=torch.where(is_last, self.final_observation[:, :, episode], following),
        )

    def filled(self) -> "Trajectory":
        """Return the trajectory with zeros in the padding, so that nothing there leaves a NaN in a gradient."""

        def fill(value: Tensor) -> Tensor:
            padding = (~self.valid).reshape(*self.valid.shape, *[1] * (value.ndim - 4))
            return value.masked_fill(padding, 0)

        return self._map(fill)

    def episodes(self) -> "Trajectory":
        """Return envs and episodes joined in one env axis, one episode each, as baselines and gradients take them."""

        def join(value: Tensor) -> Tensor:
            return value.flatten(1, 2).unsqueeze(2)

        joined = self._map(join)
        return replace(joined, final_observation=join(self.final_observation), episode_noise=self.episode_noise[:, :1])

    def trial(self) -> "Trajectory":
        """Return episodes and steps joined in one step axis, the trial as a recurrent learner sees it."""
        joined = self._map(lambda value: value.flatten(2, 3).unsqueeze(2))
        return replace(
            joined, final_observation=self.final_observation[:, :, -1:], episode_noise=self.episode_noise[:, :1]
        )

    def tasks(self, rows: Any) -> "Trajectory":
        """Return some of the task rows, by a slice, a list or an index tensor."""
        chosen: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            chosen[f.name] = {k: v[rows] for k, v in value.items()} if isinstance(value, dict) else value[rows]
        return Trajectory(**chosen)

    def envs(self, n: int) -> "Trajectory":
        """Return the first n envs of every task."""
        return replace(self._map(lambda value: value[:, :n]), final_observation=self.final_observation[:, :n])

    def cut(self, steps: int) -> "Trajectory":
        """Return the first ``steps`` steps of every episode, where what is behind them is padding."""
        return self._map(lambda value: value[:, :, :, :steps].contiguous())

    def thinned(self, stride: int) -> "Trajectory":
        """Return every ``stride``-th step of every episode, a sample of the states, no longer of transitions."""
        return self._map(lambda value: value[:, :, :, ::stride])

    def to(self, device: torch.device | str) -> "Trajectory":
        """Return the trajectory on a device."""
        moved = self._map(lambda value: value.to(device))
        return replace(
            moved, final_observation=self.final_observation.to(device), episode_noise=self.episode_noise.to(device)
        )

    def _map(self, function: Any) -> "Trajectory":
        """Apply to every tensor that has all four axes."""
        per_step = ("observation", "action", "reward", "terminated", "truncated", "valid")
        return replace(
            self,
            **{name: function(getattr(self, name)) for name in per_step},
            record={name: function(value) for name, value in self.record.items()},
            extras={name: function(value) for name, value in self.extras.items()},
        )

    @staticmethod
    def concatenate(parts: "Sequence[Trajectory]", axis: str = "episode") -> "Trajectory":
        """Join along ``task`` or ``episode``; shorter ones are padded to the longest."""
        if axis not in ("task", "episode"):
            raise MetaRLError(f"Trajectories join along 'task' or 'episode', not {axis!r}.")
        longest = max(part.n_steps for part in parts)
        parts = [part._padded(longest) for part in parts]
        dim = 0 if axis == "task" else 2

        def join(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], dict):
                return {key: torch.cat([value[key] for value in values], dim) for key in values[0]}
            return torch.cat(values, 1 if (name, dim) == ("episode_noise", 2) else dim)

        return Trajectory(**{f.name: join(f.name) for f in fields(Trajectory)})

    def _padded(self, steps: int) -> "Trajectory":
        missing = steps - self.n_steps
        if missing == 0:
            return self

        def pad(value: Tensor) -> Tensor:
            return torch.cat([value, value.new_zeros(*value.shape[:3], missing, *value.shape[4:])], 3)

        return self._map(pad)
