"""Adaptation by memory: a network takes in one input after the other, and its state is what it knows.

Duan et al. 2016, "RL²", section 2. All memories have one interface. Parameters and states are flat dicts whose names
begin with ``memory.``, and the first axis of a state is the task.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError, shown
from metarl.core.learner import keep_where
from metarl.core.types import Params, State

PREFIX = "memory."


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The config of a memory that has nothing to configure beyond its width."""


class Memory(ABC):
    """A network over the inputs of a trial.

    A subclass defines ``init``, ``initial``, ``step`` and ``read``, and ``sequence`` where it has a faster way than one
    step after the other; ``@register_memory("name")`` names it. Its options are fields of ``config_class``, a frozen
    dataclass with defaults.

    Args:
        n_inputs: numbers in an input.
        width: numbers that are read.
        capacity: inputs of the longest trial; memories that look back hold so many.
        config: of ``config_class``; its defaults unless given.
    """

    config_class: ClassVar[type] = NoOptions

    def __init__(self, n_inputs: int, width: int, capacity: int = 1, config: Any = None) -> None:
        if min(n_inputs, width, capacity) < 1:
            raise MetaRLError(
                f"{type(self).__name__}(n_inputs={n_inputs}, width={width}, capacity={capacity}): each must be at "
                "least 1."
            )
        if config is not None and not isinstance(config, self.config_class):
            raise MetaRLError(f"{type(self).__name__}(config={shown(config)}): give a {self.config_class.__name__}.")
        self.n_inputs, self.width, self.capacity = n_inputs, width, capacity
        self.config: Any = self.config_class() if config is None else config

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Return parameters before training."""

    @abstractmethod
    def initial(self, params: Params, n_tasks: int) -> State:
        """Return the state before any input."""

    @abstractmethod
    def step(self, params: Params, state: State, x: Tensor) -> State:
        """Return the state after one more input ``(task, n_inputs)`` of every row."""

    @abstractmethod
    def read(self, params: Params, state: State) -> Tensor:
        """Return the numbers ``(task, width)`` that a state says."""

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """Return what is read after every input, and the state after each row's last one.

        This default is the fold of ``step``.

        Args:
            x: inputs ``(task, step, n_inputs)``, finite in the padding too.
            lengths: inputs of each row ``(task,)``; what is read behind them means nothing.

        Returns:
            ``(task, step, width)``, and the state.
        """
        outputs = []
        for t in range(x.shape[1]):
            state = keep_where(t < lengths, self.step(params, state, x[:, t]), state)
            outputs.append(self.read(params, state))
        return torch.stack(outputs, 1), state

    def replay(self, params: Params, state: State, x: Tensor, valid: Tensor) -> tuple[Tensor, State]:
        """Return what is read before every input, and the state at the end; differentiable.

        Args:
            x: inputs ``(task, step, n_inputs)``.
            valid: ``(task, step)`` bool. Other inputs are left out, wherever they are: between the episodes of a trial
                there is padding. What is read before them is what was read last.

        Returns:
            ``(task, step, width)``, and the state.
        """
        first = self.read(params, state)[:, None]
        count = valid.sum(1)
        longest = int(count.max())
        if longest == 0:
            return first.expand(-1, x.shape[1], -1), state
        if count.min() == x.shape[1]:
            return self.whole(params, state, x)
        # A stable sort by "is padding" moves the valid inputs to the front, in their order.
        order = (~valid).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
        x = x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
        # Zero times NaN is NaN, in a gradient too.
        x = x.masked_fill((torch.arange(longest, device=x.device) >= count[:, None])[..., None], 0)
        after, state = self.sequence(params, state, x, count)
        before = torch.cat([first, after], 1)
        seen = valid.cumsum(1) - valid.long()  # inputs before this one
        return before.gather(1, seen[..., None].expand(-1, -1, self.width)), state

    def whole(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """Return what ``replay`` does where all inputs are valid."""
        lengths = torch.full((len(x),), x.shape[1], device=x.device)
        after, end = self.sequence(params, state, x, lengths)
        return torch.cat([self.read(params, state)[:, None], after[:, :-1]], 1), end
