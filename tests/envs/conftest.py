"""Helpers of the families' tests."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl.core.random import stream_keys
from metarl.family import TaskFamily
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks

Sample = Callable[[TaskFamily, int], Tasks]
Within = Callable[[NDArray[np.float64], float, float], bool]


@pytest.fixture
def sample() -> Sample:
    """``sample(family, n)``: n tasks of the family's space."""
    return lambda family, n: family.tasks.sample(stream_keys(n, "test"))


@pytest.fixture
def mean_return() -> Callable[[TaskFamily, str, Tasks], float]:
    """``mean_return(family, reference policy, tasks)``: of one episode, over the tasks."""
    return lambda family, reference, tasks: float(policy_returns(family, reference, tasks).mean())


@pytest.fixture
def within() -> Within:
    """``within(values, reference, rounding)``: whether their mean is the reference, but for its rounding and 4 SE."""

    def check(values: NDArray[np.float64], reference: float, rounding: float) -> bool:
        error = float(values.std()) / len(values) ** 0.5
        return bool(abs(values.mean() - reference) <= rounding + 4 * error)

    return check
