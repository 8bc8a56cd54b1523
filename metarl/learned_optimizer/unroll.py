"""Training of models by a learned rule: the core's inner loop, whose step the rule makes."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.core.types import Params, State
from metarl.learned_optimizer.layout import Layout

THETA, MEMORY = "theta.", "memory."  # before the names of the rule's parameters, and of its state


class Rule(Protocol):
    """What makes an update of gradients; its parameters are learned."""

    def init(self, generator: torch.Generator) -> Params:
        """Draw the rule's parameters before training."""

    def start(self, layout: Layout, rows: int) -> State:
        """Return the state before the first step, of models side by side."""

    def update(
        self, theta: Params, layout: Layout, state: State, values: Tensor, gradients: Tensor, step: int, total: int
    ) -> tuple[Tensor, State]:
        """Return what to add to values ``(row, n)``, and the state; ``theta`` has an axis of rows first."""


@dataclass(frozen=True, kw_only=True)
class RuleLoop(InnerLoop):
    """An inner loop whose step is a learned rule's: of second order in nothing, all rows at the same step."""

    rule: Rule
    layout: Layout
    total: int  # steps that there will be
    first_order: bool = True

    def adapted(self, params: Params) -> Params:
        return {name: value for name, value in params.items() if not name.startswith((THETA, MEMORY, COUNT))}

    def begin(self, params: Params) -> State:
        """Return the state before the first step, of models whose parameters ``(row, ...)`` differ."""
        rows = len(next(iter(params.values())))
        memory = {MEMORY + name: value for name, value in self.rule.start(self.layout, rows).items()}
        return {**params, **memory, COUNT: torch.zeros(rows, dtype=torch.int64)}

    def update(self, params: Params, state: State, gradients: Params, losses: Tensor) -> State:
        theta = {name.removeprefix(THETA): value for name, value in params.items() if name.startswith(THETA)}
        memory = {name.removeprefix(MEMORY): value for name, value in state.items() if name.startswith(MEMORY)}
        values, flat = (torch.cat([each[name].flatten(1) for name in gradients], 1) for each in (state, gradients))
        change, memory = self.rule.update(theta, self.layout, memory, values, flat, int(state[COUNT][0]), self.total)
        made = zip(gradients, self.layout.split(values + change), strict=True)
        moved = {name: part.reshape(state[name].shape) for name, part in made}
        return {**moved, **{MEMORY + name: value for name, value in memory.items()}}
