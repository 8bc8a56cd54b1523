"""Gradients of long unrolls by evolution strategies: from losses alone, and from a part of the unroll at a time.

Vicol et al. 2021, "Unbiased gradient estimation in unrolled computation graphs with persistent evolution strategies",
algorithm 2: the loss of each part is credited to the sum of all perturbations since the unroll began. With
``reuse`` an unroll keeps one perturbation to its end, which has less variance (Li et al. 2023, "Variance-reduced
gradient estimation via noise-reuse in online evolution strategies", algorithm 2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Params


@dataclass
class Perturbations:
    """Antithetic perturbations of parameters, of unrolls that run on in pairs.

    ``latest`` and ``credited`` are ``(pair, parameter)``: what is added now, and what a loss is credited to.
    """

    pairs: int
    sigma: float  # standard deviation of each perturbation
    reuse: bool
    latest: Tensor | None = None
    credited: Tensor | None = None

    def __post_init__(self) -> None:
        if self.pairs < 1 or self.sigma <= 0:
            raise MetaRLError(f"Perturbations(pairs={self.pairs}, sigma={self.sigma}): needs pairs >= 1, sigma > 0.")

    def perturbed(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        """Return parameters ``(2 * pair, parameter)`` for the next part of the unroll: all above, then all below."""
        if self.latest is None or not self.reuse:
            self.latest = self.sigma * torch.randn(self.pairs, len(theta), generator=generator, dtype=theta.dtype)
            self.credited = self.latest if self.credited is None else self.credited + self.latest
        return torch.cat([theta + self.latest, theta - self.latest])

    def gradient(self, losses: Tensor) -> Tensor:
        """Return an estimate ``(parameter,)`` of the gradient of the mean loss from a part's losses ``(2 * pair,)``."""
        if self.credited is None:
            raise MetaRLError("No perturbation was drawn; call perturbed before gradient.")
        above, below = losses.chunk(2)
        return ((above - below) / (2 * self.sigma**2)) @ self.credited / self.pairs

    def restart(self) -> None:
        """Forget all perturbations, as the unrolls begin anew."""
        self.latest = self.credited = None


def as_vector(params: Params) -> Tensor:
    """Return all parameters as one vector, in the order of their names."""
    return torch.cat([params[name].flatten() for name in sorted(params)])


def as_params(vectors: Tensor, like: Params) -> Params:
    """Return vectors ``(row, parameter)`` as parameters ``(row, ...)`` of the names and shapes of ``like``."""
    names = sorted(like)
    parts = vectors.split([like[name].numel() for name in names], -1)
    return {name: part.reshape(-1, *like[name].shape) for name, part in zip(names, parts, strict=True)}
