"""Parts of losses on trajectories: masked means, and the clipped surrogate of PPO."""

import torch
from torch import Tensor


def masked_mean(value: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over the valid steps of each task, ``(task,)``."""
    flat, mask = value.flatten(1), valid.flatten(1)
    return flat.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp(min=1)


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Return PPO's objective at every step, and where its ratio is out of bounds (Schulman et al. 2017, equation 7).

    ``min(r A, clip(r, 1 - clip, 1 + clip) A)`` with ``r = exp(log_prob - old_log_prob)``, to be maximised.
    """
    ratio = torch.exp(log_prob - old_log_prob)
    bounded = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantage, bounded * advantage), ((ratio - 1).abs() > clip).detach()
