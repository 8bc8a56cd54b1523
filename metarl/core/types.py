"""Types that learners, policies and environments exchange."""

from typing import Literal, NamedTuple

from torch import Tensor

Params = dict[str, Tensor]
State = dict[str, Tensor]
Outputs = dict[str, Tensor]


class Noise(NamedTuple):
    """The number of random numbers that something needs, and their kind."""

    n: int = 0
    kind: Literal["normal", "uniform"] = "normal"


class Transition(NamedTuple):
    """One step of every environment, ``(task, env, ...)``."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observation: Tensor
