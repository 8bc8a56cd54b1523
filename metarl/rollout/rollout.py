"""The one rollout: a learner acts in batched environments, all tasks and lanes in lockstep, on one device."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metarl.errors import MetaRLError
from metarl.learner import MetaLearner, Noise, Params, State, Transition, keep_where
from metarl.process import torch_beside
from metarl.rollout.batch import ActionMap, Batch, Step
from metarl.rollout.random import Domain, to_normal, uniforms
from metarl.rollout.trajectory import Trajectory

_STEPS_BETWEEN_CHECKS = 8


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
    parts = []
    with torch_beside(getattr(batch, "threads", 1)):
        for episode in range(first_episode, first_episode + episodes):
            part, state = _episode(learner, params, state, batch, lanes, episode, deterministic)
            parts.append(part)
    trajectory = parts[0] if len(parts) == 1 else Trajectory.concatenate(parts)
    _check_finite(trajectory)
    return trajectory, state


def _episode(
    learner: MetaLearner, params: Params, state: State, batch: Batch, lanes: int, episode: int, deterministic: bool
) -> tuple[Trajectory, State]:
    rows = (batch.num_envs // lanes, lanes)
    observation = batch.reset(episode).unflatten(0, rows)
    to_env = ActionMap(batch.action_space, batch.device, torch.float32).to_env
    # Step axis first and contiguous, so that a step's noise is a view without a copy.
    noise = draw(learner.action_noise, batch.keys, Domain.ACTION, episode, batch.horizon)
    noise = noise.transpose(0, 1).contiguous().unflatten(1, rows)
    episode_noise = draw(learner.episode_noise, batch.keys[::lanes], Domain.EPISODE, episode, 1)[:, 0]
    state = learner.begin_episode(params, state, episode_noise)
    nothing_ended = torch.zeros(rows, dtype=torch.bool, device=batch.device)
    recording = _Recording(rows, nothing_ended, nothing_ended)
    for step in range(batch.horizon):
        action, record = learner.act(params, state, observation, noise[step], deterministic)
        outcome = batch.step(to_env(action).flatten(0, 1))
        recording.add(observation, action, record, outcome)
        following = outcome.observation.unflatten(0, rows)
        if learner.online:
            new = learner.observe(params, state, recording.transition(following))
            state = keep_where(~recording.ended_before[:, 0], new, state)
        observation = following
        if recording.finished(step):
            break
    return recording.trajectory(observation, episode_noise), state


@dataclass
class _Recording:
    """The steps of one episode as they come, stacked once at the end."""

    rows: tuple[int, int]
    ended_before: Tensor  # (task, lane), before the last step
    ended: Tensor  # (task, lane), after it
    observations: list[Tensor] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    records: list[dict[str, Tensor]] = field(default_factory=list)
    outcomes: list[Step] = field(default_factory=list)

    def add(self, observation: Tensor, action: Tensor, record: dict[str, Tensor], outcome: Step) -> None:
        self.observations.append(observation)
        self.actions.append(action)
        self.records.append(record)
        self.outcomes.append(outcome)
        over = (outcome.terminated | outcome.truncated).unflatten(0, self.rows)
        self.ended_before, self.ended = self.ended, self.ended | over

    def finished(self, step: int) -> bool:
        """Whether every row has ended. Reading the flag would stop a GPU; there the padding is cut off afterwards."""
        if self.ended.device.type != "cpu" or (step + 1) % _STEPS_BETWEEN_CHECKS:
            return False
        return bool(self.ended.all())

    def transition(self, following: Tensor) -> Transition:
        outcome = self.outcomes[-1]
        return Transition(
            observation=self.observations[-1],
            action=self.actions[-1],
            reward=outcome.reward.unflatten(0, self.rows),
            terminated=outcome.terminated.unflatten(0, self.rows),
            truncated=outcome.truncated.unflatten(0, self.rows),
            next_observation=following,
        )

    def trajectory(self, last: Tensor, episode_noise: Tensor) -> Trajectory:
        """The padded trajectory; the step axis ends with the longest episode."""
        observation = torch.stack([*self.observations, last], dim=2)
        terminated = self._stack([o.terminated for o in self.outcomes])
        truncated = self._stack([o.truncated for o in self.outcomes])
        over = (terminated | truncated).cummax(-1).values
        valid = ~torch.cat([torch.zeros_like(over[..., :1]), over[..., :-1]], -1)
        lengths = valid.sum(-1)
        longest = int(lengths.max())
        index = lengths.reshape(*self.rows, 1, *[1] * (observation.ndim - 3))
        index = index.expand(*self.rows, 1, *observation.shape[3:])

        def whole(value: Tensor) -> Tensor:
            return value[:, :, None, :longest]

        trajectory = Trajectory(
            observation=whole(observation[:, :, :-1]),
            action=whole(torch.stack(self.actions, dim=2)),
            reward=whole(self._stack([o.reward for o in self.outcomes])),
            terminated=whole(terminated),
            truncated=whole(truncated),
            valid=whole(valid),
            final_observation=observation.gather(2, index),
            episode_noise=episode_noise[:, None],
            record={k: whole(torch.stack([r[k] for r in self.records], dim=2)) for k in self.records[0]},
            extras={k: whole(self._stack([o.extras[k] for o in self.outcomes])) for k in self.outcomes[0].extras},
        )
        return trajectory.filled()

    def _stack(self, values: list[Tensor]) -> Tensor:
        stacked: Tensor = torch.stack(values, dim=1).unflatten(0, self.rows)
        return stacked


def draw(noise: Noise, keys: Tensor, domain: Domain, episode: int, steps: int) -> Tensor:
    """Noise ``(environment, steps, n)`` of the kind asked for."""
    u = uniforms(keys, domain, episode, steps, noise.n)
    return to_normal(u) if noise.kind == "normal" else u


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
