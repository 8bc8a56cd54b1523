"""PEARL's outer loop: soft actor-critic on every task's replay, the encoder trained by the critics and the KL."""

import math

import torch
from torch import Tensor

from metarl.adapt.inference import kl_to_standard_normal
from metarl.agents.pearl.learner import ENCODER, PEARLLearner
from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.distributions import SquashedGaussian
from metarl.core.networks import MLP
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params

Q, V = "q.", "v."
_LOG_ALPHA = "log_alpha"


class SAC:
    """Trains actor, critics and encoder by soft actor-critic given z (Haarnoja et al. 2018), all tasks at once.

    The twin critics are one network with an axis for the two. Their error and the KL train the encoder; the actor and
    the value do not (Rakelly et al. 2019, algorithm 1).
    """

    def __init__(self, learner: PEARLLearner, params: Params, generator: torch.Generator) -> None:
        self.learner, self.config = learner, learner.config
        n = learner.inputs.n_observation + learner.config.latent
        self.q = MLP((n + learner.inputs.n_action, *self.config.hidden, 1), "relu", output_gain=1.0)
        self.v = MLP((n, *self.config.hidden, 1), "relu", output_gain=1.0)
        device = next(iter(params.values())).device
        twins = [self.q.init(generator) for _ in range(2)]
        critics = {Q + name: torch.stack([twin[name] for twin in twins]) for name in twins[0]}
        if self.config.value_network:
            critics |= {V + name: value for name, value in self.v.init(generator).items()}
        critics = {name: value.to(device) for name, value in critics.items()}
        encoder = {name: value for name, value in params.items() if name.startswith(ENCODER)}
        actor = {name: value for name, value in params.items() if not name.startswith(ENCODER)}
        rate = self.config.learning_rate
        self.critic, self.actor = Adam({**encoder, **critics}, rate), Adam(actor, rate)
        followed = V if self.config.value_network else Q
        self.target = {name: value.clone() for name, value in critics.items() if name.startswith(followed)}
        self.entropy = Adam({_LOG_ALPHA: torch.full((), math.log(self.config.alpha), device=device)}, rate)

    @property
    def _adams(self) -> dict[str, Adam]:
        return {"critic": self.critic, "actor": self.actor, "entropy": self.entropy}

    @property
    def alpha(self) -> Tensor:
        """Weight of the entropy."""
        return self.entropy.params[_LOG_ALPHA].detach().exp()

    def values(self) -> Params:
        """Return the learner's parameters as they are now."""
        encoder = {name: value for name, value in self.critic.values().items() if name.startswith(ENCODER)}
        return {**encoder, **self.actor.values()}

    def rows(self, part: Trajectory, reward: Tensor) -> Tensor:
        """Return transitions with this ``reward`` as rows for ``update``, ``(task, env, episode, step, row)``."""
        inputs = self.learner.inputs
        numbers = torch.stack([self.config.reward_scale * reward, (~part.terminated).to(reward.dtype)], -1)
        observation, after = (inputs.observation({}, seen) for seen in (part.observation, part.next_observation()))
        return torch.cat([observation, inputs.action(part.action), numbers, after], -1)

    def update(
        self, batch: Tensor, elements: Tensor, member: Tensor, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Take one step of critics, encoder, actor, entropy and targets, and return what to log.

        Args:
            batch: transitions ``(task, n, row)``.
            elements: contexts ``(task, m, n_element)``.
            member: which of the elements belong to the context, ``(task, m)``.
            progress: share of training that is done, in [0, 1].
            generator: draws the noise of z and of the actions.
        """
        config = self.config
        for adam in self._adams.values():
            adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
        observation, action, reward, alive, after = batch.split(self.learner.row, -1)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(batch.device)

        mean, variance = self.learner.infer(self.critic.params, elements, member)
        z = mean + variance.sqrt() * normal(*mean.shape)
        z = z[:, None].expand(-1, batch.shape[1], -1)
        fixed = z.detach()
        alpha = self.alpha

        with torch.no_grad():
            if config.value_network:
                following = self.v(self.target, torch.cat([after, fixed], -1), V)
            else:
                then, log_prob_then, _ = self._act(after, fixed, normal(*action.shape))
                following = self._least(self.target, after, then, fixed) - alpha * log_prob_then[..., None]
            target = reward + config.gamma * alive * following
        error = (self._twins(self.critic.params, observation, action, z) - target).square().mean((1, 2, 3)).sum()
        kl = kl_to_standard_normal(mean, variance).mean()
        loss = error + config.kl_coef * kl
        named = {"q_error": error, "posterior_kl": kl}

        chosen, log_prob, outputs = self._act(observation, fixed, normal(*action.shape))
        if config.value_network:
            with torch.no_grad():
                worth = self._least(self.critic.params, observation, chosen, fixed) - alpha * log_prob[..., None]
            v_error = (self.v(self.critic.params, torch.cat([observation, fixed], -1), V) - worth).square().mean()
            loss = loss + v_error
            named["v_error"] = v_error
        self.critic.minimise(loss)

        judges = {name: value.detach() for name, value in self.critic.params.items() if name.startswith(Q)}
        gain = self._least(judges, observation, chosen, fixed)[..., 0] - alpha * log_prob
        small = outputs.mean.square().mean() + outputs.log_std.square().mean()
        self.actor.minimise(config.regularisation * small - gain.mean())
        if config.tune_alpha:
            surplus = -log_prob.detach().mean() + action.shape[-1]  # of entropy over what is wanted
            self.entropy.minimise(self.entropy.params[_LOG_ALPHA] * surplus)
        with torch.no_grad():
            names = list(self.target)
            torch._foreach_lerp_(
                [self.target[name] for name in names], [self.critic.params[name] for name in names], config.tau
            )
        named |= {"entropy": -log_prob.mean(), "alpha": alpha, "posterior_variance": variance.mean()}
        return {name: value.detach() for name, value in named.items()}

    def _act(self, observation: Tensor, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, SquashedGaussian]:
        outputs = self.learner.outputs(self.actor.params, observation, z)
        distribution = SquashedGaussian(outputs["mean"], outputs["log_std"])
        action, log_prob = distribution.sample_with_log_prob(noise)
        return action, log_prob, distribution

    def _twins(self, params: Params, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """Return both critics' values ``(2, task, n, 1)``."""
        rows = torch.cat([observation, z, action], -1)
        both = rows.flatten(0, 1).expand(2, -1, -1)
        values: Tensor = self.q(params, both, Q).unflatten(1, rows.shape[:2])
        return values

    def _least(self, params: Params, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self._twins(params, observation, action, z).amin(0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return critics, targets and Adam's moments, for an exact resume."""
        own = {name: value for name, value in self.critic.values().items() if not name.startswith(ENCODER)}
        adams = {
            name: x for which, adam in self._adams.items() for name, x in prefixed(which, adam.state_dict()).items()
        }
        targets = prefixed("target", {name: value.clone() for name, value in self.target.items()})
        return {**own, **targets, **adams, **self.entropy.values()}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        with torch.no_grad():
            for params in (self.critic.params, self.entropy.params):
                for name, value in params.items():
                    if name in saved:
                        value.copy_(saved[name])
            for name, value in with_prefix("target", saved).items():
                self.target[name].copy_(value)
        for which, adam in self._adams.items():
            adam.load_state_dict(with_prefix(which, saved))
