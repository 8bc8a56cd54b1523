"""The learned optimiser as one of torch's: for people's own models, in their own loop."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.learned_optimizer.layout import Layout
from metarl.learned_optimizer.rules import RULES
from metarl.learned_optimizer.unroll import Rule

_WEIGHTS = Path(__file__).parent / "weights"
_STEP = "step"


def load_rule(weights: str) -> tuple[Rule, Params]:
    """Return a rule and its trained parameters.

    Args:
        weights: ``default``, ``lstm``, or the path of a file that ``scripts/learned_optimizer.py train`` wrote.
    """
    shipped = _WEIGHTS / f"{weights}.safetensors"
    theta, about = load_checkpoint(shipped if shipped.is_file() else weights)
    if about.get("rule") not in RULES:
        raise MetaRLError(f"{weights}: a file of the rule {about.get('rule')!r}; known are {sorted(RULES)}.")
    return RULES[about["rule"]](), theta


class LearnedOptimizer(Optimizer):
    """A learned optimiser, which needs neither a learning rate nor a schedule; it is told how many steps there will be.

    ::

        optimizer = LearnedOptimizer(model.parameters(), total_steps=200)
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()

    Each group of parameters has options of its own. All parameters of a group are updated at once, in float32. What the
    rule remembers is part of ``state_dict``, from which training goes on bit for bit.

    Args:
        params: parameters, or groups of them, as every optimiser of torch takes them.
        total_steps: steps that there will be; the step size falls until then.
        weights: ``default``, ``lstm`` (Andrychowicz et al. 2016), or the path of a file of weights.
        lr: by which every step is multiplied; 1 is what was learned.

    Raises:
        MetaRLError: none of the parameters requires a gradient, or a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        total_steps: int,
        weights: str = "default",
        lr: float = 1.0,
    ) -> None:
        self._rule, self._theta = load_rule(weights)
        super().__init__(params, {"total_steps": total_steps, "lr": lr, _STEP: 0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; the steps that it will get are counted from now."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        total, lr = group["total_steps"], group["lr"]
        if total < 1 or lr < 0:
            raise MetaRLError(f"LearnedOptimizer(total_steps={total}, lr={lr}): needs total_steps >= 1 and lr >= 0.")
        values = group["params"]
        if not any(value.requires_grad for value in values):
            raise MetaRLError(
                f"LearnedOptimizer: of {len(values)} parameters, {sum(value.numel() for value in values):,} numbers, "
                "none requires a gradient; give such as do, or call requires_grad_() on them."
            )
        if strange := [value.dtype for value in values if not value.is_floating_point()]:
            raise MetaRLError(f"LearnedOptimizer: {len(strange)} parameters are {strange[0]}; real numbers are wanted.")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of every parameter that has a gradient; return what ``closure`` did, if there is one.

        Raises:
            MetaRLError: no parameter has a gradient, or a group has had all of its steps.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        counts = [sum(value.grad is not None for value in group["params"]) for group in self.param_groups]
        if not any(counts):
            n = sum(len(group["params"]) for group in self.param_groups)
            raise MetaRLError(
                f"LearnedOptimizer: 0 of {n} parameters have a gradient; call loss.backward() before step()."
            )
        for group, count in zip(self.param_groups, counts, strict=True):
            if count:
                self._step_group(group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a ``state_dict``."""
        super().load_state_dict(state_dict)
        # Torch has made what is remembered of the parameters' type, which may have fewer digits.
        values = [value for group in self.param_groups for value in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for value, number in zip(values, numbers, strict=True):
            saved = state_dict["state"].get(number, {})
            self.state[value] = {name: each.to(value.device, copy=True) for name, each in saved.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_rule": self._rule, "_theta": self._theta}

    def _step_group(self, group: dict[str, Any]) -> None:
        if group[_STEP] >= group["total_steps"]:
            raise MetaRLError(
                f"LearnedOptimizer: step {group[_STEP] + 1} of total_steps={group['total_steps']}; give as many as you "
                "will take, for the step size falls until then."
            )
        values = [value for value in group["params"] if value.grad is not None]
        layout = _layout(tuple(tuple(value.shape) for value in values))
        theta = {name: value[None].to(values[0].device) for name, value in self._theta.items()}
        flat, gradients = (
            torch.cat([each.reshape(-1).float() for each in some])[None]
            for some in (values, [value.grad for value in values])
        )
        for value in values:
            if not self.state[value]:
                started = self._rule.start(Layout((tuple(value.shape),)), 1)
                self.state[value] = {name: each.to(value.device) for name, each in started.items()}
        states = [self.state[value] for value in values]
        memory = {name: torch.cat([state[name] for state in states], -1) for name in states[0]}
        change, memory = self._rule.update(theta, layout, memory, flat, gradients, group[_STEP], group["total_steps"])
        for value, part in zip(values, layout.split(group["lr"] * change[0]), strict=True):
            value.add_(part.view_as(value))
        for name, each in memory.items():
            for state, part in zip(states, each.split([state[name].shape[-1] for state in states], -1), strict=True):
                state[name] = part
        group[_STEP] += 1


@lru_cache(maxsize=16)
def _layout(shapes: tuple[tuple[int, ...], ...]) -> Layout:
    """The layout of shapes, which are the same at every step."""
    return Layout(shapes)
