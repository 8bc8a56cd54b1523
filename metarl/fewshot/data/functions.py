"""Functions of one number as tasks: a few points are given, the others are to be predicted."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support

_JITTER = 1e-5  # on a kernel's diagonal, so that rounding leaves it positive definite


class Functions(ABC):
    """A distribution of functions; every task is a new one, with ``shot`` points and ``queries`` to predict."""

    names: ClassVar[tuple[str, ...]] = ()  # there are no classes
    shape = (1,)  # of one sample
    low, high = -5.0, 5.0  # the interval in which points are drawn

    def __init__(self) -> None:
        self._device = torch.device("cpu")

    def to(self, device: torch.device | str) -> Self:
        """Return the same distribution with the tasks on a device."""
        moved = type(self)()
        moved._device = torch.device(device)
        return moved

    def draw(self, spec: EpisodeSpec, n_tasks: int, generator: torch.Generator) -> Episodes:
        """Draw tasks with inputs and targets ``(task, sample, 1)``; raise for episodes that only classes can have."""
        if spec.way != 1 or spec.most_way is not None or spec.unlabelled or spec.support:
            raise MetaRLError(f"{spec}: a function has no classes; ask for way 1, a shot and nothing unlabelled.")
        spec = spec.drawn(generator)
        uniform = torch.rand(n_tasks, spec.samples, 1, generator=generator)
        x = self.low + (self.high - self.low) * uniform
        y = self.values(x, generator)
        given = slice(0, spec.shot), slice(spec.shot, None)
        support, query = (Support(x[:, rows].to(self._device), y[:, rows].to(self._device)) for rows in given)
        return Episodes(support, query)

    def fitting(self, spec: EpisodeSpec) -> EpisodeSpec:
        """Return the episodes as they are: a function has as many points as are asked for."""
        return spec

    @abstractmethod
    def values(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one function for each task and return its values at ``x``, both ``(task, sample, 1)``."""


class Sinusoids(Functions):
    """Sinusoids ``A sin(x - φ)``, A from .1 to 5, φ from 0 to π, x from -5 to 5 (Finn et al. 2017, section 5.1)."""

    def values(self, x: Tensor, generator: torch.Generator) -> Tensor:
        amplitude, phase = torch.rand(2, len(x), 1, 1, generator=generator)
        value: Tensor = (0.1 + 4.9 * amplitude) * torch.sin(x - math.pi * phase)
        return value


class GaussianProcesses(Functions):
    """Draws of Gaussian processes with an exponentiated quadratic kernel (Garnelo et al. 2018, section 4.1).

    The length scale is from .1 to .6 and the standard deviation from .1 to 1, anew for each task; x is from -2 to 2.
    """

    low, high = -2.0, 2.0

    def values(self, x: Tensor, generator: torch.Generator) -> Tensor:
        length, spread = torch.rand(2, len(x), 1, 1, generator=generator, dtype=torch.float64)
        points = x.double()
        apart = (points - points.transpose(1, 2)) / (0.1 + 0.5 * length)
        kernel = torch.exp(-0.5 * apart.square()) + _JITTER * torch.eye(x.shape[1], dtype=torch.float64)
        noise = torch.randn(points.shape, generator=generator, dtype=torch.float64)
        value: Tensor = (0.1 + 0.9 * spread) * (torch.linalg.cholesky(kernel) @ noise)
        return value.to(x.dtype)
