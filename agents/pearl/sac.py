"""PEARL's outer loop: soft actor-critic on every task's replay, the encoder trained by the critics and the KL."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.adapt.inference import kl_to_standard_normal
from metarl.agents.pearl.learner import ACTOR, PEARLLearner
from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.distributions import Categorical, SquashedGaussian
from metarl.core.networks import MLP
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params

Q, V = "q.", "v."
_LOG_ALPHA = "log_alpha"
_OF_UNIFORM = 0.98  # share of the greatest entropy that is wanted of a choice (Christodoulou 2019, appendix)


@dataclass(frozen=True)
class Acts:
    """What the policy does in a batch of states: in a Box one sampled action, of a choice all with their probabilities.

    Attributes:
        weight: the sampled actions ``(task, n, axes)``, or the probabilities ``(task, n, choices)``.
        log_prob: of the sampled actions ``(task, n, 1)``, or of all choices ``(task, n, choices)``.
        outputs: the distribution's parameters.
        entropy: of the policy, on average over the states.
    """

    weight: Tensor
    log_prob: Tensor
    outputs: Outputs
    entropy: Tensor


class Chosen(NamedTuple):
    """What a block's policy does: in encoded observations ``(task, n, ...)``, given z ``(task, n, latent)``."""

    shown: Tensor
    fixed: Tensor
    acts: Acts


class SAC:
    """Trains actor, critics and encoder by soft actor-critic given z (Haarnoja et al. 2018), all tasks at once.

    With discrete actions the critics give the value of every choice, and expectations over the policy are sums
    (Christodoulou 2019, equations 10 to 12). The twin critics are one network with an axis for the two. Their error and
    the KL train the encoder; the actor and the value do not (Rakelly et al. 2019, algorithm 1).
    """

    def __init__(self, learner: PEARLLearner, params: Params, generator: torch.Generator) -> None:
        self.learner, self.config = learner, learner.config
        n = learner.inputs.n_observation + learner.config.latent
        ends = (n, learner.choices) if learner.choices else (n + learner.inputs.n_action, 1)
        self.q = MLP((ends[0], *self.config.hidden, ends[1]), "relu", output_gain=1.0)
        self.v = MLP((n, *self.config.hidden, 1), "relu", output_gain=1.0)
        device = next(iter(params.values())).device
        twins = [self.q.init(generator) for _ in range(2)]
        critics = {Q + name: torch.stack([twin[name] for twin in twins]) for name in twins[0]}
        if self.config.value_network:
            critics |= {V + name: value for name, value in self.v.init(generator).items()}
        critics = {name: value.to(device) for name, value in critics.items()}
        encoder = {name: value for name, value in params.items() if not name.startswith(ACTOR)}
        actor = {name: value for name, value in params.items() if name.startswith(ACTOR)}
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
        encoder = {name: value for name, value in self.critic.values().items() if not name.startswith((Q, V))}
        return {**encoder, **self.actor.values()}

    def rows(self, part: Trajectory, reward: Tensor) -> Tensor:
        """Return transitions with this ``reward`` as rows for ``update``, ``(task, env, episode, step, row)``."""
        inputs = self.learner.inputs
        numbers = torch.stack([self.config.reward_scale * reward, (~part.terminated).to(reward.dtype)], -1)
        observation, after = (inputs.encoder.flat(seen) for seen in (part.observation, part.next_observation()))
        return torch.cat([observation, inputs.action(part.action), numbers, after], -1)

    def update(
        self,
        batch: Tensor,
        elements: Tensor,
        member: Tensor,
        progress: float,
        generator: torch.Generator,
        parallel: TaskParallel | None = None,
    ) -> dict[str, Tensor]:
        """Take one step of critics, encoder, actor, entropy and targets, and return what to log.

        Args:
            batch: transitions ``(task, n, row)``.
            elements: contexts ``(task, m, n_element)``.
            member: which of the elements belong to the context, ``(task, m)``.
            progress: share of training that is done, in [0, 1].
            generator: draws the noise of z and of the actions.
            parallel: cuts the tasks into blocks, of which other processes may compute some; one block unless given.
        """
        parallel, n_tasks = parallel or TaskParallel(), len(batch)
        config = self.config
        for adam in self._adams.values():
            adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
        noise, alpha = self._noise(batch, generator), self.alpha
        chosen: dict[int, Chosen] = {}  # of each block, by its first task

        def of_critics(rows: slice) -> tuple[Tensor, dict[str, Tensor]]:
            data = batch[rows], elements[rows], member[rows]
            loss, named, chosen[rows.start] = self._critics_loss(*data, [each[rows] for each in noise], alpha)
            share = (rows.stop - rows.start) / n_tasks
            return loss * share, {name: value * share for name, value in named.items()}

        gradient, named = parallel.gradient(self.critic.params, n_tasks, of_critics)
        self.critic.step(gradient)

        judges = {name: value.detach() for name, value in self.critic.params.items() if name.startswith(Q)}

        def of_actor(rows: slice) -> tuple[Tensor, dict[str, Tensor]]:
            shown, fixed, acts = chosen[rows.start]
            gain = self._worth(judges, shown, fixed, acts, alpha)
            small = torch.stack([value.square().mean() for value in acts.outputs.values()]).sum()
            return (config.regularisation * small - gain.mean()) * ((rows.stop - rows.start) / n_tasks), {}

        self.actor.step(parallel.gradient(self.actor.params, n_tasks, of_actor)[0])
        if config.tune_alpha:
            surplus = named["entropy"] - self._wanted_entropy
            self.entropy.minimise(self.entropy.params[_LOG_ALPHA] * surplus)
        with torch.no_grad():
            names = list(self.target)
            torch._foreach_lerp_(
                [self.target[name] for name in names], [self.critic.params[name] for name in names], config.tau
            )
        return named | {"alpha": alpha}

    def _noise(self, batch: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Draw the noise of z, of the actions that follow where the critics have the target, and of the actions now."""
        actions = (*batch.shape[:2], self.learner.inputs.n_action)
        n_actions = 0 if self.learner.choices else 1 if self.config.value_network else 2
        shapes = [(len(batch), self.config.latent), *[actions] * n_actions]
        return [torch.randn(shape, generator=generator).to(batch.device) for shape in shapes]

    def _critics_loss(
        self, batch: Tensor, elements: Tensor, member: Tensor, noise: list[Tensor], alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Chosen]:
        """Return the loss of critics, encoder and value, what to log, and what the policy does where it was shown."""
        config, encoder = self.config, self.learner.inputs.encoder
        seen, action, reward, alive, after = batch.split(self.learner.row, -1)
        observation = encoder(self.critic.params, seen)  # which the critics' error trains, as it does the context's
        mean, variance = self.learner.infer(self.critic.params, elements, member)
        z = mean + variance.sqrt() * noise[0]
        z = z[:, None].expand(-1, batch.shape[1], -1)
        fixed, shown = z.detach(), observation.detach()
        now, following_noise = noise[-1], noise[1:][:1]

        with torch.no_grad():
            after = encoder(self.critic.params, after)
            if config.value_network:
                following = self.v(self.target, torch.cat([after, fixed], -1), V)
            else:
                following = self._worth(self.target, after, fixed, self._act(after, fixed, *following_noise), alpha)
            target = reward + config.gamma * alive * following
        error = (self._taken(self.critic.params, observation, action, z) - target).square().mean((1, 2, 3)).sum()
        kl = kl_to_standard_normal(mean, variance).mean()
        loss = error + config.kl_coef * kl
        named = {"q_error": error, "posterior_kl": kl}

        acts = self._act(shown, fixed, now)
        if config.value_network:
            with torch.no_grad():
                worth = self._worth(self.critic.params, shown, fixed, acts, alpha)
            v_error = (self.v(self.critic.params, torch.cat([shown, fixed], -1), V) - worth).square().mean()
            loss = loss + v_error
            named["v_error"] = v_error
        named |= {"entropy": acts.entropy, "posterior_variance": variance.mean()}
        return loss, named, Chosen(shown, fixed, acts)

    @property
    def _wanted_entropy(self) -> float:
        choices = self.learner.choices
        return _OF_UNIFORM * math.log(choices) if choices else -float(self.learner.inputs.n_action)

    def _act(self, observation: Tensor, z: Tensor, *noise: Tensor) -> Acts:
        outputs = self.learner.outputs(self.actor.params, observation, z)
        if self.learner.choices:
            choice = Categorical(outputs["logits"])
            return Acts(choice.log_probs.exp(), choice.log_probs, outputs, choice.entropy().mean())
        mean = outputs["mean"]
        action, log_prob = SquashedGaussian(mean, outputs["log_std"]).sample_with_log_prob(noise[0])
        return Acts(action, log_prob[..., None], outputs, -log_prob.mean())

    def _worth(self, params: Params, observation: Tensor, z: Tensor, acts: Acts, alpha: Tensor) -> Tensor:
        """Return the soft value ``(task, n, 1)`` by the lesser critic: by one action, or as a sum over all choices."""
        if self.learner.choices:
            each = self._twins(params, observation, z).amin(0) - alpha * acts.log_prob
            return (acts.weight * each).sum(-1, keepdim=True)
        return self._taken(params, observation, acts.weight, z).amin(0) - alpha * acts.log_prob

    def _taken(self, params: Params, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """Return both critics' values ``(2, task, n, 1)`` of actions as rows, those of choices one-hot."""
        if self.learner.choices:
            return (self._twins(params, observation, z) * action).sum(-1, keepdim=True)
        return self._twins(params, observation, z, action)

    def _twins(self, params: Params, *inputs: Tensor) -> Tensor:
        rows = torch.cat(inputs, -1)
        both = rows.flatten(0, 1).expand(2, -1, -1)
        values: Tensor = self.q(params, both, Q).unflatten(1, rows.shape[:2])
        return values

    def state_dict(self) -> dict[str, Tensor]:
        """Return critics, targets and Adam's moments, for an exact resume."""
        own = {name: value for name, value in self.critic.values().items() if name.startswith((Q, V))}
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
