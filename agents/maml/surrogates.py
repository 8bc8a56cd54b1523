"""Surrogates of the inner loop: losses ``(task,)`` whose gradient is the policy gradient; their second ones differ.

Arguments are ``(task, env, step)``. By exact enumeration of a two-step MDP, the error of the Hessian's expectation is
0 for DiCE; LVC's is smaller than the log-likelihood's, and its variance is lower than DiCE's.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from metarl.core.losses import masked_mean

Surrogate = Literal["lvc", "dice", "loglik"]


def lvc(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, valid: Tensor) -> Tensor:
    """Return the low variance curvature surrogate: likelihood ratios step by step (ProMP 2019, equation 10)."""
    return -masked_mean(torch.exp(log_prob - old_log_prob) * advantage, valid)


def dice(log_prob: Tensor, _old_log_prob: Tensor, advantage: Tensor, valid: Tensor) -> Tensor:
    """Return the DiCE surrogate with a baseline (Foerster et al. 2018; Farquhar et al. 2019, equation 10).

    ``box_t`` is the magic box over the actions up to and including t; its increments weight the advantages, which
    makes derivatives of every order unbiased.
    """
    steps = (log_prob - log_prob.detach()).masked_fill(~valid, 0)
    box_t = torch.exp(steps.cumsum(-1))
    box_before = torch.cat([torch.ones_like(box_t[..., :1]), box_t[..., :-1]], -1)
    return -masked_mean((box_t - box_before) * advantage, valid)


def loglik(log_prob: Tensor, _old_log_prob: Tensor, advantage: Tensor, valid: Tensor) -> Tensor:
    """Return the plain log-likelihood surrogate (Williams 1992), whose second derivative is biased."""
    return -masked_mean(log_prob * advantage, valid)


SURROGATES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {"lvc": lvc, "dice": dice, "loglik": loglik}
