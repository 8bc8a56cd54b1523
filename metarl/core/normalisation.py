"""Running means and variances, kept among a learner's parameters as buffers that no gradient reaches."""

import torch
from torch import Tensor

from metarl.core.types import Params

PREFIX = "moments."
_LIMIT = 10.0  # standard deviations that a standardised number may be away from the mean


def initial_moments(name: str, shape: tuple[int, ...] = ()) -> Params:
    """Buffers of a quantity before any data, with which ``standardised`` only clips."""
    zero = torch.zeros(shape, dtype=torch.float64)
    return {_key(name, "mean"): zero, _key(name, "variance"): zero + 1, _key(name, "count"): zero.new_zeros(())}


def trained(params: Params) -> Params:
    """The parameters that are no buffers."""
    return {name: value for name, value in params.items() if not name.startswith(PREFIX)}


def with_data(params: Params, name: str, values: Tensor, valid: Tensor) -> Params:
    """``params`` with its moments, if it has any, over this data too.

    ``values`` are ``(..., *shape)`` and count where ``valid`` ``(...)`` is true.

    Parts are pooled exactly (Chan, Golub and LeVeque 1983, equation 2.1).
    """
    new = values[valid].double()
    if _key(name, "mean") not in params or not len(new):
        return params
    mean, variance, count = (params[_key(name, part)] for part in ("mean", "variance", "count"))
    total = count + len(new)
    apart = new.mean(0) - mean
    spread = variance * count + new.var(0, correction=0) * len(new) + apart.square() * (count * len(new) / total)
    return {
        **params,
        _key(name, "mean"): mean + apart * (len(new) / total),
        _key(name, "variance"): spread / total,
        _key(name, "count"): total,
    }


def standardised(params: Params, name: str, values: Tensor) -> Tensor:
    """Mean 0 and variance 1 by the moments so far, clipped to 10 deviations; as it is where ``params`` has none."""
    if _key(name, "mean") not in params:
        return values
    scale, shift = _affine(params, name, values.dtype)
    return torch.addcmul(shift, values, scale).clamp(-_LIMIT, _LIMIT)


# By name and type: the moments that it was made from, and what values are multiplied with and moved by.
_known: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor, Tensor, Tensor]] = {}


def _affine(params: Params, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What standardising comes to, kept for as long as the moments are the same tensors.

    A policy asks at every step, and six operations on a few numbers would take longer than a layer of it.
    """
    mean, variance = params[_key(name, "mean")], params[_key(name, "variance")]
    made = _known.get((name, dtype))
    if made is None or made[0] is not mean or made[1] is not variance:
        scale = 1 / deviation(params, name)
        made = mean, variance, scale.to(dtype), (-mean * scale).to(dtype)
        _known[name, dtype] = made
    return made[2], made[3]


def deviation(params: Params, name: str) -> Tensor:
    """The standard deviation, of which a constant has a small one rather than none."""
    return (params[_key(name, "variance")] + 1e-8).sqrt()


def _key(name: str, part: str) -> str:
    return f"{PREFIX}{name}.{part}"
