"""What a learned rule knows of each element of a parameter: momenta, second moments, whole and factored, and the value.

After Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers", table 1,
and Moudgil et al. 2026, "Celo2". Every moment is corrected for its start at zero (Kingma and Ba 2015, section 3).
"""

import torch
from torch import Tensor

from metarl.core.types import State
from metarl.learned_optimizer.layout import Layout

MOMENTUM_DECAYS = (0.75, 0.9, 0.98)
SQUARE_DECAY, FACTORED_DECAY = 0.99, 0.99
_M = len(MOMENTUM_DECAYS)
N_FEATURES = (
    2 * (1 + _M) + 4
)  # gradient and momenta, plain and by second moments; value, factored momentum, two factors
ADAM = 1 + _M + 2  # the index of the feature that is Adam's direction, of decays 0.9 and SQUARE_DECAY
_MOMENTS, _SIDES = "moments", "sides"
_FLOOR = 1e-3  # of a second moment's root, relative to its parameter's
_TINY = 1e-20


def initial_moments(layout: Layout, rows: int) -> State:
    """Return moments before the first gradient.

    Args:
        layout: of the parameters.
        rows: models side by side.

    Returns:
        ``moments`` ``(row, decay, n)``, the second moment last, and ``sides`` ``(row, n_sides)``: of each matrix the
        second moments of its rows and of its columns (Shazeer and Stern 2018, "Adafactor", algorithm 2).
    """
    return {
        _MOMENTS: torch.zeros(rows, len(MOMENTUM_DECAYS) + 1, layout.n),
        _SIDES: torch.zeros(rows, layout.n_sides),
    }


def features(
    layout: Layout, state: State, values: Tensor, gradients: Tensor, step: int
) -> tuple[Tensor, Tensor, Tensor, State]:
    """Return what is known of every element and of every parameter once the gradient is there, and the new moments.

    Args:
        layout: of the parameters.
        state: moments, of ``initial_moments`` or of the step before.
        values: of the parameters, ``(row, n)``.
        gradients: of the loss, ``(row, n)``.
        step: steps taken before, so 0 at the first.

    Returns:
        Features ``(row, N_FEATURES, n)``; the inverse of their root mean square over each parameter ``(row, N_FEATURES,
        parameter)``; of each parameter how far its momenta agree with single gradients, logarithms ``(row, momentum +
        1, parameter)`` that end with that of its size; the state.
    """
    decays = values.new_tensor([*MOMENTUM_DECAYS, SQUARE_DECAY])[:, None]
    squared = gradients.square()
    inputs = torch.cat([gradients[:, None].expand(-1, _M, -1), squared[:, None]], 1)
    moments = torch.lerp(inputs, state[_MOMENTS], decays)
    sides = torch.lerp(_sides(layout, squared), state[_SIDES], FACTORED_DECAY)
    plain = torch.cat([gradients[:, None], moments[:, :-1] / (1 - decays[:-1] ** (step + 1))], 1)
    square = moments[:, -1] / (1 - SQUARE_DECAY ** (step + 1))
    mean_square = layout.means(square)
    inverse = 1 / ((square + _TINY).sqrt() + layout.spread(_FLOOR * mean_square.sqrt() + _TINY))
    row, column = _factors(layout, sides / (1 - FACTORED_DECAY ** (step + 1)), inverse)
    others = torch.stack([values, plain[:, 2] * row * column, row, column], 1)
    found = torch.cat([plain, plain * inverse[:, None], others], 1)
    size = torch.stack([torch.linalg.vector_norm(part, dim=-1) for part in layout.split(found)], -1)
    size = size * size.new_tensor(layout.sizes).rsqrt()
    agreement = (size[:, 1 : 1 + _M] / (mean_square.sqrt()[:, None] + _TINY)).clamp(0.01, 3).log()
    known = torch.cat([agreement, size[:, -4:-3].clamp(1e-3, 10).log()], 1)
    return found, 1 / (size + _TINY), known, {_MOMENTS: moments, _SIDES: sides}


def _sides(layout: Layout, squared: Tensor) -> Tensor:
    """Mean squares of each matrix's rows and columns, ``(row, n_sides)``."""
    parts, found = layout.split(squared), [squared[:, :0]]
    for index, sides in layout.matrices.items():
        matrix = parts[index].unflatten(-1, sides)
        found += [matrix.mean(2), matrix.mean(1)]
    return torch.cat(found, 1)


def _factors(layout: Layout, sides: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Factors ``(row, n)`` by row and by column whose product scales a gradient; for vectors ``inverse`` and 1."""
    rows, columns = list(layout.split(inverse)), list(layout.split(torch.ones_like(inverse)))
    start = 0
    for index, (height, width) in layout.matrices.items():
        of_row, of_column = sides[:, start : start + height], sides[:, start + height : start + height + width]
        start += height + width
        floor = _FLOOR**2 * of_row.mean(1, keepdim=True) + _TINY
        shape = (len(sides), height, width)
        rows[index] = (
            ((of_row + floor) / (of_row.mean(1, keepdim=True) + floor)).rsqrt()[:, :, None].expand(shape).flatten(1)
        )
        columns[index] = (of_column + floor).rsqrt()[:, None].expand(shape).flatten(1)
    return torch.cat(rows, 1), torch.cat(columns, 1)
