"""Adam on a flat dict of parameters, resumed exactly."""

import torch
from torch import Tensor
from torch.optim.adam import adam

from metarl.core.types import Params

_SLOTS = ("exp_avg", "exp_avg_sq", "step")


def linear_decay(value: float, final: float, progress: float) -> float:
    """Return ``value`` as it falls linearly to its share ``final``; ``progress`` through training is in [0, 1]."""
    return value * (1 - (1 - final) * min(progress, 1.0))


def gradients_of(value: Tensor, params: Params) -> Params:
    """Return the gradient of a number, without parameters that have no part in it."""
    found = torch.autograd.grad(value, list(params.values()), allow_unused=True)
    # Not zeros where there is none: Adam would go on by what it remembers of earlier ones.
    return {name: each for name, each in zip(params, found, strict=True) if each is not None}


class Adam:
    """Adam (Kingma and Ba 2015) on copies of parameters, which ``step`` changes.

    Args:
        params: copied, not changed.
        learning_rate: of the next step; it may be set anew before each.
        max_norm: to which greater gradients are scaled; None for no limit.
    """

    def __init__(self, params: Params, learning_rate: float, max_norm: float | None = None) -> None:
        self.params = {
            name: value.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, value in params.items()
        }
        self.learning_rate, self._max_norm = learning_rate, max_norm
        self._state: dict[str, dict[str, Tensor]] = {}

    def step(self, gradients: Params) -> None:
        """Take one step down the gradients, scaled to ``max_norm`` where their norm is greater; what has none stays."""
        named = {name: value for name, value in self.params.items() if name in gradients}
        given = []
        for name, value in named.items():
            # The fused step reads memory in order: a transposed gradient would be taken for another without a word.
            given.append(gradients[name].contiguous())
            value.grad = given[-1]  # where the clipping looks for it
            if name not in self._state:
                like = value.detach()
                new = torch.zeros_like(like), torch.zeros_like(like), torch.zeros((), device=like.device)
                self._state[name] = dict(zip(_SLOTS, new, strict=True))
        values = list(named.values())
        if self._max_norm is not None:
            torch.nn.utils.clip_grad_norm_(values, self._max_norm)
        mean, square, count = ([self._state[name][slot] for name in named] for slot in _SLOTS)
        # As a function, for the class imports torch's compiler, which takes longer than all of metarl.
        with torch.no_grad():
            adam(
                values,
                given,
                mean,
                square,
                [],
                count,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self.learning_rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def minimise(self, loss: Tensor) -> None:
        """Take one step down the gradient of a loss; parameters without a part in it stay."""
        self.step(gradients_of(loss, self.params))

    def values(self) -> Params:
        """Return copies of the parameters as they are now."""
        return {name: value.detach().clone() for name, value in self.params.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of Adam's running averages and step counts, for an exact resume."""
        return {
            f"{slot}.{name}": self._state[name][slot].clone()
            for name in self.params
            if name in self._state
            for slot in _SLOTS
        }

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        for name, value in self.params.items():
            if f"step.{name}" in saved:
                # Copies, for Adam writes to them.
                self._state[name] = {slot: saved[f"{slot}.{name}"].to(value.device, copy=True) for slot in _SLOTS}
