"""When episodes began and when they run out: what every engine counts."""

import torch
from torch import Tensor


class Clock:
    """Number of the episode and steps since its start, of n environments.

    Plain integers as long as all run in lockstep, tensors ``(environment,)`` once some were reset on their own.
    """

    def __init__(self, n: int, horizon: int, device: torch.device) -> None:
        self.n, self.horizon, self.device = n, horizon, device
        self.episode: int | Tensor = 0
        self.elapsed: int | Tensor = 0
        self.never = torch.zeros(n, dtype=torch.bool, device=device)

    def restart(self, episode: int | Tensor, rows: Tensor | None) -> None:
        """Begin this episode in all environments, or where ``rows`` is true."""
        if rows is None:
            self.episode, self.elapsed = episode, 0
        else:
            self.elapsed = torch.where(rows, 0, self.each(self.elapsed))
            self.episode = torch.where(rows, self.each(episode), self.each(self.episode))

    def tick(self, terminated: Tensor) -> Tensor:
        """Count a step; returns which episodes run out of time with it rather than terminate.

        It is ``never`` itself, not to be written to, as long as all run in lockstep and time is left.
        """
        self.elapsed = self.elapsed + 1
        if isinstance(self.elapsed, int) and self.elapsed < self.horizon:
            return self.never
        return (self.each(self.elapsed) >= self.horizon) & ~terminated

    def each(self, value: int | Tensor) -> Tensor:
        """One number for each environment."""
        if isinstance(value, Tensor):
            return value
        return torch.full((self.n,), value, dtype=torch.int64, device=self.device)
