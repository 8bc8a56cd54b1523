"""The evidence lower bound of whole trials, which trains VariBAD's belief (Zintgraf et al. 2020, equations 8 to 10)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from metarl.agents.varibad.learner import VariBADLearner
from metarl.core.networks import MLP
from metarl.core.normalisation import trained
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params

DECODER = "decoder."


class Drawn(NamedTuple):
    """What is drawn for one bound, each with the trial as its first axis."""

    beliefs: Tensor  # steps whose beliefs are decoded, ``(task, belief)``
    noise: Tensor  # standard normal, ``(task, belief, latent)``
    steps: Tensor  # that they have to explain, ``(task, step)``


class ELBO:
    """Compute the bound: a belief at any step has to explain the whole trial, the past and the future.

    The decoder serves training alone, so its parameters are here and not among the learner's.
    """

    def __init__(self, learner: VariBADLearner) -> None:
        self.learner, self.config = learner, learner.config
        inputs = learner.inputs
        self._n_inputs = 2 * inputs.n_observation + inputs.n_action
        n_outputs = 1 + inputs.n_observation  # the reward and the next observation
        # The first layer is linear in (belief, transition), so its two parts are computed apart and added.
        self._first = MLP((self.config.latent + self._n_inputs, self.config.decoder[0]), output_gain=2**0.5)
        self._rest = MLP((*self.config.decoder, n_outputs), "relu", output_gain=1.0)

    def init(self, generator: torch.Generator) -> Params:
        """Return the decoder's parameters before training."""
        first = {f"{DECODER}first.{name}": value for name, value in self._first.init(generator).items()}
        return first | {f"{DECODER}rest.{name}": value for name, value in self._rest.init(generator).items()}

    def decode(self, params: Params, z: Tensor, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """Return reward and next observation of each transition, as each belief's sample explains them.

        Args:
            z: samples ``(task, belief, latent)``.
            transitions: ``(task, step, n)``; the next observation is decoded from one that leaves it out.

        Returns:
            ``(task, belief, step)`` and ``(task, belief, step, n_observation)``.
        """
        weight, bias = params[f"{DECODER}first.0.weight"], params[f"{DECODER}first.0.bias"]
        of_z = functional.linear(z, weight[:, : z.shape[-1]], bias)[:, :, None]

        def output(rows: Tensor) -> Tensor:
            of_rows = functional.linear(rows, weight[:, z.shape[-1] :])[:, None]
            return self._rest(params, torch.relu(of_z + of_rows), f"{DECODER}rest.")

        n = self.learner.inputs.n_observation
        before, after = transitions[..., :-n], transitions[..., -n:]
        if self.config.decoder_input == "next_observation":
            reward = output(torch.cat([torch.zeros_like(before), after], -1))[..., 0]
        else:
            reward = output(transitions)[..., 0]
        if not self.config.state_coef:
            return reward, reward.new_zeros(*reward.shape, 0)
        without = torch.cat([before, torch.zeros_like(after)], -1)
        return reward, output(without)[..., 1:]

    def draw(self, trajectory: Trajectory, generator: torch.Generator) -> Drawn:
        """Draw which beliefs are decoded, with what noise, and which steps they have to explain."""
        valid, config = trajectory.valid.flatten(1), self.config
        beliefs = _draw(valid, config.vae_beliefs, generator)
        noise = torch.randn((*beliefs.shape, config.latent), generator=generator).to(valid.device)
        return Drawn(beliefs, noise, _draw(valid, config.vae_targets, generator))

    def loss(
        self, params: Params, trajectory: Trajectory, drawn: Drawn, rows: slice = slice(None)
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return minus the bound, a mean over trials and beliefs, and its parts.

        Of the beliefs and of the steps that they have to explain some are drawn, the sum over the steps of a trial
        being estimated from them. The prior of a belief is the one before it (equation 10), of the first a standard
        normal.

        Args:
            params: the learner's, and the decoder's.
            trajectory: trials.
            drawn: of all of them.
            rows: some of the trials, whose share in the means over all of them is returned.
        """
        config, learner, n_all = self.config, self.learner, trajectory.n_tasks
        mean_length = trajectory.valid.flatten(1).sum(1)[:, None, None].float().mean()
        drawn, trajectory = Drawn(*(each[rows] for each in drawn)), trajectory.tasks(rows).filled()
        share = trajectory.n_tasks / n_all
        read, _ = learner.remember(params, learner.initial(params, trajectory.n_tasks), trajectory)
        mean, log_variance = learner.gaussian(params, read.flatten(1, 3))
        valid = trajectory.valid.flatten(1)
        # The belief after an episode's last step is first read in the padding behind it, if there is any, so only the
        # padding behind the whole trial is left out.
        in_trial = valid.flip(1).cumsum(1).flip(1) > 0
        kl = _kl_to_previous(mean, log_variance).masked_fill(~in_trial, 0).sum(1) / valid.sum(1)

        chosen = drawn.beliefs[..., None].expand(-1, -1, mean.shape[-1])
        z = mean.gather(1, chosen) + torch.exp(0.5 * log_variance.gather(1, chosen)) * drawn.noise

        transitions = learner.inputs.decodable(params, trajectory).flatten(1, 3)
        transitions = transitions.gather(1, drawn.steps[..., None].expand(-1, -1, transitions.shape[-1]))
        reward, following = self.decode(params, z, transitions)
        truth = learner.inputs.reward(params, trajectory.reward).flatten(1).gather(1, drawn.steps)[:, None]
        length = valid.sum(1)[:, None, None]
        reward_error = ((reward - truth).square() * length).mean() * share
        state_error = torch.zeros_like(reward_error)
        if config.state_coef:
            seen = transitions[..., -learner.inputs.n_observation :][:, None]
            state_error = ((following - seen).square().mean(-1) * length).mean() * share
        belief_kl = kl.mean() * share
        loss = config.reward_coef * reward_error + config.state_coef * state_error + config.kl_coef * belief_kl
        parts = {"reward_error": reward_error / mean_length, "belief_kl": belief_kl}
        if config.state_coef:
            parts["state_error"] = state_error / mean_length
        return loss, {name: value.detach() for name, value in parts.items()}


class BeliefTraining:
    """Take Adam's steps on the bound, of the memory, the belief and the decoder."""

    def __init__(self, learner: VariBADLearner, params: Params, generator: torch.Generator) -> None:
        self.elbo = ELBO(learner)
        heads = learner.policy_params(params)
        own = {name: value for name, value in trained(params).items() if name not in heads}
        device = next(iter(params.values())).device
        decoder = {name: value.to(device) for name, value in self.elbo.init(generator).items()}
        self.adam = Adam({**own, **decoder}, learner.config.vae_learning_rate, learner.config.max_grad_norm)

    def update(
        self,
        params: Params,
        trajectory: Trajectory,
        progress: float,
        generator: torch.Generator,
        parallel: TaskParallel | None = None,
    ) -> tuple[Params, dict[str, Tensor]]:
        """Return new parameters after one step on these trials, and what to log."""
        # It falls as the policy's does, which would otherwise end on beliefs that still move.
        config = self.elbo.config
        self.adam.learning_rate = linear_decay(config.vae_learning_rate, config.final_learning_rate, progress)
        drawn, every = self.elbo.draw(trajectory, generator), {**params, **self.adam.params}
        gradient, parts = (parallel or TaskParallel()).gradient(
            self.adam.params, trajectory.n_tasks, lambda rows: self.elbo.loss(every, trajectory, drawn, rows)
        )
        self.adam.step(gradient)
        learned = self.adam.values()
        return {name: learned.get(name, value) for name, value in params.items()}, parts

    def state_dict(self) -> dict[str, Tensor]:
        """Return the decoder and Adam's state, for an exact resume."""
        decoder = {name: value for name, value in self.adam.values().items() if name.startswith(DECODER)}
        return {**decoder, **self.adam.state_dict()}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        with torch.no_grad():
            for name, value in self.adam.params.items():
                if name.startswith(DECODER):
                    value.copy_(saved[name])
        self.adam.load_state_dict(saved)


def _kl_to_previous(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL ``(task, step)`` of each belief ``(task, step, latent)`` to the one before, the first to N(0, 1).

    All padding behind an episode holds the belief after the episode's last step: its first step has that belief's
    distance, and the others none.
    """
    prior_mean = torch.cat([torch.zeros_like(mean[:, :1]), mean[:, :-1]], 1)
    prior_log = torch.cat([torch.zeros_like(mean[:, :1]), log_variance[:, :-1]], 1)
    distance = (mean - prior_mean).square() * torch.exp(-prior_log)
    return 0.5 * (torch.exp(log_variance - prior_log) + distance - 1 + prior_log - log_variance).sum(-1)


def _draw(valid: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return indices ``(task, n)`` of valid steps, different ones where there are enough."""
    score = torch.rand(valid.shape, generator=generator).to(valid.device).masked_fill(~valid, -1)
    order = score.argsort(1, descending=True)
    count = valid.sum(1, keepdim=True)
    return order.gather(1, torch.arange(n, device=valid.device).expand(len(valid), -1) % count)
