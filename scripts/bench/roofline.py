"""The roofline of a device, measured on the spot, and what a step needs of it at least."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from bench.measure import best_of

_COPY = {"cuda": 1 << 28, "cpu": 1 << 24}  # float32 numbers: more than any cache holds
_SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Work:
    """The bytes that have to be moved, and the floating point operations to be computed."""

    bytes: float
    flops: float


@dataclass(frozen=True)
class Roofline:
    """The bytes a second of a large copy, read and written, and the flops a second of a large float32 product."""

    bandwidth: float
    flops: float

    def seconds(self, work: Work) -> float:
        """Return the least seconds that some work takes (Williams, Waterman and Patterson 2009, "Roofline")."""
        return max(work.bytes / self.bandwidth, work.flops / self.flops)

    def __str__(self) -> str:
        return f"{self.bandwidth / 1e9:,.0f} GB/s and {self.flops / 1e12:,.2f} Tflop/s"


def measure_roofline(device: str, repeats: int = 5) -> Roofline:
    """Measure a device by a copy and a product that are larger than its caches."""
    return Roofline(_bandwidth(device, repeats), _flops(device, repeats))


def _bandwidth(device: str, repeats: int) -> float:
    source = torch.rand(_COPY[torch.device(device).type], device=device)
    target = torch.empty_like(source)
    return 2 * _FLOAT * source.numel() / best_of(repeats, lambda: target.copy_(source), device)


def _flops(device: str, repeats: int) -> float:
    side = _SIDE[torch.device(device).type]
    a, b = (torch.rand(side, side, device=device) for _ in range(2))  # ones heat a chip less, and run faster
    return 2 * side**3 / best_of(repeats, lambda: a @ b, device)


def policy_and_physics(environments: int, tasks: int, sizes: tuple[int, ...] = (2, 64, 64, 2)) -> Work:
    """Return the work of a step of point navigation, where each task's weights are read and each number moved once.

    An environment reads its position, its goal and two numbers of noise, and writes the new position, the action, its
    log-probability, the reward and two flags. Activations stay in registers.
    """
    layers = list(pairwise(sizes))
    weights = sum(n_in * n_out + n_out for n_in, n_out in layers) + sizes[-1]  # and the log standard deviation
    moved = 3 * 2 + 2 * 2 + 2  # numbers of an environment, beside the flags
    flops = 2 * sum(n_in * n_out for n_in, n_out in layers)
    return Work(_FLOAT * (tasks * weights + environments * moved) + 2 * environments, environments * flops)
