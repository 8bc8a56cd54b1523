"""A bonus for hyper-states that were seldom met, by which VariBAD searches for sparse rewards."""

import torch
from torch import Tensor

from metarl.core.networks import MLP
from metarl.core.normalisation import Standardiser
from metarl.core.optimiser import Adam
from metarl.core.types import Params

_WIDTH, _OUTPUTS = 64, 32
_LEARNING_RATE = 1e-3
_MINIBATCHES = 4
_TARGET = "target."


class Novelty:
    """Measure how new hyper-states are, that is beliefs and observations: by random network distillation.

    A network learns to predict the outputs of another one, drawn at random and kept, at the hyper-states that were
    met; where it errs, few like them were (Burda et al. 2019; for hyper-states Zintgraf et al. 2021, "HyperX",
    equation 5).

    Args:
        n_inputs: numbers of a hyper-state.
        generator: draws both networks.
        device: of both.
    """

    def __init__(self, n_inputs: int, generator: torch.Generator, device: torch.device | str = "cpu") -> None:
        self._network = MLP((n_inputs, _WIDTH, _WIDTH, _OUTPUTS), "relu", output_gain=1.0)
        self.target, predictor = (
            {name: value.to(device) for name, value in self._network.init(generator).items()} for _ in range(2)
        )
        self.adam = Adam(predictor, _LEARNING_RATE, max_norm=1.0)
        self._inputs, self._error = Standardiser("inputs", (n_inputs,)), Standardiser("error")
        moments = {**self._inputs.init(), **self._error.init()}
        self.moments = {name: value.to(device) for name, value in moments.items()}

    def update(self, hyper_states: Tensor, valid: Tensor, generator: torch.Generator) -> Tensor:
        """Return the novelty of hyper-states in units of its running mean, and then learn to predict at them.

        Args:
            hyper_states: ``(task, env, episode, step, n)``.
            valid: ``(task, env, episode, step)``, false in the padding.
            generator: draws the order of what is learned from.

        Returns:
            ``(task, env, episode, step)``, zero in the padding.
        """
        self.moments = self._inputs.update(self.moments, hyper_states, valid)
        met = self._inputs(self.moments, hyper_states[valid])
        with torch.no_grad():
            wanted = self._network(self.target, met)
            error = (self._network(self.adam.params, met) - wanted).square().mean(-1)
        novelty = torch.zeros_like(hyper_states[..., 0]).masked_scatter(valid, error)
        self.moments = self._error.update(self.moments, novelty, valid)
        for rows in torch.randperm(len(met), generator=generator).to(met.device).tensor_split(_MINIBATCHES):
            self.adam.minimise((self._network(self.adam.params, met[rows]) - wanted[rows]).square().mean())
        mean = self.moments["moments.error.mean"].clamp(min=1e-8).to(novelty.dtype)
        return novelty / mean

    def state_dict(self) -> dict[str, Tensor]:
        """Return both networks, Adam's state and the running statistics, for an exact resume."""
        target = {_TARGET + name: value for name, value in self.target.items()}
        return {**target, **self.adam.values(), **self.adam.state_dict(), **self.moments}

    def load_state_dict(self, saved: Params) -> None:
        """Continue from ``state_dict``."""
        self.target = {name: saved[_TARGET + name].to(value.device) for name, value in self.target.items()}
        self.moments = {name: saved[name].to(value.device) for name, value in self.moments.items()}
        with torch.no_grad():
            for name, value in self.adam.params.items():
                value.copy_(saved[name])
        self.adam.load_state_dict(saved)
