"""One step of a policy as a torch module of tensors in and tensors out, which other runtimes can run."""

from typing import Any

import gymnasium
import torch
from torch import Tensor, nn

from metarl.core.actions import ActionMap
from metarl.core.learner import MetaLearner, keep_where
from metarl.core.types import Params, State, Transition

LAST_OBSERVATION, LAST_ACTION = "last.observation", "last.action"


def taken_in(
    learner: MetaLearner, params: Params, memory: State, observation: Tensor, reward: Tensor, ended: Tensor
) -> State:
    """Return an online learner's state after the transition that its last action led to.

    Args:
        learner: that acted.
        params: its parameters, prepared.
        memory: its state, with the last observation and action.
        observation: that followed ``(1, 1, ...)``; where an episode ended, its final one.
        reward: of the transition ``(1, 1)``.
        ended: whether it was the episode's last ``(1, 1)``.
    """
    transition = Transition(
        observation=memory[LAST_OBSERVATION],
        action=memory[LAST_ACTION],
        reward=reward,
        terminated=ended,
        truncated=torch.zeros_like(ended),
        next_observation=observation,
    )
    before = {name: value for name, value in memory.items() if name not in (LAST_OBSERVATION, LAST_ACTION)}
    return learner.observe(params, before, transition)


class PolicyStep(nn.Module):
    """A policy without exploration noise, whose parameters and what it knows of its task are constants.

    ``example`` holds arguments of ``forward`` and ``names`` what they are called; ``returned`` names the outputs.

    Args:
        learner: that acts.
        params: of the learner.
        state: what it knows, of one task.
        observation_space: of the observations.
        action_space: of the actions that are returned; an index and a vector of a Tuple are one row.
    """

    names: tuple[str, ...]
    returned: tuple[str, ...]
    example: tuple[Any, ...]

    def __init__(
        self,
        learner: MetaLearner,
        params: Params,
        state: State,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> None:
        super().__init__()
        self.learner = learner
        self.known = learner.prepare({name: value.detach().cpu() for name, value in params.items()})
        self.start = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.map = ActionMap(action_space, "cpu", torch.float32)
        self.shape = observation_space.shape or ()

    def act(self, state: State, observation: Tensor) -> Tensor:
        """Return the policy's own actions ``(1, n, ...)`` for observations ``(1, n, ...)``."""
        noise = observation.new_zeros(*observation.shape[:2], self.learner.action_noise.n)
        return self.learner.act(self.known, state, observation, noise, deterministic=True)[0]


class FixedStep(PolicyStep):
    """A step of a policy that learns nothing while it acts: observations ``(n, ...)`` in, actions ``(n, ...)`` out.

    Where the learner draws something for each episode, as PEARL draws z, standard normal numbers are an input: zeros
    stand for the posterior's mean.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        n_noise = self.learner.episode_noise.n
        self.names = ("observation", *(["episode_noise"] if n_noise else []))
        self.returned = ("action",)
        # Not one observation: the exporter would take their number for fixed.
        self.example = (torch.zeros(2, *self.shape), *([torch.zeros(n_noise)] if n_noise else []))

    def forward(self, observation: Tensor, episode_noise: Tensor | None = None) -> Tensor:
        """Return the actions for observations."""
        state = self.start
        if episode_noise is not None:
            state = self.learner.begin_episode(self.known, state, episode_noise[None])
        return self.map.to_env(self.act(state, observation[None]))[0]


class OnlineStep(PolicyStep):
    """A step of a policy that learns while it acts: its memory is an input, and the next one an output.

    It is called as ``AdaptedPolicy.predict`` is: after an episode's last step once more, with the final observation,
    the reward and ``episode_start`` true, and that action is left be. For the first observation of the next episode the
    reward is NaN, for there is no transition to take in. It acts without noise: a z that is drawn is the mean.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        seen = torch.zeros(1, 1, *self.shape)
        memory = {**self.start, LAST_OBSERVATION: seen, LAST_ACTION: self.act(self.start, seen)}
        self.names = ("observation", "reward", "episode_start", "trial_start", *(f"state.{name}" for name in memory))
        self.returned = ("action", *(f"next.{name}" for name in memory))
        no = torch.zeros(1, dtype=torch.bool)
        self.example = (seen[0], torch.zeros(1), no, no.clone(), {k: torch.zeros_like(v) for k, v in memory.items()})

    def forward(
        self, observation: Tensor, reward: Tensor, episode_start: Tensor, trial_start: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Return the action and the memory for the next step.

        Args:
            observation: ``(1, ...)``.
            reward: of the last transition ``(1,)``; NaN where there is none.
            episode_start: whether an episode begins ``(1,)``.
            trial_start: whether it is the first step on a task ``(1,)``; reward and state are then left unread.
            state: the memory that the last step returned.
        """
        seen = observation[None]
        after = taken_in(self.learner, self.known, state, seen, reward[None], episode_start[None])
        before = {name: state[name] for name in self.start}
        memory = keep_where(trial_start, self.start, keep_where(reward.isnan(), before, after))
        begun = self.learner.begin_episode(self.known, memory, observation.new_zeros(1, self.learner.episode_noise.n))
        memory = keep_where(episode_start | trial_start, begun, memory)
        action = self.act(memory, seen)
        returned = {**{name: memory[name] for name in self.start}, LAST_OBSERVATION: seen, LAST_ACTION: action}
        return self.map.to_env(action)[0], returned
