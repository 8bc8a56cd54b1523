"""Returns, advantages and baselines, as pure functions of tensors whose last axis is the step."""

import torch
from torch import Tensor

from metarl.core.trajectory import Trajectory


def discounted_returns(reward: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """Return the returns to go, ``G_t = r_t + gamma G_{t+1}`` over the valid steps; 0 in the padding."""
    return generalised_advantage(reward, torch.zeros_like(reward), torch.zeros_like(reward), valid, gamma, 1.0)


def generalised_advantage(
    reward: Tensor, value: Tensor, next_value: Tensor, valid: Tensor, gamma: float, lam: float
) -> Tensor:
    """Return generalised advantage estimates ``(..., step)`` (Schulman et al. 2016, equation 16); 0 in the padding.

    ``delta_t = r_t + gamma V_{t+1} - V_t`` and ``A_t = delta_t + gamma lam A_{t+1}``. Traces are never cut between the
    steps of a row; padding is passed over.

    Args:
        reward: of each step, as all the following ``(..., step)``.
        value: V of each step's observation.
        next_value: what each step's end is worth; the three functions below give it.
        valid: bool, false in the padding.
        gamma: discount of a step.
        lam: λ, 0 for one-step advantages, 1 for returns minus the value.
    """
    delta = torch.where(valid, reward + gamma * next_value - value, 0)
    carry = torch.zeros_like(delta[..., 0])
    advantages = []
    for delta_t, valid_t in zip(reversed(delta.unbind(-1)), reversed(valid.unbind(-1)), strict=True):
        carry = torch.where(valid_t, delta_t + gamma * lam * carry, carry)
        advantages.append(carry)
    return torch.where(valid, torch.stack(advantages[::-1], -1), 0)


def next_value_finite_horizon(value: Tensor, valid: Tensor) -> Tensor:
    """Return the next step's value, and 0 after an episode's last: the horizon belongs to the task (MAML, ProMP)."""
    following = torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)
    continues = torch.cat([valid[..., 1:], torch.zeros_like(valid[..., :1])], -1)
    return torch.where(continues, following, 0)


def next_value_episodic(value: Tensor, final_value: Tensor, terminated: Tensor, valid: Tensor) -> Tensor:
    """Return the next step's value; after the last 0 if terminated, else ``final_value`` ``(...)``: a bootstrap."""
    inside, last = next_value_finite_horizon(value, valid), _is_last(valid)
    return torch.where(last & ~terminated, final_value.unsqueeze(-1), inside)


def next_value_trial(value: Tensor, valid: Tensor) -> Tensor:
    """Return the next step's value in trials ``(..., episode, step)``, where the next episode's first follows the last.

    There is no cut, whether the episode terminated or ran out of time, and no bootstrap from the final observation; at
    the trial's end it is 0.
    """
    inside, last = next_value_finite_horizon(value, valid), _is_last(valid)
    following = torch.cat([value[..., 1:, 0], torch.zeros_like(value[..., :1, 0])], -1)
    return torch.where(last, following.unsqueeze(-1), inside)


def _is_last(valid: Tensor) -> Tensor:
    """Whether a step ``(..., step)`` is the last valid one."""
    return torch.arange(valid.shape[-1], device=valid.device) == valid.sum(-1, keepdim=True) - 1


def linear_features(trajectory: Trajectory) -> Tensor:
    """Return [s, s², t/100, (t/100)², (t/100)³, 1] (Duan et al. 2016), ``(task, env, episode, step, 2 d + 4)``."""
    observation = trajectory.observation.flatten(4).double()
    time = torch.arange(trajectory.n_steps, device=observation.device, dtype=torch.float64) / 100
    powers = torch.stack([time, time**2, time**3, torch.ones_like(time)], -1)
    return torch.cat([observation, observation**2, powers.expand(*observation.shape[:4], 4)], -1)


def linear_baseline(trajectory: Trajectory, returns: Tensor, ridge: float = 1e-5) -> Tensor:
    """Return values ``(task, env, episode, step)`` by a ridge regression of returns on features, one fit a task.

    Padding has no part in the fit, and value 0. In float64, for the features are nearly collinear.
    """
    valid = trajectory.valid[..., None]
    features = (linear_features(trajectory.filled()) * valid).flatten(1, 3)
    targets = returns.double().masked_fill(~trajectory.valid, 0).flatten(1)[..., None]
    gram = features.mT @ features + ridge * torch.eye(features.shape[-1], dtype=torch.float64, device=features.device)
    weights = torch.linalg.solve(gram, features.mT @ targets)
    value: Tensor = features @ weights
    return value.reshape(returns.shape).to(returns.dtype)


def normalised_advantage(advantage: Tensor, valid: Tensor) -> Tensor:
    """Return advantages of mean 0 and deviation 1 over each task's valid steps (the first axis); 0 in the padding."""
    flat, mask = advantage.flatten(1), valid.flatten(1)
    count = mask.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(mask, flat - torch.where(mask, flat, 0).sum(1, keepdim=True) / count, 0)
    sd = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return (centred / (sd + 1e-8)).reshape(advantage.shape)
