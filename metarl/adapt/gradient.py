"""Adaptation by gradient: the differentiable inner loop, batched over tasks, for policy-gradient and supervised losses.

Finn et al. 2017, "Model-agnostic meta-learning", equation 1; learned step sizes: Li et al. 2017, "Meta-SGD". Task rows
are independent, so the gradient of the sum of their losses is each row's own gradient: no loop over tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.optimiser import gradients_of
from metarl.core.parallel import TaskParallel
from metarl.core.types import Outputs, Params, State

STEP_SIZE = "step_size."
COUNT = "adaptations"
Loss = Callable[[Params], tuple[Tensor, Outputs]]  # stacked parameters -> losses (task,), tensors to hand on


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """Gradient steps by which parameters adapt: ``θ' = θ - α ∇L(θ)`` (Finn et al. 2017, equation 1).

    ``params`` may hold learned step sizes, ``step_size.NAME`` of shape ``(steps, *shape of NAME)`` (Meta-SGD).

    After ``steps`` updates the last step size is halved at each further one: kept, it overshoots (measured on point
    navigation: the return falls from the fourth step on).
    """

    steps: int = 1  # updates that have a step size of their own
    step_size: float = 0.1  # the initial one; fixed where none are learned
    first_order: bool = False  # leave out the derivative of the gradient (FOMAML)
    prefix: str = ""  # names of the parameters that adapt start so
    halve_beyond: bool = True  # whether later steps shrink

    def __post_init__(self) -> None:
        if self.steps < 0 or self.step_size <= 0:
            raise MetaRLError(
                f"InnerLoop(steps={self.steps}, step_size={self.step_size}): needs steps >= 0, step_size > 0."
            )

    def adapted(self, params: Params) -> Params:
        """Return the parameters that adapt."""
        return {k: v for k, v in params.items() if k.startswith(self.prefix) and not k.startswith(STEP_SIZE)}

    def initial_step_sizes(self, params: Params) -> Params:
        """Return step sizes to learn, one for every element of every parameter at every step."""
        return {
            STEP_SIZE + name: torch.full((self.steps, *value.shape), self.step_size, dtype=value.dtype)
            for name, value in self.adapted(params).items()
        }

    def start(self, params: Params, n_tasks: int) -> State:
        """Return the adapting parameters, one row a task, and how often each row has adapted."""
        state = {name: value.expand(n_tasks, *value.shape) for name, value in self.adapted(params).items()}
        device = next(iter(state.values())).device
        return {**state, COUNT: torch.zeros(n_tasks, dtype=torch.int64, device=device)}

    def step(self, params: Params, state: State, loss: Loss) -> tuple[State, Outputs]:
        """Take a gradient step of every row on its own loss; also return what ``loss`` gave beside it."""
        fast = {name: state[name] for name in self.adapted(params)}

        def summed(fast: Params) -> tuple[Tensor, tuple[Tensor, Outputs]]:
            losses, aux = loss(fast)
            return losses.sum(), (losses, aux)

        gradients, (losses, aux) = torch.func.grad(summed, has_aux=True)(fast)
        if self.first_order:
            gradients, losses = {name: value.detach() for name, value in gradients.items()}, losses.detach()
        return {**state, **self.update(params, state, gradients, losses), COUNT: state[COUNT] + 1}, aux

    def update(self, params: Params, state: State, gradients: Params, losses: Tensor) -> State:
        """Return what a step of descent changes in the state.

        Args:
            gradients: of each row, by the names of the parameters; detached where the loop is of first order.
            losses: ``(task,)``; detached then too.
        """
        return {
            name: state[name] - self._step_size(params, name, state[COUNT], state[name]) * gradient
            for name, gradient in gradients.items()
        }

    def _step_size(self, params: Params, name: str, count: Tensor, value: Tensor) -> Tensor:
        learned = params.get(STEP_SIZE + name)
        excess = (count - (self.steps - 1)).clamp(min=0) if self.halve_beyond else torch.zeros_like(count)
        scale = (0.5**excess).reshape(-1, *[1] * (value.ndim - 1)).to(value.dtype)
        if learned is None:
            return self.step_size * scale
        return learned[count.clamp(max=self.steps - 1)] * scale


def meta_gradient(
    objective: Callable[[Params, slice], tuple[Tensor, dict[str, Tensor]]],
    params: Params,
    n_tasks: int,
    chunk: int | None = None,
    parallel: TaskParallel | None = None,
) -> tuple[Params, dict[str, float]]:
    """Return the gradient of an objective's mean over task rows, and the means of named quantities.

    Every reduction over task rows that a learner makes is this one.

    Args:
        objective: gives values ``(rows,)`` for parameters and a slice of task rows, and named quantities ``(rows,)``.
        params: at which the gradient is taken.
        n_tasks: number of task rows.
        chunk: at most so many go through at once, for the graph through the inner loop is what fills a memory.
        parallel: cuts the task rows into blocks, of which other processes may compute some; one block unless given.

    Returns:
        the gradient, and the means of the objective and of the named quantities.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    parallel = parallel or TaskParallel()
    blocks, of_blocks = [], []
    for block in parallel.rows(n_tasks):
        total = {name: torch.zeros_like(value) for name, value in params.items()}
        sums: dict[str, Tensor] = {}
        for rows in chunks(block.stop - block.start, chunk, block.start):
            losses, named = objective(leaves, rows)
            for name, gradient in gradients_of(losses.sum(), leaves).items():
                total[name] += gradient
            for name, value in {"objective": losses, **named}.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().sum()
        blocks.append(total)
        of_blocks.append(sums)
    total, sums = parallel.totals(blocks, of_blocks, params)
    return {name: value / n_tasks for name, value in total.items()}, {k: float(v) / n_tasks for k, v in sums.items()}


def chunks(n_tasks: int, chunk: int | None = None, first: int = 0) -> list[slice]:
    """Return slices of at most ``chunk`` task rows that cover ``n_tasks`` from the ``first`` on."""
    if chunk is not None and chunk < 1:
        raise MetaRLError(f"chunk={chunk}: a chunk holds at least one task.")
    size = n_tasks if chunk is None else chunk
    last = first + n_tasks
    return [slice(start, min(start + size, last)) for start in range(first, last, size)]
