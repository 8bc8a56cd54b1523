"""Checks of how a family behaves: its tasks and splits, its random numbers, its episodes and its reference policies."""

from collections.abc import Iterator

import gymnasium
import numpy as np
import torch

from metarl.core.random import gymnasium_keys, stream_keys
from metarl.family.base import TaskFamily
from metarl.family.checks.play import (
    N_ENVS,
    TOLERANCE,
    Array,
    Checks,
    Found,
    Played,
    Subject,
    difference,
    play,
    some_actions,
)
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Tasks

_HIDDEN = (
    "Take all randomness from u (in an environment of Gymnasium's from self.np_random), read the task from task alone, "
    "and keep nothing on self between calls or episodes."
)


def splits(subject: Subject) -> Iterator[Found]:
    """The parts are what the split's kind says, and the same when they are made anew."""
    family = subject.family
    split, again = family.splits, subject.again().splits
    if split.hash != again.hash or split.val != again.val:
        yield f"The split hashes to {split.hash}, made anew to {again.hash}.", "Draw its tasks from stream_keys alone."
    if split.kind != family.split.kind:
        yield f"The rule is {family.split.kind}, the split it makes is {split.kind}.", "Make them agree."
    keys = stream_keys(256, "check", "splits")
    train = split.train(keys) if split.train_set is None else split.train_set
    shared = sum(row in set(split.test.rows()) for row in train.rows())
    if split.kind != "closed" and shared:
        yield f"{shared} of {len(train)} training tasks are test tasks.", "Cut the parts apart, or declare Closed()."
    if split.kind == "closed" and set(train.rows()) != set(split.test.rows()):
        yield (
            "The split is closed, but train and test differ.",
            "Declare Fresh() or Disjoint(), or return one set for both.",
        )
    held_out = set() if split.val is None or split.kind == "closed" else set(split.val.rows())
    if shared := sum(row in held_out for row in train.rows()):
        yield f"{shared} of {len(train)} training tasks are val tasks.", "Hold them out of training."
    for name, tasks in (("training", train), ("test", split.test)):
        outside = [i for i in range(len(tasks)) if not _inside(family, tasks, i)]
        if outside:
            yield (
                f"{len(outside)} of {len(tasks)} {name} tasks lie outside the space.",
                f"Draw them from {family.tasks}.",
            )
    if split.ood is not None:
        inside = sum(_inside(family, split.ood, i) for i in range(len(split.ood)))
        if inside:
            yield (
                f"{inside} of {len(split.ood)} ood tasks lie inside the training space.",
                "Declare an ood range outside it.",
            )


def default_task(subject: Subject) -> Iterator[Found]:
    """The default task is not over before it has begun."""
    family = subject.family
    if family.horizon == 1:
        return
    space, tasks = family.action_space, Tasks.stack([family.default()]).repeat(N_ENVS)
    actions = some_actions(space, 1, N_ENVS)
    how = "whatever the action"
    if isinstance(space, gymnasium.spaces.Box):
        actions[:] = torch.zeros_like(actions).clamp(torch.as_tensor(space.low), torch.as_tensor(space.high))
        how = "standing still"
    ended = int(play(subject.batch(tasks, gymnasium_keys(0, N_ENVS)), actions).terminated[0].sum())
    if ended > N_ENVS // 2:
        what = f"On the default task {ended} of {N_ENVS} episodes end at their first step, {how}."
        yield what, "Choose a default_task that is not solved, or lost, at reset."


def spaces(subject: Subject) -> Iterator[Found]:
    """Observations lie in their space, rewards are finite."""
    family, played = subject.family, subject.played
    reached = np.concatenate([np.ones_like(played.valid[:1]), played.valid])
    assert isinstance(family.observation_space, gymnasium.spaces.Box)
    low, high = family.observation_space.low, family.observation_space.high
    for name, value, mask in (("observation", played.observation, reached), ("reward", played.reward, played.valid)):
        wrong = ~np.isfinite(value).reshape(*mask.shape, -1).all(-1) & mask
        if wrong.any():
            step, row = np.argwhere(wrong)[0]
            where = f"environment {row} ({_words(subject.tasks, row)}), step {step}"
            what = f"A {name} is not finite: {value[step, row].tolist()} in {where}."
            yield what, f"Bound what the {name} is made of."
            return
    outside = ((played.observation < low) | (played.observation > high)) & reached.reshape(
        *reached.shape, *[1] * len(family.observation_space.shape)
    )
    if outside.any():
        first = tuple(np.argwhere(outside)[0])
        number, limits = played.observation[first], (low[first[2:]], high[first[2:]])
        where = f"element {tuple(int(i) for i in first[2:])}, environment {first[1]}, step {first[0]}"
        what = f"An observation leaves its space: {number:.6g} is not in [{limits[0]:.6g}, {limits[1]:.6g}] ({where})."
        yield what, "Widen observation_space, or clamp in observe."


def horizon(subject: Subject) -> Iterator[Found]:
    """The engine truncates exactly at the horizon, where the episode has not terminated."""
    family, played = subject.family, subject.played
    valid, last = played.valid, len(played.reward) - 1
    if (played.terminated & played.truncated & valid).any():
        yield "A step is both terminated and truncated.", "Truncate only where the episode has not terminated."
    if played.truncated[: family.horizon - 1][valid[: family.horizon - 1]].any():
        step = int(np.argwhere(played.truncated & valid)[0][0]) + 1
        what = f"An episode is truncated after {step} steps, the horizon is {family.horizon}."
        yield what, "Truncate at the horizon."
    if last == family.horizon - 1 and not (played.terminated | played.truncated)[last][valid[last]].all():
        yield f"An episode goes on after the horizon of {family.horizon} steps.", "Truncate at the horizon."
    if family.horizon == 1 and not played.terminated[0].all():
        remedy = "Terminate it: nothing is cut off there, and Gymnasium's checker refuses to truncate a first step."
        yield "horizon = 1, and its one step does not terminate.", remedy


def same_seed(subject: Subject) -> Iterator[Found]:
    """Check that equal keys give equal numbers, from this instance and from another."""
    keys = gymnasium_keys(0, N_ENVS)
    for name, family in (("played again", None), ("played by a new instance", subject.again())):
        found = difference(subject.played, play(subject.batch(subject.tasks, keys, family), subject.actions))
        if found is not None:
            yield f"The same seed gives other numbers {name}: {found}.", _HIDDEN
            return


def chunked(subject: Subject) -> Iterator[Found]:
    """Two batches of half the environments are one batch of all."""
    keys, half = gymnasium_keys(0, N_ENVS), N_ENVS // 2
    remedy = "Let no environment depend on another: no sum, mean or sort over axis 0, no size but that of the input."
    for rows in (slice(0, half), slice(half, N_ENVS)):
        part = play(subject.batch(subject.tasks[rows], keys[rows]), subject.actions[:, rows])
        found = difference(subject.played.columns(rows), part)
        if found is not None:
            where = f"environments {rows.start} to {rows.stop - 1}"
            yield f"A batch of {half} is not part of a batch of {N_ENVS} ({where}): {found}.", remedy
            return


def streams(subject: Subject) -> Iterator[Found]:
    """Environments, and episodes, have random numbers of their own."""
    family, episodes = subject.family, N_ENVS
    tasks = Tasks.stack([family.default()]).repeat(N_ENVS)
    steps = min(family.horizon, 32)
    actions = some_actions(family.action_space, steps, 1)[:, [0] * N_ENVS]
    batch = subject.batch(tasks, gymnasium_keys(0, N_ENVS))
    cells = [_bytes(play(batch, actions, episode)) for episode in range(episodes)]
    by_environment, by_episode = {tuple(column) for column in zip(*cells, strict=True)}, {tuple(row) for row in cells}
    if len(by_episode) > 1 and len(by_environment) == 1:
        yield f"{N_ENVS} environments with keys of their own play alike, episode for episode.", _HIDDEN
    if len(by_environment) > 1 and len(by_episode) == 1:
        yield f"{episodes} episodes of every environment are alike, though environments differ.", _HIDDEN


def reference_policies(subject: Subject) -> Iterator[Found]:
    """Every reference policy plays, and the floor earns no more than the optimum."""
    family = subject.family
    tasks = family.splits.test[: min(20, len(family.splits.test))]
    repeats = 1 if family.floor is None or family.optimum is None else 4  # only a comparison needs little noise
    returns: dict[str, Array] = {}
    for name in family.reference_policies():
        scored = policy_returns(family, name, tasks, episodes=min(family.episodes_per_trial, 20), repeats=repeats)
        if not np.isfinite(scored).all():
            yield f"ReferencePolicy {name!r} earns {scored.mean()}.", "Bound its actions and the reward."
            return
        returns[name] = scored.mean(1)
    if family.floor is None or family.optimum is None:
        return
    gap = returns[family.optimum] - returns[family.floor]
    noise = 3 * gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
    if gap.mean() < -noise - TOLERANCE * abs(returns[family.optimum]).max():
        what = (
            f"The floor {family.floor!r} earns {returns[family.floor].mean():.4g}, more than the optimum "
            f"{family.optimum!r} with {returns[family.optimum].mean():.4g} (mean over {len(tasks)} test tasks)."
        )
        yield what, "Mend the reference policies, or name others."


def _inside(family: TaskFamily, tasks: Tasks, row: int) -> bool:
    return all(family.tasks.parameters[name].contains(value) for name, value in tasks[row].items())


def _words(tasks: Tasks, row: int) -> str:
    return ", ".join(f"{name}={np.round(value, 4).tolist()}" for name, value in tasks[int(row)].items())[:120]


def _bytes(played: Played) -> list[bytes]:
    """Everything that an environment showed in its episode, one comparable value for each environment."""
    rows = range(played.reward.shape[1])
    valid = played.valid
    return [
        b"".join(
            [played.observation[0, i].tobytes(), *(v[:, i][valid[:, i]].tobytes() for v in played.fields().values())]
        )
        for i in rows
    ]


SPLITS: Checks = {"splits": splits}
BEHAVIOUR: Checks = {
    "default task": default_task,
    "spaces": spaces,
    "horizon": horizon,
    "same seed": same_seed,
    "chunked": chunked,
    "streams": streams,
    "reference_policies": reference_policies,
}
