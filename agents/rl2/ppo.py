"""The outer loop of the agents with a memory: PPO on whole trials (Schulman et al. 2017; Duan et al. 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from metarl.agents.rl2.learner import FEATURES, RL2Learner
from metarl.core.advantages import discounted_returns, generalised_advantage, next_value_trial
from metarl.core.losses import clipped_surrogate, masked_mean
from metarl.core.normalisation import Standardiser
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params


@dataclass(frozen=True)
class Targets:
    """Advantages and regression targets of a trial's steps, ``(task, env, episode, step)``."""

    advantage: Tensor  # mean 0, standard deviation 1 over all of them
    value: Tensor  # target of the value


def trial_targets(trajectory: Trajectory, gamma: float, gae_lambda: float, scale: float = 1.0) -> Targets:
    """Compute generalised advantages over whole trials, of rewards times ``scale``, without a cut between episodes."""
    valid, value = trajectory.valid, trajectory.record["value"]
    reward = trajectory.reward * scale
    following = next_value_trial(value, valid)
    rewards, values, followings, mask = (x.flatten(2) for x in (reward, value, following, valid))
    advantage = generalised_advantage(rewards, values, followings, mask, gamma, gae_lambda).view_as(value)
    target = value + advantage
    some = advantage[valid]
    advantage = ((advantage - some.mean()) / (some.std(correction=0) + 1e-8)).masked_fill(~valid, 0)
    return Targets(advantage, target)


class TrialPPO:
    """Trains policy and value by Adam on the clipped surrogate, in epochs of minibatches of whole trials.

    Schulman et al. 2017, equations 7 and 9; the value's loss is Huber's.
    """

    def __init__(self, learner: RL2Learner, params: Params) -> None:
        self.learner, self.config = learner, learner.config
        self.adam = Adam(learner.policy_params(params), self.config.learning_rate, self.config.max_grad_norm)
        self._return = Standardiser("return")  # by whose deviation rewards are scaled
        self.return_statistics = self._return.init()

    def update(
        self,
        params: Params,
        trajectory: Trajectory,
        progress: float,
        generator: torch.Generator,
        parallel: TaskParallel | None = None,
    ) -> tuple[Params, dict[str, float]]:
        """Return new parameters after training on trials collected with ``params``, and what to log.

        Where there are several processes, each has all trials, and computes its blocks of every minibatch.
        """
        config, parallel = self.config, parallel or TaskParallel()
        trajectory = trajectory.filled()  # NaN in the padding would reach the gradient: zero times NaN is NaN
        self.adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
        entropy_coef = linear_decay(config.entropy_coef, config.final_entropy, progress)
        if config.normalise_rewards:
            joined = trajectory.reward.flatten(2), trajectory.valid.flatten(2)
            returns = discounted_returns(*joined, config.gamma)
            self.return_statistics = self._return.update(self.return_statistics, returns, joined[1])
        scale = 1 / float(self._return.deviation(self.return_statistics)) if config.normalise_rewards else 1.0
        targets = trial_targets(trajectory, config.gamma, config.gae_lambda, scale)
        buffers = {name: value for name, value in params.items() if name not in self.adam.params}
        fixed = None if self.learner.trains_memory else trajectory.record[FEATURES]
        parts: dict[str, Tensor] = {}
        for _ in range(config.epochs):
            order = torch.randperm(trajectory.n_tasks, generator=generator).to(trajectory.reward.device)
            for rows in order.tensor_split(config.minibatches):
                steps = trajectory.valid[rows].sum().clamp(min=1)

                def loss(block: slice, rows: Tensor = rows, steps: Tensor = steps) -> tuple[Tensor, dict[str, Tensor]]:
                    return self._loss(
                        {**buffers, **self.adam.params}, trajectory, targets, fixed, rows[block], entropy_coef, steps
                    )

                gradient, parts = parallel.gradient(self.adam.params, len(rows), loss)
                self.adam.step(gradient)
        return {**params, **self.adam.values()}, {name: float(value) for name, value in parts.items()}

    def surrogate(self, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy's objective at every step, to be maximised, and where it is clipped; all ``(...)``."""
        return clipped_surrogate(log_prob, old_log_prob, advantage, self.config.clip)

    def _loss(
        self,
        params: Params,
        trajectory: Trajectory,
        targets: Targets,
        fixed: Tensor | None,
        rows: Tensor,
        entropy_coef: float,
        steps: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the share that some rows of a minibatch of so many ``steps`` have in its loss, and in its parts."""
        part = trajectory.tasks(rows)
        if fixed is None:
            outputs, _ = self.learner.replay(params, self.learner.initial(params, len(rows)), part)
        else:
            outputs = self.learner.heads(params, fixed[rows])
        distribution = self.learner.distribution(outputs)
        gain, outside = self.surrogate(
            distribution.log_prob(part.action), part.record["log_prob"], targets.advantage[rows]
        )
        error = functional.huber_loss(outputs["value"], targets.value[rows], reduction="none")
        policy, value, entropy, clipped = (
            masked_mean(x[None], part.valid[None])[0] * (part.valid.sum() / steps)
            for x in (gain, error, distribution.entropy(), outside.float())
        )
        loss = -policy + self.config.value_coef * value - entropy_coef * entropy
        named = {"policy_loss": -policy, "value_loss": value, "entropy": entropy, "clip_fraction": clipped}
        return loss, {name: x.detach() for name, x in named.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return Adam's state and the return's statistics, for an exact resume."""
        return {**self.adam.state_dict(), **self.return_statistics}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        self.adam.load_state_dict(saved)
        self.return_statistics = {name: saved[name] for name in self.return_statistics}
