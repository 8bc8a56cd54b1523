"""The VariBAD learner: RL²'s memory, from which a belief is read that the policy acts on."""

from typing import Any

import gymnasium
import torch
from torch import Tensor
from torch.nn import functional

from metarl.agents.rl2.learner import RL2Learner
from metarl.agents.varibad.config import VariBADConfig
from metarl.learner import Params, State
from metarl.networks import MLP

_BELIEF = "belief."
_HEADS = ("actor.", "critic.")


class VariBADLearner(RL2Learner):
    """VariBAD (Zintgraf et al. 2020, section 3): the policy sees a Gaussian belief of the task.

    The belief is trained to explain the trial's rewards and states, see ``ELBO``; the policy's gradient does not reach
    it.
    """

    trains_memory = False
    config: VariBADConfig

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        config: VariBADConfig,
        capacity: int = 1000,
    ) -> None:
        self.latent = config.latent
        super().__init__(observation_space, action_space, config, capacity)
        self._projection = MLP((config.width, 2 * config.latent), output_gain=0.1)

    @property
    def n_context(self) -> int:
        return 2 * self.latent

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        return params | {_BELIEF + name: value for name, value in self._projection.init(generator).items()}

    def policy_params(self, params: Params) -> Params:
        return {name: value for name, value in params.items() if name.startswith(_HEADS)}

    def moments(self, params: Params, read: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the belief, each ``(..., latent)``, from what the memory says."""
        out = functional.linear(read, params[_BELIEF + "0.weight"], params[_BELIEF + "0.bias"])
        mean, log_variance = out.chunk(2, -1)
        return mean, log_variance

    def context(self, params: Params, read: Tensor) -> Tensor:
        return torch.cat(self.moments(params, read), -1)

    def belief(self, params: Params, state: State) -> Tensor:
        """Mean and logarithm of the variance, ``(task, 2 latent)``."""
        return self.context(params, self.memory.read(params, state))
