"""The VariBAD learner: RL²'s memory, from which a belief is read that the policy acts on."""

from functools import cached_property
from typing import Any

import gymnasium
import torch
from torch import Tensor

from metarl.agents.rl2.learner import FEATURES, RL2Learner
from metarl.agents.varibad.config import VariBADConfig
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.normalisation import Standardiser
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State

_BELIEF = "belief."
_HEADS = ("actor.", "critic.")


class VariBADLearner(RL2Learner):
    """A policy on a Gaussian belief of the task (Zintgraf et al. 2020, "VariBAD", section 3).

    The belief is trained to explain the trial's rewards and states, see ``ELBO``; the policy's gradient does not reach
    it.
    """

    trains_memory = False
    gaussian_belief = True
    config: VariBADConfig

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        config: VariBADConfig,
        capacity: int = 1000,
    ) -> None:
        super().__init__(observation_space, action_space, config, capacity)
        if self.inputs.encoder.module is not None and config.state_coef:
            raise MetaRLError(
                f"VariBADConfig(state_coef={config.state_coef}) on encoded observations: features that are trained are "
                "no target of a decoder; set state_coef=0."
            )

    @property
    def n_context(self) -> int:
        return 2 * self.config.latent

    @cached_property
    def standardiser(self) -> Standardiser:
        """Return what standardises beliefs for the heads, if they are."""
        return Standardiser("belief", (self.n_context,))

    @cached_property
    def projection(self) -> MLP:
        """Return the linear map from what the memory says to the belief."""
        return MLP((self.config.width, 2 * self.config.latent), output_gain=0.1)

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        params |= {_BELIEF + name: value for name, value in self.projection.init(generator).items()}
        return params | (self.standardiser.init() if self.config.normalise_beliefs else {})

    def prepare(self, params: Params) -> Params:
        return self.standardiser.prepare(super().prepare(params))

    def update_statistics(self, params: Params, trajectory: Trajectory) -> Params:
        """Return ``params`` whose running statistics also count these trials, with the beliefs that were recorded."""
        beliefs = trajectory.record[FEATURES][..., : self.n_context]
        return self.standardiser.update(super().update_statistics(params, trajectory), beliefs, trajectory.valid)

    def head_inputs(self, params: Params, features: Tensor) -> Tensor:
        """Return features whose beliefs are standardised, where they are."""
        if not self.config.normalise_beliefs:
            return features
        belief, observation = features.tensor_split([self.n_context], -1)
        return torch.cat([self.standardiser(params, belief), observation], -1)

    def policy_params(self, params: Params) -> Params:
        return {name: value for name, value in params.items() if name.startswith(_HEADS)}

    def gaussian(self, params: Params, read: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the belief, each ``(..., latent)``, from what the memory says."""
        mean, log_variance = self.projection(params, read, _BELIEF).chunk(2, -1)
        return mean, log_variance

    def context(self, params: Params, read: Tensor) -> Tensor:
        return torch.cat(self.gaussian(params, read), -1)

    def belief(self, params: Params, state: State) -> Tensor:
        """Return mean and log variance of the belief, ``(task, 2 latent)``."""
        return self.context(params, self.memory.read(params, state))
