"""Adaptation in closed form: what least squares or a Gaussian process makes of a support, differentiable throughout.

Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers", equation 4, in its dual form, for a
support has far fewer samples than features; Patacchiola et al. 2020, "Bayesian meta-learning for the few-shot setting
via deep kernels".
"""

import torch
from torch import Tensor


def kernel_regression(kernel: Tensor, targets: Tensor, noise: Tensor, crossed: Tensor) -> Tensor:
    """Return ``k* (K + N)⁻¹ y``, the predictions ``(task, query, output)`` of kernel ridge regression.

    Args:
        kernel: between samples of the support ``(task, n, n)``.
        targets: of the support ``(task, n, output)``.
        noise: of each sample ``(task, n)``, or for all of them one number: the strength of the ridge.
        crossed: kernel between queries and support ``(task, query, n)``.
    """
    found: Tensor = crossed @ torch.cholesky_solve(targets, _factor(kernel, noise))
    return found


def kernel_variance(kernel: Tensor, noise: Tensor, crossed: Tensor, own: Tensor) -> Tensor:
    """Return ``k** - k* (K + N)⁻¹ k*ᵀ``, the variances ``(task, query)`` of a Gaussian process at queries.

    Args:
        kernel: as ``kernel_regression`` has it.
        noise: as there.
        crossed: as there.
        own: the kernel of each query with itself ``(task, query)``.
    """
    half = torch.linalg.solve_triangular(_factor(kernel, noise), crossed.transpose(1, 2), upper=False)
    return (own - half.square().sum(1)).clamp(min=0)


def _factor(kernel: Tensor, noise: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.cholesky(kernel + torch.diag_embed(noise.expand(kernel.shape[:-1])))
    return factor
