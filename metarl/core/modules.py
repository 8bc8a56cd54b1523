"""Any torch module as a pure function of parameters, which may differ from task to task."""

import copy
import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarl.core.errors import MetaRLError
from metarl.core.types import Params

_PROBES = 3  # samples that a module is tried on


class ModuleNetwork:
    """A torch module as a network whose parameters are arguments, as those of ``metarl.core.networks.MLP`` are.

    Parameters that require a gradient become arguments, by their names in the module. Others, and buffers, stay as the
    module has them. The module keeps its mode: in ``eval`` mode batch normalisation has fixed statistics. The module is
    tried on a few samples and refused if it draws random numbers, changes its buffers, or if what it says of a sample
    depends on the samples beside it: learners draw nothing, keep no state, and predict each query by itself.

    Args:
        module: takes samples ``(n, *shape)`` and gives ``(n, ...)``. Its values are those before training. Or a
            function that makes such a module, a class for instance; then each seed has initial values of its own.
        shape: the shape of one sample.

    Raises:
        MetaRLError: where the module does not fit, naming what to change.
    """

    def __init__(self, module: nn.Module | Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
        self._make = None if isinstance(module, nn.Module) else module
        # A copy, for what the caller does with the module later must not change what was tried.
        self._module = copy.deepcopy(module) if isinstance(module, nn.Module) else _made(module, torch.Generator())
        self.name, self.shape = type(self._module).__name__, shape
        named = list(self._module.named_parameters())
        self._ndim = {name: value.ndim for name, value in named if value.requires_grad}
        self._fixed = {name: value.detach() for name, value in named if not value.requires_grad}
        self._fixed |= {name: value.clone() for name, value in self._module.named_buffers()}
        self.n_features = self._tried()

    @property
    def digest(self) -> str:
        """Return a fingerprint of what the module keeps to itself: its class, its buffers and its frozen parameters."""
        found = hashlib.sha256(self.name.encode())
        for name, value in sorted(self._fixed.items()):
            found.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
            found.update(value.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
        return found.hexdigest()[:16]

    def init(self, generator: torch.Generator) -> Params:
        """Return parameters before training: the module's own, or those of a new one that ``generator`` seeds."""
        module = self._module if self._make is None else _made(self._make, generator)
        return {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        """Return the module's outputs, flattened.

        Args:
            params: the module's parameters with ``prefix`` before their names; shared by all tasks, or with a first
                axis of tasks.
            inputs: samples ``(task, n, *shape)``.
            prefix: what precedes the names.

        Returns:
            Features ``(task, n, n_features)``.
        """
        mine = {name: params[prefix + name] for name in self._ndim}
        of_each_task = {name: 0 if value.ndim > self._ndim[name] else None for name, value in mine.items()}
        if any(axis == 0 for axis in of_each_task.values()):
            features: Tensor = torch.vmap(self._call, in_dims=(of_each_task, 0))(mine, inputs)
        else:
            features = self._call(mine, inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        return features

    def _call(self, params: Params, inputs: Tensor) -> Tensor:
        fixed = {name: value.to(inputs.device) for name, value in self._fixed.items()}
        outputs: Tensor = torch.func.functional_call(self._module, {**params, **fixed}, (inputs,))
        return outputs.flatten(1)

    def _tried(self) -> int:
        """Return the number of features, once the module has proved to be a function of parameters and of a sample."""
        params = self.init(torch.Generator())
        inputs = torch.rand(1, _PROBES, *self.shape, generator=torch.Generator())
        before = {name: value.clone() for name, value in self._fixed.items()}
        try:
            with torch.random.fork_rng(devices=[]):
                with torch.no_grad():
                    every, again, fewer = (self(params, rows) for rows in (inputs, inputs, inputs[:, :-1]))
                self._check_pure(before, every[0], again[0], fewer[0])
                stacked = {name: value[None] for name, value in params.items()}
                torch.func.grad(lambda each: self(each, inputs).sum())(stacked)
        except MetaRLError:
            raise
        except Exception as error:  # a module of a user's own can raise anything
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise MetaRLError(
                f"{self.name} cannot be called, or not be differentiated for each task, on samples (n, "
                f"{', '.join(map(str, self.shape))}): {said}; give a module that torch.func can map over tasks."
            ) from error
        return every.shape[-1]

    def _check_pure(self, before: Params, every: Tensor, again: Tensor, fewer: Tensor) -> None:
        """Raise where buffers are no longer as ``before``, or the features of the same samples differ."""
        if changed := [name for name, value in before.items() if not torch.equal(value, self._fixed[name])]:
            problem = f"changes its buffer {changed[0]} when it is called, and a learner keeps no state of its own"
        elif not torch.equal(every, again):
            problem = "gives other numbers every time (Dropout does), and a learner draws none"
        elif not torch.allclose(every[: len(fewer)], fewer, rtol=1e-3, atol=1e-5):
            problem = "lets samples depend on one another (batch statistics do), so queries would not be independent"
        else:
            return
        raise MetaRLError(
            f"{self.name} {problem}; take GroupNorm or LayerNorm in place of BatchNorm and p=0 for Dropout, or call "
            "eval() on the module, which fixes its statistics."
        )


def _made(make: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Make a module with initial values that ``generator`` decides, and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        module = make()
    if not isinstance(module, nn.Module):
        raise MetaRLError(f"{make!r} gave {type(module).__name__}; a torch.nn.Module is wanted.")
    return module
