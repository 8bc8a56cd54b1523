"""The learner of the SB3 baselines: SB3's policy networks, which do not adapt."""

from typing import Any

import gymnasium
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn
from torch.func import functional_call

from metarl.agents.baselines.sb3_config import PPOConfig, SACConfig
from metarl.core.actions import ActionLayout
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.learner import MetaLearner
from metarl.core.types import Outputs, Params, State

_MEAN, _VARIANCE = "normaliser.mean", "normaliser.variance"
_EPSILON, _CLIP = 1e-8, 10.0  # VecNormalize's
# What of a policy acts; the rest is critics, which only training needs.
_ACTING = ("actor.", "action_net.", "log_std", "mlp_extractor.policy_net.")
Policy = ActorCriticPolicy | SACPolicy
Moments = tuple[Tensor, Tensor]


class SB3Learner(MetaLearner):
    """A policy that SB3 trained and that does not adapt: its state is empty, whatever the support.

    ``params``: the acting part of SB3's policy, ``policy.*`` by its names, and where observations are normalised the
    mean and the variance that they had in training, in float64 as VecNormalize keeps them. ``policy`` returns the
    Gaussian before SAC's tanh.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        config: PPOConfig | SACConfig,
    ) -> None:
        self._spaces, self._config = (observation_space, action_space), config
        self._network = _Actor(self.new_policy())
        self._squashed = isinstance(config, SACConfig)
        self.action_noise = ActionLayout(action_space).noise

    def new_policy(self) -> Policy:
        """Make SB3's policy as its algorithm does, from the process's random numbers."""
        kind: Any = SACPolicy if isinstance(self._config, SACConfig) else ActorCriticPolicy
        learning_rate = self._config.learning_rate
        policy: Policy = kind(*self._spaces, lambda _: learning_rate, **policy_arguments(self._config))
        return policy

    def params_of(self, policy: Policy, moments: Moments | None = None) -> Params:
        """Copy the acting part of a policy, with the ``moments`` (mean, variance) of observations if there are any."""
        weights = {f"policy.{k}": v.detach().clone() for k, v in policy.state_dict().items() if k.startswith(_ACTING)}
        if moments is None:
            return weights
        return {**weights, _MEAN: moments[0], _VARIANCE: moments[1]}

    @staticmethod
    def weights_of(params: Params) -> Params:
        """Return the weights among the parameters, by SB3's names."""
        return {k.removeprefix("policy."): v for k, v in params.items() if k.startswith("policy.")}

    def initial(self, params: Params, n_tasks: int) -> State:
        return {}

    def adapt(self, params: Params, state: State, support: Any) -> State:
        return state

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        rows = observation.shape[:2]
        seen = observation.flatten(0, 1)
        if _MEAN in params:
            # In float64 and in this order: bit for bit what VecNormalize hands the policy in training.
            scaled = (seen - params[_MEAN]) / torch.sqrt(params[_VARIANCE] + _EPSILON)
            seen = scaled.clamp(-_CLIP, _CLIP).float()
        weights = {name: value for name, value in params.items() if name.startswith("policy.")}
        outputs: Outputs = functional_call(self._network, weights, (seen,))
        return {name: value.unflatten(0, rows) for name, value in outputs.items()}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        distribution = self.distribution(self.policy(params, state, observation))
        action = distribution.mode() if deterministic else distribution.sample(noise)
        return torch.tanh(action) if self._squashed else action, {}


class _Actor(nn.Module):
    """A policy that returns the parameters of its action distribution rather than an action."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> Outputs:
        if isinstance(self.policy, SACPolicy):
            mean, log_std, _ = self.policy.actor.get_action_dist_params(observation)
            return {"mean": mean, "log_std": log_std}
        # What SB3's distribution is made of; that itself checks its values, which cannot be exported.
        features: Any = self.policy.extract_features(observation, self.policy.pi_features_extractor)
        out: Tensor = self.policy.action_net(self.policy.mlp_extractor.forward_actor(features))
        if isinstance(self.policy.action_space, gymnasium.spaces.Discrete):
            return {"logits": out - out.logsumexp(-1, keepdim=True)}
        return {"mean": out, "log_std": self.policy.log_std.expand_as(out)}


def policy_arguments(config: PPOConfig | SACConfig) -> dict[str, Any]:
    """Return the ``policy_kwargs`` of SB3's algorithm."""
    arguments: dict[str, Any] = {
        "net_arch": list(config.net_arch),
        "activation_fn": nn.Tanh if config.activation == "tanh" else nn.ReLU,
    }
    if isinstance(config, PPOConfig):
        arguments["log_std_init"] = config.log_std_init
    else:
        # The same Adam in one pass over memory; a gradient step on one core takes a quarter less.
        arguments["optimizer_kwargs"] = {"fused": True}
    return arguments
