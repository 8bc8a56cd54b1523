"""Distributions of task parameters, each given by its inverse distribution function.

A parameter is a pure function of uniforms, so a frozen task set depends on no library's sampler, whose stream changes
by version. Powers and angles are libm's, value by value: the last digit of NumPy's powers depends on whether the
processor has AVX-512, and the hash of a task set must not.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError, shown

Array = NDArray[np.float64]
_ROUNDING = 1e-6  # values pass through float32 on the device and come back
_MOST, _LEAST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_FARTHEST = 10.0  # standard deviations of a draw: the smallest uniform lies 8.2 of them below the mean


@dataclass(frozen=True)
class Distribution(ABC):
    """The distribution of one task parameter; ``shape`` is that of one task's value."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one value; ``()`` is a scalar."""

    @property
    def draws(self) -> int:
        """Return how many uniforms one value takes."""
        return math.prod(self.shape)

    @abstractmethod
    def quantile(self, u: Array) -> Array:
        """Return values ``(n, *shape)`` from uniforms ``(n, draws)``."""

    @abstractmethod
    def contains(self, value: Array) -> bool:
        """Return whether one value, of the right shape, lies in the support."""

    @property
    def support(self) -> Array | None:
        """Return every value ``(k, *shape)`` of a finite distribution; ``None`` for the others."""
        return None


def _within(value: Array, low: float, high: float) -> bool:
    slack = _ROUNDING * max(abs(low), abs(high), 1.0)
    return bool(np.all((value >= low - slack) & (value <= high + slack)))


def _by_libm(function: Callable[[float], float], values: Array) -> Array:
    """Return a function's value of each element, alike on every processor."""
    return np.array([function(value) for value in values.ravel().tolist()]).reshape(values.shape)


def _shape_of(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(map(index, (shape,) if isinstance(shape, SupportsIndex) else shape))
    except TypeError:
        sizes = (0,)
    if isinstance(shape, bool) or min(sizes, default=1) < 1:
        raise MetaRLError(f"shape={shown(shape)}: give integers of at least 1, such as shape=(2,), or () for a number.")
    return sizes


def _check_numbers(distribution: "Distribution", **numbers: Any) -> None:
    """Refuse what is no number, or none that a device could hold, naming it."""
    wrong = ", ".join(f"{name}={shown(value)}" for name, value in numbers.items() if not _is_number(value))
    if wrong:
        raise MetaRLError(
            f"{type(distribution).__name__}({wrong}): give finite numbers of at most {_MOST:.1e}, for tasks pass "
            "through float32."
        )


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and bool(abs(value) <= _MOST)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform on [low, high]."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape_of(self.shape))
        _check_numbers(self, low=self.low, high=self.high)
        if not self.low < self.high:
            raise MetaRLError(f"{type(self).__name__}(low={self.low}, high={self.high}): low must be below high.")

    def quantile(self, u: Array) -> Array:
        return (self.low + (self.high - self.low) * u).reshape(len(u), *self.shape)

    def contains(self, value: Array) -> bool:
        return _within(value, self.low, self.high)


@dataclass(frozen=True)
class LogUniform(Uniform):
    """Uniform in the logarithm, on [low, high] with low > 0: for masses, gains and other scales."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low < _LEAST:
            raise MetaRLError(
                f"LogUniform(low={self.low}): a scale must be positive; use Uniform for a signed range. Below "
                f"{_LEAST:.1e} float32 has no scale left."
            )

    def quantile(self, u: Array) -> Array:
        factor = _by_libm(partial(math.pow, self.high / self.low), u)
        return (self.low * factor).reshape(len(u), *self.shape)


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal with the given mean and standard deviation."""

    mean: float = 0.0
    sd: float = 1.0
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape_of(self.shape))
        _check_numbers(self, mean=self.mean, sd=self.sd)
        if self.sd <= 0:
            raise MetaRLError(f"Normal(sd={self.sd}): the standard deviation must be positive.")
        if abs(self.mean) + _FARTHEST * self.sd > _MOST:
            raise MetaRLError(f"Normal(mean={self.mean}, sd={self.sd}): draws would lie beyond float32's {_MOST:.1e}.")

    def quantile(self, u: Array) -> Array:
        from scipy.special import ndtri  # here, for few families need what takes long to import

        return np.asarray(self.mean + self.sd * ndtri(u)).reshape(len(u), *self.shape)

    def contains(self, value: Array) -> bool:
        return bool(np.all(np.isfinite(value)))


@dataclass(frozen=True)
class Ring(Distribution):
    """A place in the plane, uniform between two distances from the origin: a disc where ``low`` is 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_numbers(self, low=self.low, high=self.high)
        if not 0 <= self.low < self.high:
            raise MetaRLError(f"Ring(low={self.low}, high={self.high}): needs 0 <= low < high.")

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def quantile(self, u: Array) -> Array:
        # Areas, not radii, are uniform: a disc's radius is high * sqrt(u).
        radius = np.sqrt(self.low**2 + (self.high**2 - self.low**2) * u[:, 0])
        angle = 2 * np.pi * u[:, 1]
        return np.stack([radius * _by_libm(math.cos, angle), radius * _by_libm(math.sin, angle)], axis=1)

    def contains(self, value: Array) -> bool:
        return _within(np.asarray(np.linalg.norm(value)), self.low, self.high)


@dataclass(frozen=True)
class Dirichlet(Distribution):
    """Symmetric Dirichlet over the last axis: probabilities that sum to one. ``shape`` includes that axis."""

    concentration: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape_of(self.shape))
        _check_numbers(self, concentration=self.concentration)
        if self.concentration < _LEAST or not self.shape:
            raise MetaRLError(
                f"Dirichlet({self.concentration}, shape={self.shape}): the concentration must be positive, at least "
                f"{_LEAST:.1e}, and the shape have the axis that sums to one, e.g. shape=(10,)."
            )

    def quantile(self, u: Array) -> Array:
        from scipy.special import gammaincinv  # here, as in Normal

        # A small concentration's gamma underflows; were all of them 0, their share would be 0/0.
        gamma = np.maximum(gammaincinv(self.concentration, u), np.finfo(np.float64).tiny)
        gamma = gamma.reshape(len(u), *self.shape)
        return np.asarray(gamma / gamma.sum(-1, keepdims=True), dtype=np.float64)

    def contains(self, value: Array) -> bool:
        return _within(value, 0.0, 1.0) and bool(np.allclose(value.sum(-1), 1.0, atol=1e-5))


@dataclass(frozen=True)
class Choice(Distribution):
    """One of the given values, all equally likely; a value is a number or a vector."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        try:
            values = () if isinstance(self.values, str) else tuple(self.values)
        except TypeError:
            values = ()
        if not values and not isinstance(self.values, tuple | list):
            raise MetaRLError(f"Choice({shown(self.values)}): give a tuple of values, such as Choice((0.0, 1.0)).")
        object.__setattr__(self, "values", values)
        if not self.values:
            raise MetaRLError("Choice() has no values; give at least one.")
        try:
            # What is masked is no number, whatever stands behind the mask.
            arrays = [np.asarray(None if isinstance(value, np.ma.MaskedArray) else value) for value in self.values]
        except ValueError:  # lists of different lengths within one value
            arrays = [np.zeros(0), np.zeros(1)]
        if len({each.shape for each in arrays}) > 1:
            raise MetaRLError(f"Choice({shown(self.values)}): the values differ in shape; give all the same one.")
        for each in arrays:
            if each.dtype.kind not in "iuf" or not each.size or not np.all(np.abs(each.astype(np.float64)) <= _MOST):
                raise MetaRLError(
                    f"Choice has the value {shown(each.tolist())}: give finite numbers of at most {_MOST:.1e}, or "
                    "vectors of them, for tasks pass through float32."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.values[0])

    @property
    def draws(self) -> int:
        return 1

    @property
    def support(self) -> Array:
        return np.asarray(self.values, dtype=np.float64)

    def quantile(self, u: Array) -> Array:
        support = self.support
        return np.asarray(support[(u[:, 0] * len(support)).astype(np.int64)])

    def contains(self, value: Array) -> bool:
        return any(np.allclose(value, point, atol=_ROUNDING) for point in self.support)


@dataclass(frozen=True)
class Grid(Choice):
    """``num`` evenly spaced scalars from low to high, both included, all equally likely."""

    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    num: int = 2

    def __init__(self, low: float, high: float, num: int) -> None:
        _check_numbers(self, low=low, high=high)
        if not isinstance(num, int | np.integer) or isinstance(num, bool) or num < 1 or not low <= high:
            raise MetaRLError(f"Grid(low={low}, high={high}, num={shown(num)}): needs num >= 1 points and low <= high.")
        for name, value in {"low": low, "high": high, "num": num}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "values", tuple(np.linspace(float(low), float(high), num).tolist()))
