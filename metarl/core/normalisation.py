"""Running means and variances, kept among a learner's parameters as buffers that no gradient reaches."""

import torch
from torch import Tensor

from metarl.core.types import Params

PREFIX = "moments."  # before the names of all buffers
_LIMIT = 10.0  # standard deviations that a standardised number may be away from the mean


class Standardiser:
    """Standardise one quantity by the running mean and variance that ``params`` hold of it.

    Where ``params`` hold none, values pass as they are.

    Args:
        name: names the buffers, ``moments.NAME.mean``, ``.variance`` and ``.count``.
        shape: of one value.
    """

    def __init__(self, name: str, shape: tuple[int, ...] = ()) -> None:
        self.name, self.shape = name, shape
        self._mean, self._variance, self._count, self._scale, self._shift = (
            f"{PREFIX}{name}.{part}" for part in ("mean", "variance", "count", "scale", "shift")
        )

    def init(self) -> Params:
        """Return the buffers before any data, with which standardising only clips."""
        zero = torch.zeros(self.shape, dtype=torch.float64)
        return {self._mean: zero, self._variance: zero + 1, self._count: zero.new_zeros(())}

    def update(self, params: Params, values: Tensor, valid: Tensor) -> Params:
        """Return ``params`` whose buffers, if there are any, also count this data.

        Batches are pooled exactly (Chan, Golub and LeVeque 1983, equation 2.1).

        Args:
            values: ``(..., *shape)``.
            valid: ``(...)`` bool; values count where it is true.
        """
        new = values[valid].double()
        if self._mean not in params or not len(new):
            return params
        mean, variance, count = params[self._mean], params[self._variance], params[self._count]
        total = count + len(new)
        apart = new.mean(0) - mean
        spread = variance * count + new.var(0, correction=0) * len(new) + apart.square() * (count * len(new) / total)
        return {
            **params,
            self._mean: mean + apart * (len(new) / total),
            self._variance: spread / total,
            self._count: total,
        }

    def prepare(self, params: Params, dtype: torch.dtype = torch.float32) -> Params:
        """Return ``params`` with the scale and the shift that the buffers amount to, for values of ``dtype``.

        A policy asks at every step, and six operations on a few numbers would take longer than a layer of it.
        """
        if self._mean not in params:
            return params
        scale = 1 / self.deviation(params)
        return {**params, self._scale: scale.to(dtype), self._shift: (-params[self._mean] * scale).to(dtype)}

    def __call__(self, params: Params, values: Tensor) -> Tensor:
        """Return ``values`` ``(..., *shape)`` with mean 0 and variance 1, clipped to 10 standard deviations."""
        if self._mean not in params:
            return values
        if self._scale not in params or params[self._scale].dtype != values.dtype:
            params = self.prepare(params, values.dtype)
        return torch.addcmul(params[self._shift], values, params[self._scale]).clamp(-_LIMIT, _LIMIT)

    def deviation(self, params: Params) -> Tensor:
        """Return the standard deviation ``shape``; that of a constant is small rather than zero."""
        return (params[self._variance] + 1e-8).sqrt()


def trained(params: Params) -> Params:
    """Return the parameters that are no buffers."""
    return {name: value for name, value in params.items() if not name.startswith(PREFIX)}
