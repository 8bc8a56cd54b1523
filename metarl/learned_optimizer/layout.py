"""Parameters of any shapes as one row of numbers, and reductions over each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from metarl.core.types import Params


@dataclass(frozen=True)
class Layout:
    """The shapes of a model's parameters, which lie one after another in a row of ``n`` numbers."""

    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Return how many numbers each parameter has."""
        return [prod(shape) for shape in self.shapes]

    @cached_property
    def n(self) -> int:
        """Return how many numbers all parameters have."""
        return sum(self.sizes)

    @cached_property
    def matrices(self) -> dict[int, tuple[int, int]]:
        """Return the two sides of each parameter of two axes or more, by its index: outputs, and all else."""
        return {i: (shape[0], prod(shape[1:])) for i, shape in enumerate(self.shapes) if len(shape) > 1}

    @cached_property
    def n_sides(self) -> int:
        """Return the sum of the matrices' sides."""
        return sum(rows + columns for rows, columns in self.matrices.values())

    def split(self, flat: Tensor) -> Sequence[Tensor]:
        """Return the part ``(..., size)`` of each parameter, of numbers ``(..., n)``."""
        parts: tuple[Tensor, ...] = flat.split(self.sizes, -1)
        return parts

    def means(self, flat: Tensor) -> Tensor:
        """Return the mean over each parameter ``(..., parameter)``, of numbers ``(..., n)``."""
        return torch.stack([part.mean(-1) for part in self.split(flat)], -1)

    def spread(self, of_each: Tensor) -> Tensor:
        """Return numbers ``(..., n)``, the same for all elements of a parameter, of ``(..., parameter)``."""
        return of_each.index_select(-1, self._owner.to(of_each.device))

    @cached_property
    def _owner(self) -> Tensor:
        return torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))


def layout_of(params: Params) -> Layout:
    """Return the layout of parameters ``(row, ...)``."""
    return Layout(tuple(tuple(value.shape[1:]) for value in params.values()))
