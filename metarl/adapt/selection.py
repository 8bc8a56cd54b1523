"""Choosing among candidates by their losses on a task's own samples: base learners, or adapted policies."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError

Array: TypeAlias = NDArray[np.float64]


def selected(losses: Array) -> int:
    """Return the candidate with the least mean loss, the first of equal ones: the discrete super learner.

    Source: van der Laan, Polley and Hubbard 2007, "Super learner", section 2, doi.org/10.2202/1544-6115.1309.

    Args:
        losses: ``(candidate, sample)``, of samples that the candidate was not fitted to; minus a policy's returns.

    Raises:
        MetaRLError: where there is no candidate or no sample, or a loss is not finite.
    """
    if losses.ndim != 2 or not losses.size or not np.isfinite(losses).all():
        raise MetaRLError(
            f"Losses have shape {losses.shape}, {int((~np.isfinite(losses)).sum())} of them not finite; give finite "
            "ones (candidate, sample), at least one of each."
        )
    return int(losses.mean(1).argmin())
