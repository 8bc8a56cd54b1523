"""Counting of episodes and steps, as every engine does it."""

import torch
from torch import Tensor


class Clock:
    """Counts the episode and the steps since its start for each of n environments.

    Both are plain integers as long as all run in lockstep, and tensors ``(environment,)`` once some were reset alone.
    """

    def __init__(self, n: int, horizon: int, device: torch.device) -> None:
        self.n, self.horizon, self.device = n, horizon, device
        self.episode: int | Tensor = 0
        self.elapsed: int | Tensor = 0
        self.never = torch.zeros(n, dtype=torch.bool, device=device)

    def restart(self, episode: int | Tensor, rows: Tensor | None) -> None:
        """Begin episode number ``episode`` in all environments, or where ``rows`` ``(environment,)`` is true."""
        if rows is None:
            self.episode, self.elapsed = episode, 0
        else:
            self.elapsed = torch.where(rows, 0, self.each(self.elapsed))
            self.episode = torch.where(rows, self.each(episode), self.each(self.episode))

    def tick(self, terminated: Tensor) -> Tensor:
        """Count a step, and return which episodes are truncated by it, ``(environment,)``.

        The result is ``never`` itself, not to be written to, as long as all run in lockstep and time is left.
        """
        self.elapsed = self.elapsed + 1
        if isinstance(self.elapsed, int) and self.elapsed < self.horizon:
            return self.never
        return (self.each(self.elapsed) >= self.horizon) & ~terminated

    def each(self, value: int | Tensor) -> Tensor:
        """Expand a count to one for each environment, ``(environment,)``."""
        if isinstance(value, Tensor):
            return value
        return torch.full((self.n,), value, dtype=torch.int64, device=self.device)
