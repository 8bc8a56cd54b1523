"""Episodes from other sources, a robot's log say, as a trajectory to adapt to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.actions import ActionMap, parts
from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory


class Recorded(Protocol):
    """The attributes that an episode needs; Minari's ``EpisodeData`` (minari.farama.org) has them too."""

    @property
    def observations(self) -> Any:
        """Return the observations ``(T + 1, *observation)``."""

    @property
    def actions(self) -> Any:
        """Return the actions ``(T, *action)`` in the environment's own units."""

    @property
    def rewards(self) -> Any:
        """Return the rewards ``(T,)``."""


@dataclass(frozen=True)
class Episode:
    """An episode of T recorded steps, as arrays or lists of what an environment took and gave."""

    observations: ArrayLike  # (T + 1, *observation): what the first action was chosen by, ..., what the last led to
    actions: Any  # (T, *action) in the environment's own units; of a Tuple space a pair (T,) and (T, axes)
    rewards: ArrayLike  # (T,)
    terminations: ArrayLike | None = None  # (T,) bool: whether the task itself ended there; none did unless given


def recorded_trajectory(
    episodes: Sequence[Recorded], observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> Trajectory:
    """Return one task's episodes, in the order that they were played, as a trajectory.

    Raises, with the number of the episode, for what does not fit the spaces.
    """
    readers = [_Reader(f"Episode {i}", each, observation_space, action_space) for i, each in enumerate(episodes)]
    return Trajectory.concatenate([reader.read() for reader in readers])


@dataclass(frozen=True)
class _Reader:
    """One episode, and how complaints name it."""

    name: str
    episode: Recorded
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]

    def read(self) -> Trajectory:
        rewards = self._array("rewards", self.episode.rewards, ())
        n = len(rewards)
        if not n:
            raise MetaRLError(f"{self.name} has no steps; leave it out.")
        seen = torch.from_numpy(
            self._array("observations", self.episode.observations, self.observation_space.shape, n + 1)
        )
        given = getattr(self.episode, "terminations", None)
        ends = np.zeros(n, np.bool_) if given is None else self._array("terminations", given, (), n).astype(np.bool_)
        if ends[:-1].any():
            raise MetaRLError(
                f"{self.name} goes on after it terminated at step {int(ends.argmax())}; cut it there, and give the "
                "rest as an episode of its own."
            )
        action = ActionMap(self.action_space, "cpu", torch.float32).from_env(torch.from_numpy(self._actions(n)))
        terminated = torch.from_numpy(ends)
        return Trajectory(
            observation=seen[None, None, None, :n],
            action=action[None, None, None],
            reward=torch.from_numpy(rewards)[None, None, None],
            terminated=terminated[None, None, None],
            truncated=((torch.arange(n) == n - 1) & ~terminated)[None, None, None],
            valid=torch.ones(1, 1, 1, n, dtype=torch.bool),
            final_observation=seen[None, None, None, n],
            episode_noise=torch.zeros(1, 1, 0),
        )

    def _actions(self, n: int) -> NDArray[Any]:
        """As rows of an engine's actions."""
        space, given = self.action_space, self.episode.actions
        discrete, box = parts(space)
        if discrete is None:
            return self._array("actions", given, space.shape, n)
        if box is None:
            rows: NDArray[Any] = self._array("actions", given, (), n)
        elif isinstance(given, tuple) and len(given) == 2:
            chosen, vector = self._array("actions", given[0], (), n), self._array("actions", given[1], box.shape, n)
            rows = np.concatenate([chosen[:, None], vector], 1)
        else:
            rows = self._array("actions", given, (1 + box.shape[0],), n)
        chosen = rows if box is None else rows[:, 0]
        wrong = [index for index in chosen if index != int(index) or not discrete.contains(int(index))]
        if wrong:
            raise MetaRLError(f"{self.name}: action {wrong[0]:g} is none of {discrete}.")
        return rows.astype(np.int64) if box is None else rows

    def _array(self, what: str, given: Any, shape: tuple[int, ...] | None, n: int | None = None) -> NDArray[np.float32]:
        try:
            array = np.array(given, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise MetaRLError(f"{self.name}: {what} are no numbers of one shape ({error}).") from error
        wanted = ("T" if n is None else n, *(shape or ()))
        if array.ndim != len(wanted) or array.shape[1:] != wanted[1:] or (n is not None and len(array) != n):
            more = "; one more than there are rewards" if what == "observations" else ""
            raise MetaRLError(f"{self.name}: {what} have shape {array.shape}, {wanted} was expected{more}.")
        if not np.isfinite(array).all():
            raise MetaRLError(f"{self.name}: {what} hold NaN or infinity; leave such episodes out.")
        return array
