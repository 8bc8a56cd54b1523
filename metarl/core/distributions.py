"""Action distributions: sampled from noise that is passed in, log-probabilities summed over action dimensions."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from metarl.core.random import to_normal
from metarl.core.types import Outputs

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_INSIDE = 1 - 1e-6  # where tanh rounds to 1 its inverse is infinite
_NODES = 16  # of a quadrature, for an error of 1e-3 nats at a standard deviation of 1


class ActionDistribution(ABC):
    """A distribution over actions, one for every leading index (task, env, ...)."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Return actions from noise ``(..., n)``."""

    @abstractmethod
    def mode(self) -> Tensor:
        """Return the actions without exploration noise."""

    @abstractmethod
    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-probability ``(...)`` of actions, summed over action dimensions."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Return the entropy ``(...)`` in nats."""

    @abstractmethod
    def kl_to(self, other: "ActionDistribution") -> Tensor:
        """Return KL(self || other) ``(...)`` in nats."""

    @abstractmethod
    def fisher(self, tangents: Outputs) -> Outputs:
        """Return the Fisher information of the parameters times ``tangents``, by the parameters' names."""

    def detach(self) -> Self:
        """Return the distribution cut from the graph."""
        return type(self)(*(part.detach() for part in self._parts()))

    def tasks(self, rows: slice) -> Self:
        """Return the distribution of some of the tasks, the first index."""
        return type(self)(
            *(part.tasks(rows) if isinstance(part, ActionDistribution) else part[rows] for part in self._parts())
        )

    def _parts(self) -> Iterator[Any]:
        return (getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]  # all are dataclasses


@dataclass(frozen=True)
class Gaussian(ActionDistribution):
    """Independent normals: ``mean`` ``(..., d)`` and ``log_std`` that broadcasts against it."""

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        z = (action - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * z * z - self.log_std).sum(-1) - self.mean.shape[-1] * _LOG_SQRT_2PI

    def entropy(self) -> Tensor:
        return (self.log_std.expand_as(self.mean) + 0.5 + _LOG_SQRT_2PI).sum(-1)

    def kl_to(self, other: ActionDistribution) -> Tensor:
        assert isinstance(other, Gaussian)
        variance_ratio = torch.exp(2 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) * torch.exp(-other.log_std)) ** 2
        return (0.5 * (variance_ratio + distance - 1) + other.log_std - self.log_std).sum(-1)

    def fisher(self, tangents: Outputs) -> Outputs:
        return {"mean": tangents["mean"] * torch.exp(-2 * self.log_std), "log_std": 2 * tangents["log_std"]}


@dataclass(frozen=True)
class SquashedGaussian(Gaussian):
    """Normals through tanh (Haarnoja et al. 2018, appendix C): actions in (-1, 1), with their own density.

    KL and Fisher information are those of the normals, for tanh is one to one.
    """

    def sample(self, noise: Tensor) -> Tensor:
        return torch.tanh(super().sample(noise)).clamp(-_INSIDE, _INSIDE)

    def sample_with_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions from noise and their log-probabilities, differentiable, without going back through atanh."""
        normal = super().sample(noise)
        # log(1 - tanh²), which stays finite
        log_slope = 2 * (math.log(2) - normal - nn.functional.softplus(-2 * normal))
        return torch.tanh(normal), super().log_prob(normal) - log_slope.sum(-1)

    def mode(self) -> Tensor:
        return torch.tanh(self.mean).clamp(-_INSIDE, _INSIDE)

    def log_prob(self, action: Tensor) -> Tensor:
        bounded = action.clamp(-_INSIDE, _INSIDE)
        return super().log_prob(torch.atanh(bounded)) - torch.log1p(-bounded.square()).sum(-1)

    def entropy(self) -> Tensor:
        # E[log(1 - tanh²)] by Gauss-Hermite quadrature; 1 - tanh²(x) = 4 σ(2x) σ(-2x), whose logarithm stays finite.
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        node = torch.as_tensor(nodes, dtype=self.mean.dtype, device=self.mean.device)
        weight = torch.as_tensor(weights / weights.sum(), dtype=self.mean.dtype, device=self.mean.device)
        x = 2 * (self.mean[..., None] + self.log_std.exp()[..., None] * node)
        log_slope = math.log(4) + nn.functional.logsigmoid(x) + nn.functional.logsigmoid(-x)
        return super().entropy() + (log_slope * weight).sum((-2, -1))


@dataclass(frozen=True)
class Categorical(ActionDistribution):
    """One of k actions; ``logits`` ``(..., k)`` need not be normalised. Actions are int64 ``(...)``."""

    logits: Tensor

    @cached_property
    def log_probs(self) -> Tensor:
        """Return normalised log-probabilities ``(..., k)``."""
        return _normalised(self.logits)

    def sample(self, noise: Tensor) -> Tensor:
        # The inverse distribution function of one uniform; the last class takes what rounding leaves over.
        # Torch's compiler, which traces this function, does not know the lock of a cached property.
        below = _normalised(self.logits).exp().cumsum(-1)[..., :-1] < noise
        return below.sum(-1)

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        return self.log_probs.gather(-1, action.long()[..., None])[..., 0]

    def entropy(self) -> Tensor:
        log_probs = self.log_probs
        return -(log_probs.exp() * log_probs).sum(-1)

    def kl_to(self, other: ActionDistribution) -> Tensor:
        assert isinstance(other, Categorical)
        return (self.log_probs.exp() * (self.log_probs - other.log_probs)).sum(-1)

    def fisher(self, tangents: Outputs) -> Outputs:
        probs, tangent = self.log_probs.exp(), tangents["logits"]
        return {"logits": probs * (tangent - (probs * tangent).sum(-1, keepdim=True))}


def _normalised(logits: Tensor) -> Tensor:
    # Class by class: along the last axis, a handful of numbers each time, it takes eight times as long.
    return torch.log_softmax(logits.movedim(-1, 0).contiguous(), 0).movedim(0, -1)


@dataclass(frozen=True)
class Mixed(ActionDistribution):
    """A choice and a vector, independent of each other: actions ``(..., 1 + d)``, from as many uniforms."""

    choice: Categorical
    vector: Gaussian

    def sample(self, noise: Tensor) -> Tensor:
        return self._row(self.choice.sample(noise[..., :1]), self.vector.sample(to_normal(noise[..., 1:])))

    def mode(self) -> Tensor:
        return self._row(self.choice.mode(), self.vector.mode())

    def log_prob(self, action: Tensor) -> Tensor:
        return self.choice.log_prob(action[..., 0]) + self.vector.log_prob(action[..., 1:])

    def entropy(self) -> Tensor:
        return self.choice.entropy() + self.vector.entropy()

    def kl_to(self, other: ActionDistribution) -> Tensor:
        assert isinstance(other, Mixed)
        return self.choice.kl_to(other.choice) + self.vector.kl_to(other.vector)

    def fisher(self, tangents: Outputs) -> Outputs:
        return {**self.choice.fisher(tangents), **self.vector.fisher(tangents)}

    @staticmethod
    def _row(index: Tensor, vector: Tensor) -> Tensor:
        return torch.cat([index[..., None].to(vector.dtype), vector], -1)


def distribution_of(outputs: Outputs, squash: bool = False) -> ActionDistribution:
    """Return the distribution that ``logits``, ``mean`` and ``log_std``, or all three of a policy's outputs describe.

    With ``squash`` the normals are taken through tanh.
    """
    if "mean" not in outputs:
        return Categorical(outputs["logits"])
    normals = (SquashedGaussian if squash else Gaussian)(outputs["mean"], outputs["log_std"])
    return Mixed(Categorical(outputs["logits"]), normals) if "logits" in outputs else normals
