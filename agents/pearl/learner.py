"""The learner of PEARL: a posterior over a latent task, drawn from once an episode, and a policy on what was drawn."""

from typing import Any

import gymnasium
import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.inference import Attention, GaussianProduct, Mean, Pool
from metarl.adapt.transitions import TransitionInput
from metarl.agents.pearl.config import PEARLConfig
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.networks import MLP
from metarl.core.trajectory import Trajectory
from metarl.core.types import Noise, Outputs, Params, State, Transition

ENCODER, ACTOR, OBSERVATION = "encoder.", "actor.", "observation_encoder."
Z, EPISODES = "z", "episodes"
NOISE, STEPS = "noise", "steps"  # of an episode in which z is refined
_HEAD = ENCODER + "head."
_POOLED = 64  # numbers of a mean or an attention, from which the posterior is made
_LOG_STD = -20.0, 2.0


class PEARLLearner(MetaLearner):
    """A policy on a latent task z, inferred from transitions (PEARL; Rakelly et al. 2019, sections 4 and 5).

    The state is the posterior's natural parameters, the number of episodes so far, and z. An episode is played with one
    z. In the first ``prior_episodes`` it is drawn from the prior, whatever has been seen, so that they explore; from
    then on from the posterior of all transitions so far. With ``refine_every`` the learner takes in every transition as
    it comes, and after so many steps of an episode z follows the posterior, with the noise that it was drawn with.
    """

    each_episode = True
    gaussian_belief = True

    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], config: PEARLConfig
    ) -> None:
        self.config = config
        self.online = config.refine_every > 0
        self.inputs = TransitionInput(observation_space, action_space, config.observation_encoder, OBSERVATION)
        actions = self.inputs.actions
        if actions.choices and actions.axes:
            raise MetaRLError(
                f"PEARL's soft actor-critic acts in a Box or in a Discrete, got {action_space}; take maml, rl2 or "
                "varibad."
            )
        n, self.choices = self.inputs.n_observation, actions.choices
        n_encoded = n + actions.size + 1 + n * config.next_observation
        self.pool: Pool = GaussianProduct(config.latent, prior=config.prior_factor)
        if config.pooling != "product":
            self.pool = (Mean if config.pooling == "mean" else Attention)(_POOLED)
        # Where the pool is no posterior itself. What each transition says need not be of the latent's own coordinates.
        self.head = MLP((_POOLED, _POOLED, config.latent * 2), "relu", output_gain=0.1)
        self.encoder = MLP((n_encoded, *config.encoder, self.pool.n_inputs), "relu", output_gain=0.1)
        self.actor = MLP((n + config.latent, *config.hidden, self.choices or 2 * actions.axes), "relu")
        self.action_noise, self.episode_noise = actions.noise, Noise(config.latent, "normal")

    @property
    def row(self) -> tuple[int, int, int, int, int]:
        """Sizes of a kept transition's parts: observation, action, reward, whether it goes on, next observation."""
        n = self.inputs.encoder.n_numbers
        return n, self.inputs.n_action, 1, 1, n

    @property
    def n_element(self) -> int:
        """Numbers of a transition in a context, before observations are encoded."""
        return sum(self._element)

    @property
    def rewards(self) -> int:
        """Place of the reward among those numbers."""
        return sum(self._element[:2]) - 1

    @property
    def _element(self) -> tuple[int, int, int]:
        n = self.inputs.encoder.n_numbers
        return n, self.inputs.n_action + 1, n * self.config.next_observation

    def init(self, generator: torch.Generator) -> Params:
        """Draw the parameters before training."""
        parts = [(ENCODER, self.encoder), (ACTOR, self.actor)]
        if not isinstance(self.pool, GaussianProduct):
            parts.insert(1, (_HEAD, self.head))
        params = {prefix + name: value for prefix, net in parts for name, value in net.init(generator).items()}
        return params | self.inputs.init(generator)

    def initial(self, params: Params, n_tasks: int) -> State:
        like = next(iter(params.values()))
        pooled = self.pool.initial(n_tasks, like=like.detach())
        state = {**pooled, EPISODES: like.new_zeros(n_tasks), Z: like.new_zeros(n_tasks, self.config.latent)}
        return {**state, NOISE: state[Z].clone(), STEPS: state[EPISODES].clone()} if self.online else state

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        explores = (state[EPISODES] < self.config.prior_episodes)[:, None]
        begun = {**state, Z: torch.where(explores, noise, self._drawn(params, state, noise))}
        if self.online:
            begun |= {NOISE: noise, STEPS: torch.zeros_like(state[STEPS])}
        return begun

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        """Multiply the posterior by what one transition says, and let z follow it every ``refine_every`` steps."""
        elements = self._elements(
            transition.observation, transition.action, transition.reward, transition.next_observation
        )
        steps = state[STEPS] + 1
        # An episode counts by its first step: who steps a policy by hand may begin one twice.
        episodes = state[EPISODES] + (steps == 1)
        new = {**state, **self.pool.add(state, self._said(params, elements)), STEPS: steps, EPISODES: episodes}
        refined = (steps % self.config.refine_every == 0)[:, None]
        return {**new, Z: torch.where(refined, self._drawn(params, new, state[NOISE]), state[Z])}

    def _drawn(self, params: Params, state: State, noise: Tensor) -> Tensor:
        """Return z drawn from the posterior by standard normal noise, ``(task, latent)``."""
        mean, variance = self.posterior(params, state)
        return mean + variance.sqrt() * noise

    def adapt(self, params: Params, state: State, support: Trajectory) -> State:
        """Multiply the posterior by what the support's transitions say, those of every env and episode."""
        support = support.filled()
        elements = self.elements(support).flatten(1, 3)
        pooled = self.pool.add(state, self._said(params, elements), support.valid.flatten(1)[:, None])
        return {**state, **pooled, EPISODES: state[EPISODES] + support.n_envs * support.n_episodes}

    def skip_exploration(self, state: State) -> State:
        return {**state, EPISODES: state[EPISODES].clamp(min=self.config.prior_episodes)}

    def elements(self, trajectory: Trajectory) -> Tensor:
        """Return the transitions as contexts hold them, ``(task, env, episode, step, n_element)``."""
        after = trajectory.next_observation() if self.config.next_observation else None
        return self._elements(trajectory.observation, trajectory.action, trajectory.reward, after)

    def _elements(self, observation: Tensor, action: Tensor, reward: Tensor, after: Tensor | None) -> Tensor:
        flat = self.inputs.encoder.flat
        parts = [flat(observation), self.inputs.action(action), reward[..., None]]
        if self.config.next_observation:
            assert after is not None
            parts.append(flat(after))
        return torch.cat(parts, -1)

    def _said(self, params: Params, elements: Tensor) -> Tensor:
        """Return what the encoder says of each transition ``(task, n, n_element)``."""
        observation, others, after = elements.split(self._element, -1)
        parts = [self.inputs.encoder(params, observation), others]
        if self.config.next_observation:
            parts.append(self.inputs.encoder(params, after))
        return self.encoder(params, torch.cat(parts, -1), ENCODER)

    def posterior(self, params: Params, state: State) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and variance ``(task, latent)``; those of the prior before any data."""
        if isinstance(self.pool, GaussianProduct):
            mean, variance = self.pool.moments(state)
        else:
            nothing = self.pool.nothing(state)[..., None]
            mean, spread = self.head(params, self.pool.read(state), _HEAD).chunk(2, -1)
            mean, variance = torch.where(nothing, 0, mean), torch.where(nothing, 1, functional.softplus(spread))
        return mean[:, 0], variance[:, 0]

    def infer(self, params: Params, elements: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Infer the posterior of a context for each task, ``(task, n, n_element)`` where ``member`` ``(task, n)``."""
        empty = self.pool.initial(len(elements), like=elements)
        pooled = self.pool.add(empty, self._said(params, elements), member[:, None])
        return self.posterior(params, pooled)

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        seen = self.inputs.observation(params, observation)
        return self.outputs(params, seen, state[Z][:, None].expand(*seen.shape[:-1], -1))

    def outputs(self, params: Params, observation: Tensor, z: Tensor) -> Outputs:
        """Return the action's distribution parameters for encoded observations ``(..., n)`` and ``(..., latent)``."""
        out = self.actor(params, torch.cat([observation, z], -1), ACTOR)
        if self.choices:
            return {"logits": out}
        mean, log_std = out.chunk(2, -1)
        return {"mean": mean, "log_std": log_std.clamp(*_LOG_STD)}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs, squash=True)

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        """Choose actions; as learning is off the policy, nothing is recorded of them."""
        distribution = self.distribution(self.policy(params, state, observation))
        return distribution.mode() if deterministic else distribution.sample(noise), {}

    def belief(self, params: Params, state: State) -> Tensor:
        """Return the posterior's mean and log variance, ``(task, 2 latent)``."""
        mean, variance = self.posterior(params, state)
        return torch.cat([mean, variance.log()], -1)
