"""The recording of a rollout's steps, read once at the end."""

from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Transition
from metarl.rollout.batch import Step


class Recording:
    """Keep the steps of a rollout as they come, and stack them once at the end."""

    def __init__(self, rows: tuple[int, int], device: torch.device) -> None:
        self.rows = rows
        self._on_cpu = device.type == "cpu"
        self._nothing_ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self.ended = self._nothing_ended  # (task, env)
        # Reading the flags would stop a GPU; there states are always masked, and the padding is cut off afterwards.
        self.some_ended, self.all_ended = not self._on_cpu, False
        self._episodes: list[list[_Recorded]] = []
        self._noise: list[Tensor] = []

    def begin(self, noise: Tensor) -> None:
        """Begin an episode, with its noise ``(task, n)``."""
        self.ended, self.some_ended, self.all_ended = self._nothing_ended, not self._on_cpu, False
        self._episodes.append([])
        self._noise.append(noise)

    def add(self, observation: Tensor, action: Tensor, record: Outputs, outcome: Step, following: Tensor) -> Transition:
        """Keep a step, and return it as an online learner observes it."""
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
        """Return the trajectory, padded to the longest episode; raises where it is not finite."""
        whole = self._stacked()
        longest, finite = read(torch.stack([whole.lengths.max(), _all_finite(whole)]))
        if not finite:
            raise _not_finite(whole)
        return whole if longest == whole.n_steps else whole.cut(longest)

    def _stacked(self) -> Trajectory:
        """All steps, those after everybody's end among them."""
        longest = max(len(steps) for steps in self._episodes)
        # An episode that was stopped since all rows had ended goes on with its last step, which is padding.
        every = [step for steps in self._episodes for step in (*steps, *steps[-1:] * (longest - len(steps)))]

        def stack(values: list[Tensor]) -> Tensor:
            stacked: Tensor = torch.stack(values, dim=2).unflatten(2, (len(self._episodes), longest))
            return stacked

        transitions = Transition(*(stack(list(values)) for values in zip(*(s.transition for s in every), strict=True)))
        over = (transitions.terminated | transitions.truncated).cummax(-1).values
        valid = ~torch.cat([torch.zeros_like(over[..., :1]), over[..., :-1]], -1)
        following = transitions.next_observation
        last = (valid.sum(-1, keepdim=True) - 1).reshape(*valid.shape[:3], *[1] * (following.ndim - 3))
        final_observation = following.gather(3, last.expand(*valid.shape[:3], 1, *following.shape[4:])).squeeze(3)
        trajectory = Trajectory(
            observation=transitions.observation,
            action=transitions.action,
            reward=transitions.reward,
            terminated=transitions.terminated,
            truncated=transitions.truncated,
            valid=valid,
            final_observation=final_observation,
            episode_noise=torch.stack(self._noise, dim=1),
            record={k: stack([s.record[k] for s in every]) for k in every[0].record},
            extras={k: stack([s.extras[k].unflatten(0, self.rows) for s in every]) for k in every[0].extras},
        )
        return trajectory.filled()


class _Recorded(NamedTuple):
    transition: Transition
    record: Outputs
    extras: dict[str, Tensor]


def read(flags: Tensor) -> list[int]:
    """Read flags from the device, once a rollout: here the host waits for all that was asked of it."""
    values: list[int] = flags.tolist()
    return values


def _given(trajectory: Trajectory) -> list[tuple[str, Tensor]]:
    """What learner and environment gave, in the order in which a step has them, and what came last."""
    return [
        ("observation", trajectory.observation),
        ("action", trajectory.action),
        ("reward", trajectory.reward),
        ("observation", trajectory.final_observation.unsqueeze(3)),
    ]


def _all_finite(trajectory: Trajectory) -> Tensor:
    return torch.stack([torch.isfinite(value).all() for _, value in _given(trajectory)]).all()


def _not_finite(trajectory: Trajectory) -> MetaRLError:
    """An error that names whoever gave the first such number: within a step, observation, action, reward."""
    found = []
    given = _given(trajectory)
    for order, (name, value) in enumerate(given):
        bad = ~torch.isfinite(value.flatten(4) if value.ndim > 4 else value[..., None]).all(-1)
        last = order == len(given) - 1
        for task, env, episode, step in bad.nonzero().tolist():
            after = int(trajectory.lengths[task, env, episode]) if last else step
            found.append((after, order % 3, name, f"task {task}, env {env}, episode {episode}, step {after}"))
    _, _, name, place = min(found)
    count = f"{sum(each[2] == name for each in found)} times; first in {place}"
    if name == "action":
        return MetaRLError(
            f"The policy gave an action that is not finite ({count}): it has diverged. Lower its step sizes."
        )
    return MetaRLError(
        f"The environment gave {'an' if name == 'observation' else 'a'} {name} that is not finite ({count}). Run "
        f"`metarl check` on the family; bound its {name}s."
    )
