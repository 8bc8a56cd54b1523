"""The MetaLearner protocol: state in, state out, nothing hidden on ``self``, and no random numbers drawn.

Axes: ``task`` is one adaptation to one sampled task; ``env`` the environments of a task that run side by side.
``params`` is a flat dict by module name; ``state`` a dict of tensors whose first axis is the task.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core.distributions import ActionDistribution
from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.core.types import Noise, Outputs, Params, State, Transition


class MetaLearner(ABC):
    """A learner that adapts.

    A subclass defines the verbs that its way of adapting needs:

    * by gradient: ``initial``, ``adapt``, and ``policy`` (control) or ``query`` (supervised);
    * by memory: ``online = True``, ``initial``, ``observe``, ``policy`` or ``query``;
    * by inference: ``initial``, ``adapt``, ``begin_episode``, ``policy`` or ``query``.

    ``adapt`` of an online learner knows what the state knows that ``replay`` ends with.
    """

    online: bool = False  # takes data in while acting (observe) rather than afterwards (adapt)
    each_episode: ClassVar[bool] = False  # adapts after every episode rather than to several at once
    training_only: ClassVar[tuple[str, ...]] = ()  # how parameters begin that only training needs, such as a critic's
    gaussian_belief: ClassVar[bool] = False  # whether ``belief`` is a Gaussian's mean and log variance
    action_noise: Noise = Noise()
    episode_noise: Noise = Noise()

    @abstractmethod
    def initial(self, params: Params, n_tasks: int) -> State:
        """Return the state before any data, first axis ``n_tasks``."""

    def acting(self, params: Params) -> Params:
        """Return the parameters that acting, adapting and predicting need, without those that only training needs."""
        return {name: value for name, value in params.items() if not name.startswith(self.training_only)}

    def completed(self, acting: Params, fresh: Params) -> Params:
        """Return what ``acting`` gave, with those of the ``fresh`` parameters that only training needs."""
        needed = self.acting(fresh)
        return {**acting, **{name: value for name, value in fresh.items() if name not in needed}}

    def prepare(self, params: Params) -> Params:
        """Return ``params`` with what acting computes from them alone, once for a rollout rather than at every step."""
        return params

    def adapt(self, params: Params, state: State, support: Any) -> State:
        """Return the state after a batch of support data: labelled samples or a ``Trajectory``."""
        if not self.online:
            raise self._undefined("adapt")
        return self.replay(params, state, support)[1]

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        """Return supervised predictions for ``inputs`` ``(task, sample, ...)``."""
        raise self._undefined("query")

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        """Return the state when an episode starts, mostly the same; ``noise`` is ``(task, episode_noise.n)``."""
        return state

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        """Return distribution parameters, and a value if any, for observations ``(task, n, ...)``; differentiable."""
        raise self._undefined("policy")

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        """Return the action distribution that ``policy``'s outputs describe."""
        raise self._undefined("distribution")

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        """Return actions, and what the trajectory records of them.

        Args:
            observation: ``(task, env, ...)``.
            noise: ``(task, env, action_noise.n)``.
            deterministic: whether to act without noise.

        Returns:
            actions ``(task, env, ...)`` and named tensors ``(task, env, ...)``, such as ``log_prob``.
        """
        outputs = self.policy(params, state, observation)
        distribution = self.distribution(outputs)
        action = distribution.mode() if deterministic else distribution.sample(noise)
        record = {"log_prob": distribution.log_prob(action)}
        if "value" in outputs:
            record["value"] = outputs["value"]
        return action, record

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        """Return the state after one more transition; for online learners."""
        raise self._undefined("observe")

    def skip_exploration(self, state: State) -> State:
        """Return the state for acting at once after data of others, with no episode left for exploring."""
        return state

    def belief(self, params: Params, state: State) -> Tensor | None:
        """Return what the learner knows of the task ``(task, d)``, or None where there is nothing of the kind.

        It is a memory's hidden state, a belief's mean and log variance, or a posterior.
        """
        return None

    def replay(self, params: Params, state: State, trajectory: Trajectory) -> tuple[Outputs, State]:
        """Return ``policy``'s outputs at every recorded step, and the state at the end; differentiable.

        Outputs are ``(task, env, episode, step, ...)``.
        This default is one batched pass per episode, or the fold of ``observe`` for online learners. Padding is cleared
        before anything is computed from it, for zero times NaN is NaN.
        """
        self.check_n_envs(trajectory)
        trajectory = trajectory.filled()
        episodes: list[Outputs] = []
        for episode in range(trajectory.n_episodes):
            state = self.begin_episode(params, state, trajectory.episode_noise[:, episode])
            if self.online:
                outputs, state = self._fold(params, state, trajectory, episode)
            else:
                observation = trajectory.observation[:, :, episode]
                envs_steps = observation.shape[1:3]
                flat = self.policy(params, state, observation.flatten(1, 2))
                outputs = {name: value.unflatten(1, envs_steps) for name, value in flat.items()}
            episodes.append(outputs)
        return {name: torch.stack([o[name] for o in episodes], dim=2) for name in episodes[0]}, state

    def check_n_envs(self, trajectory: Trajectory) -> None:
        """Raise where an online learner is given several envs."""
        if self.online and trajectory.n_envs != 1:
            raise MetaRLError(
                f"{type(self).__name__} adapts online and has one env a task, got n_envs={trajectory.n_envs}; "
                "take trajectory.envs(1)."
            )

    def _fold(self, params: Params, state: State, trajectory: Trajectory, episode: int) -> tuple[Outputs, State]:
        steps: list[Outputs] = []
        for step in range(trajectory.n_steps):
            steps.append(self.policy(params, state, trajectory.observation[:, :, episode, step]))
            new = self.observe(params, state, trajectory.transition(episode, step))
            state = keep_where(trajectory.valid[:, 0, episode, step], new, state)
        return {name: torch.stack([o[name] for o in steps], dim=2) for name in steps[0]}, state

    def _undefined(self, verb: str) -> MetaRLError:
        return MetaRLError(f"{type(self).__name__} has no '{verb}': this learner does not adapt or predict that way.")


def keep_where(row: Tensor, new: State, old: State) -> State:
    """Return ``new`` where ``row`` ``(task,)`` is true, else ``old``: padding must not leak into a memory."""
    return {
        name: torch.where(row.reshape(-1, *[1] * (value.ndim - 1)), value, old[name]) for name, value in new.items()
    }
