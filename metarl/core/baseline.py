"""A linear baseline that all tasks share, kept among a learner's parameters as buffers that no gradient reaches."""

import torch
from torch import Tensor

from metarl.core.advantages import discounted_returns, linear_features, normalised_advantage
from metarl.core.normalisation import PREFIX
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params

_WEIGHTS, _SPREAD, _BATCHES = (f"{PREFIX}baseline.{part}" for part in ("weights", "spread", "batches"))
_RIDGE = 1e-5  # for each point of the fit
_RATE = 0.2  # share of the newest batch in the running means
_LIMIT = 10.0  # spreads that an advantage may be away from 0


class SharedBaseline:
    """A linear baseline fitted to the returns of every task of past batches, and the spread of advantages over it.

    A baseline of a task's own episodes (Duan et al. 2016) has 2 d + 4 weights. Where these are nearly as many as the
    steps it is fitted to, as with one episode a task, it explains the returns themselves and leaves no advantage.

    Args:
        n_numbers: numbers of an observation; 0 where the baseline is to know the time alone.
    """

    def __init__(self, n_numbers: int) -> None:
        self.n_features = 2 * n_numbers + 4

    def init(self) -> Params:
        """Return the buffers before any data, by which values are 0."""
        zero = torch.zeros((), dtype=torch.float64)
        return {_WEIGHTS: zero.new_zeros(self.n_features), _SPREAD: zero, _BATCHES: zero}

    def value(self, params: Params, trajectory: Trajectory) -> Tensor:
        """Return values ``(task, env, episode, step)``; what they are in the padding says nothing."""
        value: Tensor = linear_features(trajectory) @ params[_WEIGHTS]
        return value.to(trajectory.reward.dtype)

    def scaled(self, params: Params, advantage: Tensor, valid: Tensor) -> Tensor:
        """Return advantages over the spread of those of past batches, so that a failure stays one in every step.

        Until there is a batch over a fitted baseline, they are normalised per task: raw returns may be hundreds, which
        Adam's moments would remember for long. Where rewards were rare, the first ones are clipped.
        """
        spread = params[_SPREAD].clamp(min=1e-8).to(advantage.dtype)
        return torch.where(
            params[_BATCHES] < 2, normalised_advantage(advantage, valid), (advantage / spread).clamp(-_LIMIT, _LIMIT)
        )

    def sums(self, trajectory: Trajectory, advantage: Tensor, gamma: float) -> dict[str, Tensor]:
        """Return what ``update`` needs of trajectories with their raw ``advantage``: sums over their valid steps."""
        trajectory, valid = trajectory.filled(), trajectory.valid
        features = linear_features(trajectory)[valid]
        returns = discounted_returns(trajectory.reward, valid, gamma)[valid].double()
        squares = advantage[valid].double().square().sum()
        count = valid.sum().double()
        return {"gram": features.mT @ features, "moment": features.mT @ returns, "squares": squares, "count": count}

    def update(self, params: Params, parts: list[dict[str, Tensor]], parallel: TaskParallel) -> Params:
        """Return the buffers after a batch, whose blocks' sums are ``parts``."""
        weights, spread = params[_WEIGHTS], params[_SPREAD]
        like = {"gram": weights.new_zeros(len(weights), len(weights)), "moment": weights}
        total = parallel.total(parts, {**like, "squares": spread, "count": spread}, "baseline")
        ridge = _RIDGE * total["count"] * torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
        fitted = torch.linalg.solve(total["gram"] + ridge, total["moment"])
        new = (total["squares"] / total["count"]).sqrt()
        batches, says = params[_BATCHES], (new > 0).to(new.dtype)  # a batch without any reward says nothing
        slow = torch.full_like(new, _RATE)
        # The first fit replaces what stood there before any data, and the spread over it what was measured without.
        return {
            _WEIGHTS: weights + says * torch.where(batches == 0, 1, slow) * (fitted - weights),
            _SPREAD: spread + says * torch.where(batches < 2, 1, slow) * (new - spread),
            _BATCHES: batches + says,
        }
