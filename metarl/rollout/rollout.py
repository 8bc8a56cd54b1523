"""The one rollout: a learner acts in batched environments, all tasks and lanes in lockstep, on one device."""

from typing import NamedTuple

import torch
from torch import Tensor

from metarl.actions import ActionMap
from metarl.errors import MetaRLError
from metarl.learner import MetaLearner, Outputs, Params, State, Transition, keep_where
from metarl.process import torch_beside
from metarl.rollout.batch import Batch, Step
from metarl.rollout.random import Domain
from metarl.rollout.streams import Stream, noise_stream
from metarl.rollout.trajectory import Trajectory


@torch.no_grad()
def rollout(
    learner: MetaLearner,
    params: Params,
    state: State,
    batch: Batch,
    *,
    lanes: int,
    episodes: int = 1,
    first_episode: int = 0,
    deterministic: bool = False,
) -> tuple[Trajectory, State]:
    """Collect ``episodes`` whole episodes of every environment; returns them and the learner's state afterwards.

    ``batch`` holds task × lane environments, the lanes of a task side by side; ``first_episode`` is the number of the
    first episode, which picks its random numbers. The state changes only in ``begin_episode`` and, for online
    learners, in ``observe``. Raises where an observation or a reward is not finite.
    """
    if episodes < 1:
        raise MetaRLError(f"episodes={episodes}: a rollout has at least one.")
    if lanes < 1 or batch.num_envs % lanes:
        raise MetaRLError(f"{batch.num_envs} environments do not divide into lanes of {lanes}; take a multiple.")
    if learner.online and lanes != 1:
        raise MetaRLError(f"{type(learner).__name__} adapts online and has one lane a task, got lanes={lanes}.")
    rows = (batch.num_envs // lanes, lanes)
    action_noise = noise_stream(learner.action_noise, batch.keys, Domain.ACTION, batch.horizon)
    episode_noise = noise_stream(learner.episode_noise, batch.keys[::lanes], Domain.EPISODE, 1)
    recording = _Recording(rows, batch.device)
    with torch_beside(getattr(batch, "threads", 1)):
        for episode in range(first_episode, first_episode + episodes):
            at_start = episode_noise.at(episode, 0)
            recording.begin(at_start)
            observation = batch.reset(episode).unflatten(0, rows)
            state = learner.begin_episode(params, state, at_start)
            state = _episode(
                learner, params, state, batch, recording, observation, action_noise, episode, deterministic
            )
    trajectory = recording.trajectory()
    _check_finite(trajectory)
    return trajectory, state


def _episode(
    learner: MetaLearner,
    params: Params,
    state: State,
    batch: Batch,
    recording: "_Recording",
    observation: Tensor,
    noise: Stream,
    episode: int,
    deterministic: bool,
) -> State:
    """Play one episode from its first observation, recording it; returns the learner's state afterwards."""
    rows = recording.rows
    to_env = ActionMap(batch.action_space, batch.device, torch.float32).to_env
    for step in range(batch.horizon):
        numbers = noise.at(episode, step).unflatten(0, rows)
        action, record = learner.act(params, state, observation, numbers, deterministic)
        outcome = batch.step(to_env(action).flatten(0, 1))
        following = outcome.observation.unflatten(0, rows)
        ended_before, some_ended = recording.ended, recording.some_ended
        transition = recording.add(observation, action, record, outcome, following)
        if learner.online:
            new = learner.observe(params, state, transition)
            state = keep_where(~ended_before[:, 0], new, state) if some_ended else new
        observation = following
        if recording.all_ended:
            break
    return state


class _Recording:
    """The steps of a rollout as they come, stacked once at the end."""

    def __init__(self, rows: tuple[int, int], device: torch.device) -> None:
        self.rows = rows
        self._on_cpu = device.type == "cpu"
        self._nothing_ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self.ended = self._nothing_ended  # (task, lane)
        # Reading the flags would stop a GPU; there states are always masked, and the padding is cut off afterwards.
        self.some_ended, self.all_ended = not self._on_cpu, False
        self._episodes: list[list[_Recorded]] = []
        self._noise: list[Tensor] = []

    def begin(self, noise: Tensor) -> None:
        self.ended, self.some_ended, self.all_ended = self._nothing_ended, not self._on_cpu, False
        self._episodes.append([])
        self._noise.append(noise)

    def add(self, observation: Tensor, action: Tensor, record: Outputs, outcome: Step, following: Tensor) -> Transition:
        transition = Transition(
            observation=observation,
            action=action,
            reward=outcome.reward.unflatten(0, self.rows),
            terminated=outcome.terminated.unflatten(0, self.rows),
            truncated=outcome.truncated.unflatten(0, self.rows),
            next_observation=following,
        )
        self._episodes[-1].append(_Recorded(transition, record, outcome.extras))
        self.ended = self.ended | transition.terminated | transition.truncated
        if self._on_cpu:
            self.some_ended = self.some_ended or bool(self.ended.any())
            self.all_ended = self.some_ended and bool(self.ended.all())
        return transition

    def trajectory(self) -> Trajectory:
        """The padded trajectory; the step axis ends with the longest episode."""
        longest = max(len(steps) for steps in self._episodes)
        # An episode that was stopped since all rows had ended goes on with its last step, which is padding.
        every = [step for steps in self._episodes for step in (*steps, *steps[-1:] * (longest - len(steps)))]

        def stack(values: list[Tensor]) -> Tensor:
            stacked: Tensor = torch.stack(values, dim=2).unflatten(2, (len(self._episodes), longest))
            return stacked

        transitions = Transition(*(stack(list(values)) for values in zip(*(s.transition for s in every), strict=True)))
        over = (transitions.terminated | transitions.truncated).cummax(-1).values
        valid = ~torch.cat([torch.zeros_like(over[..., :1]), over[..., :-1]], -1)
        lengths = valid.sum(-1, keepdim=True)
        following = transitions.next_observation
        last = (lengths - 1).reshape(*lengths.shape, *[1] * (following.ndim - 4))
        final_observation = following.gather(3, last.expand(*lengths.shape, *following.shape[4:])).squeeze(3)
        longest = int(lengths.max())

        def whole(value: Tensor) -> Tensor:
            return value[:, :, :, :longest]

        trajectory = Trajectory(
            observation=whole(transitions.observation),
            action=whole(transitions.action),
            reward=whole(transitions.reward),
            terminated=whole(transitions.terminated),
            truncated=whole(transitions.truncated),
            valid=whole(valid),
            final_observation=final_observation,
            episode_noise=torch.stack(self._noise, dim=1),
            record={k: whole(stack([s.record[k] for s in every])) for k in every[0].record},
            extras={k: whole(stack([s.extras[k].unflatten(0, self.rows) for s in every])) for k in every[0].extras},
        )
        return trajectory.filled()


class _Recorded(NamedTuple):
    transition: Transition
    record: Outputs
    extras: dict[str, Tensor]


def _check_finite(trajectory: Trajectory) -> None:
    """Raise where a number is not finite, naming whoever gave the first: within a step, observation, action, reward."""
    final = trajectory.final_observation.unsqueeze(3)
    given = (("observation", trajectory.observation), ("action", trajectory.action), ("reward", trajectory.reward))
    if all(bool(torch.isfinite(value).all()) for value in (*(value for _, value in given), final)):
        return
    found = []
    for order, (name, value) in enumerate((*given, ("observation", final))):
        bad = ~torch.isfinite(value.flatten(4) if value.ndim > 4 else value[..., None]).all(-1)
        for task, lane, episode, step in bad.nonzero().tolist():
            after = int(trajectory.lengths[task, lane, episode]) if value is final else step
            found.append(
                (after, order % len(given), name, f"task {task}, lane {lane}, episode {episode}, step {after}")
            )
    _, _, name, place = min(found)
    count = f"{sum(each[2] == name for each in found)} times; first in {place}"
    if name == "action":
        raise MetaRLError(
            f"The policy gave an action that is not finite ({count}): it has diverged. Lower its step sizes."
        )
    raise MetaRLError(
        f"The environment gave {'an' if name == 'observation' else 'a'} {name} that is not finite ({count}). Run "
        f"`metarl check` on the family; bound its {name}s."
    )
