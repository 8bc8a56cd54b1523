"""Random numbers of environments in lockstep, drawn ahead for a block of steps and episodes."""

import torch
from torch import Tensor

from metarl.core.random import Domain, to_normal, uniforms
from metarl.core.types import Noise

_BLOCK = 128  # steps whose numbers are drawn at once; step by step costs 18 times as much


class Stream:
    """Serve the numbers of ``uniforms`` step by step to environments that are all at the same one.

    Where episodes are short, several are drawn together, twice as many every time: a bandit's are one step long.
    """

    def __init__(
        self,
        keys: Tensor,
        domain: Domain,
        n: int,
        horizon: int,
        *,
        normal: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.keys = keys
        self._domain, self._n, self._horizon, self._normal, self._dtype = domain, n, horizon, normal, dtype
        self._none = torch.empty(len(keys), 0, dtype=dtype, device=keys.device)
        self._block: Tensor = self._none[None, None]  # (episode, step, environment, n)
        self._first_episode = self._first_step = self._steps = self._episodes = 0

    def at(self, episode: int, step: int) -> Tensor:
        """Return the numbers ``(environment, n)`` of a step; do not write to them."""
        if self._n == 0:
            return self._none
        ahead, along = episode - self._first_episode, step - self._first_step
        if not (0 <= ahead < self._episodes and 0 <= along < self._steps):
            self._draw(episode, step)
            ahead = along = 0
        return self._block[ahead, along]

    def _draw(self, episode: int, step: int) -> None:
        follows = step == 0 and self._first_step == 0 and episode == self._first_episode + self._episodes
        most = max(1, _BLOCK // self._horizon)
        self._episodes = min(2 * self._episodes, most) if follows and self._episodes else 1
        self._steps = min(_BLOCK, self._horizon - step)
        self._first_episode, self._first_step = episode, step
        numbers = torch.arange(episode, episode + self._episodes, device=self.keys.device)
        u = uniforms(
            self.keys.repeat(self._episodes, 1),
            self._domain,
            numbers.repeat_interleave(len(self.keys)),
            self._steps,
            self._n,
            step,
            self._dtype,
        )
        drawn = to_normal(u) if self._normal else u
        # Step before environment and contiguous, so that a step's numbers are a view without a copy.
        self._block = drawn.unflatten(0, (self._episodes, -1)).transpose(1, 2).contiguous()


def noise_stream(noise: Noise, keys: Tensor, domain: Domain, horizon: int) -> Stream:
    """Return a stream of the noise that a learner asks for."""
    return Stream(keys, domain, noise.n, horizon, normal=noise.kind == "normal")
