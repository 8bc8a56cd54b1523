"""How the losses of several tasks on shared parameters become one step."""

import torch
from torch import Tensor


def uncertainty_weighted(losses: Tensor, log_variance: Tensor) -> Tensor:
    """Weigh the losses of tasks by learned uncertainties (Kendall et al. 2018, equation 10, terms of classification).

    A task's term is ``L / σ² + log σ``; https://arxiv.org/abs/1705.07115.

    Args:
        losses: ``(..., task)``.
        log_variance: ``log σ²`` of each task ``(task,)``, to be learned with everything else.

    Returns:
        The terms ``(..., task)``.
    """
    return (-log_variance).exp() * losses + log_variance / 2


def without_conflicts(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Return the sum of the tasks' gradients, each rid of what points against another's (PCGrad).

    Each gradient meets those of the other tasks in an order drawn anew, and where their product is negative it is
    projected onto the plane that the other one is normal to (Yu et al. 2020, "Gradient surgery for multi-task
    learning", algorithm 1; https://arxiv.org/abs/2001.06782).

    Args:
        gradients: of shared parameters ``(task, parameter)``.
        generator: decides the orders; on the CPU.
    """
    n_tasks = len(gradients)
    products = (gradients @ gradients.T).double().cpu()
    shares = torch.eye(n_tasks, dtype=torch.float64)  # of the gradients, in each that is projected
    for i in range(n_tasks):
        for j in torch.randperm(n_tasks, generator=generator).tolist():
            along = shares[i] @ products[:, j]
            if j != i and along < 0:
                shares[i, j] -= along / products[j, j]
    return shares.sum(0).to(gradients) @ gradients
