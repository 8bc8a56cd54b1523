"""Adaptation by inference: encodings of a support's elements are pooled, in whatever order.

Each element of a support is encoded on its own; the encodings become statistics that add up. So a state takes in more
data by adding to it, and forgets the order. Rakelly et al. 2019, "PEARL", equation 2: a product of Gaussians; Garnelo
et al. 2018, "Conditional neural processes", and Snell et al. 2017, "Prototypical networks": means, of all elements or
by class.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.core.types import State

TOTAL = "pool.total"
_LEAST_VARIANCE = 1e-7  # of a factor, or one element could outweigh all others and the precision overflow
_MOST = 10.0  # nats: the range of an attention score, so that its exponential can be summed without a maximum


class Pool(ABC):
    """A map from encodings ``(task, element, n_inputs)`` to what they say together, ``(task, group, width)``.

    The state is one tensor ``(task, group, n_statistics)``: sums over the elements that belong to each group. A set
    that is pooled as a whole has one group; prototypes have one for each class.
    """

    n_inputs: int  # numbers that an encoder puts out for each element
    n_statistics: int

    def __init__(self, width: int) -> None:
        if width < 1:
            raise MetaRLError(f"{type(self).__name__}(width={width}): must be at least 1.")
        self.width = width

    @abstractmethod
    def statistics(self, encoded: Tensor) -> Tensor:
        """Return the statistics that add up, ``(..., n_statistics)`` of encodings ``(..., n_inputs)``."""

    @abstractmethod
    def read(self, state: State) -> Tensor:
        """Return what the elements so far say, ``(task, group, width)``; of none of them, zeros."""

    def initial(self, n_tasks: int, groups: int = 1, like: Tensor | None = None) -> State:
        """Return the state of empty sets, on the device and of the type of ``like``."""
        made = torch.zeros(n_tasks, groups, self.n_statistics)
        return {TOTAL: made if like is None else made.to(like)}

    def nothing(self, state: State) -> Tensor:
        """Return where a set is still empty, ``(task, group)``: the last statistic of every element is positive."""
        return state[TOTAL][..., -1] == 0

    def add(self, state: State, encoded: Tensor, member: Tensor | None = None) -> State:
        """Return the state with more elements.

        Args:
            encoded: ``(task, element, n_inputs)``, finite also for elements of no group.
            member: which belong to which group ``(task, group, element)``, true or false or a weight; all belong to the
                one group unless given.
        """
        statistics = self.statistics(encoded)
        if member is None:
            return {TOTAL: state[TOTAL] + statistics.sum(1, keepdim=True)}
        return {TOTAL: state[TOTAL] + member.to(statistics.dtype) @ statistics}


class Mean(Pool):
    """The pool that takes the mean of the encodings."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.n_inputs, self.n_statistics = width, width + 1

    def statistics(self, encoded: Tensor) -> Tensor:
        return torch.cat([encoded, torch.ones_like(encoded[..., :1])], -1)

    def read(self, state: State) -> Tensor:
        total = state[TOTAL]
        count = total[..., -1:]
        return total[..., :-1] / torch.where(count > 0, count, 1)


class Attention(Pool):
    """The pool that takes a mean by weights which elements give themselves, one for each of ``heads`` parts.

    Scores lie within ± 10 by a tanh (Bello et al. 2016, "Neural combinatorial optimization", appendix A.1), so that
    their exponentials add up without first knowing the greatest.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__(width)
        if heads < 1 or width % heads:
            raise MetaRLError(f"Attention(width={width}, heads={heads}): heads must divide the width.")
        self.heads = heads
        self.n_inputs = self.n_statistics = width + heads

    def statistics(self, encoded: Tensor) -> Tensor:
        values, scores = encoded[..., : self.width], encoded[..., self.width :]
        weight = torch.exp(_MOST * torch.tanh(scores / _MOST))
        return torch.cat([values * weight.repeat_interleave(self.width // self.heads, -1), weight], -1)

    def read(self, state: State) -> Tensor:
        total = state[TOTAL]
        weight = total[..., self.width :].repeat_interleave(self.width // self.heads, -1)
        return total[..., : self.width] / torch.where(weight > 0, weight, 1)


class GaussianProduct(Pool):
    """The pool that takes a product of Gaussians, a posterior over a latent (Rakelly et al. 2019, equation 2).

    The statistics are natural parameters, precision and precision times mean. Of an empty set the posterior is the
    standard normal. With ``prior`` that is a factor of every product, as Bayes' rule has it; the paper's code has it
    only before any data.
    """

    def __init__(self, width: int, *, prior: bool = False) -> None:
        super().__init__(width)
        self.prior = prior
        self.n_inputs, self.n_statistics = 2 * width, 2 * width + 1

    def statistics(self, encoded: Tensor) -> Tensor:
        mean, spread = encoded.chunk(2, -1)
        precision = 1 / functional.softplus(spread).clamp(min=_LEAST_VARIANCE)
        return torch.cat([precision, precision * mean, torch.ones_like(mean[..., :1])], -1)

    def read(self, state: State) -> Tensor:
        return self.moments(state)[0]

    def moments(self, state: State) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the posterior, each ``(task, group, width)``."""
        precision, weighted, count = state[TOTAL].split([self.width, self.width, 1], -1)
        precision = precision + 1 if self.prior else torch.where(count > 0, precision, 1)
        return weighted / precision, 1 / precision


def kl_to_standard_normal(mean: Tensor, variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) in nats, summed over the last axis."""
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)
