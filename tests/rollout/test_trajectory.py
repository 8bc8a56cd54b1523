"""Trajectories built by hand: every number says which task, env, episode and step it belongs to."""

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory

# (task, env, episode): two tasks, two envs, three episodes.
LENGTHS = (((4, 2, 1), (1, 3, 4)), ((2, 2, 2), (3, 1, 4)))


def place(shape: Sequence[int], step: int | None = None) -> Tensor:
    """1000 task + 100 env + 10 episode + step; the last axis is the step unless ``step`` is given."""
    axes = [torch.arange(float(n)) for n in shape]
    grids = torch.meshgrid(*axes, indexing="ij")
    number = 1000 * grids[0] + 100 * grids[1] + 10 * grids[2]
    return number + (grids[3] if step is None else step)


def trajectory(
    lengths: Sequence[Sequence[Sequence[int]]] = LENGTHS, n_steps: int = 4, padding: float | None = None
) -> Trajectory:
    """Episodes of these lengths; an even number of steps ends by termination, an odd one by a time limit.

    Without a ``padding`` the numbers go on in it.
    """
    length = torch.tensor(lengths)
    shape = (*length.shape, n_steps)
    number = place(shape)
    valid = torch.arange(n_steps) < length[..., None]
    last = torch.arange(n_steps) == length[..., None] - 1
    even = (length % 2 == 0)[..., None].expand(shape)

    def padded(value: Tensor) -> Tensor:
        if padding is None:
            return value
        return torch.where(valid.reshape(*shape, *[1] * (value.ndim - 4)), value, padding)

    return Trajectory(
        observation=padded(torch.stack([number, -number], -1)),
        action=padded(number + 0.25),
        reward=padded(number + 0.5),
        terminated=last & even,
        truncated=last & ~even,
        valid=valid,
        final_observation=torch.stack([place(shape[:3], 0) + length, -place(shape[:3], 0) - length], -1),
        episode_noise=place((shape[0], 1, shape[2]), 0)[:, 0, :, None],
        record={"log_prob": padded(number)},
        extras={"parts": padded(torch.stack([number] * 3, -1))},
    )


def equal(one: Trajectory, other: Trajectory) -> bool:
    for f in fields(Trajectory):
        a, b = getattr(one, f.name), getattr(other, f.name)
        pairs = [(a[k], b[k]) for k in {*a, *b}] if isinstance(a, dict) else [(a, b)]
        if not all(torch.equal(x, y) for x, y in pairs):
            return False
    return True


def test_sizes_lengths_and_returns() -> None:
    t = trajectory()
    assert (t.n_tasks, t.n_envs, t.n_episodes, t.n_steps) == (2, 2, 3, 4)
    assert t.lengths.tolist() == [[list(env) for env in task] for task in LENGTHS]
    assert t.environment_steps == 29
    # Task 0, env 0: 0.5 + 1.5 + 2.5 + 3.5, then 10.5 + 11.5, then 20.5. What stands in the padding is not earned.
    assert t.returns[0, 0].tolist() == [8.0, 22.0, 20.5]
    assert trajectory(padding=float("nan")).returns.isfinite().all()


def test_next_observation_is_the_following_one_and_after_the_last_step_the_final_one() -> None:
    following = trajectory().filled().next_observation()
    assert following.shape == (2, 2, 3, 4, 2)
    assert following[0, 0, 0, :, 0].tolist() == [1, 2, 3, 4]
    # Two steps: 11 follows 10, the final observation 12 follows 11, and nothing follows the padding.
    assert following[0, 0, 1].tolist() == [[11, -11], [12, -12], [0, 0], [0, 0]]
    assert following[1, 1, 1, 0].tolist() == [1111, -1111]


def test_a_transition_is_one_step_of_every_row() -> None:
    t = trajectory()
    transition = t.transition(episode=1, step=1)
    assert transition.observation[..., 0].tolist() == [[11, 111], [1011, 1111]]
    assert transition.action.tolist() == [[11.25, 111.25], [1011.25, 1111.25]]
    assert transition.reward.tolist() == [[11.5, 111.5], [1011.5, 1111.5]]
    assert transition.terminated.tolist() == [[True, False], [True, False]]
    assert transition.truncated.tolist() == [[False, False], [False, False]]
    # Lane (0, 0) ends here, env (0, 1) goes on.
    assert transition.next_observation[0].tolist() == [[12, -12], [112, -112]]
    assert t.transition(episode=2, step=3).next_observation[0, 1].tolist() == [124, -124]
    assert t.transition(episode=0, step=2).truncated.tolist() == [[False, False], [False, True]]


def test_transitions_together_are_next_observation() -> None:
    t = trajectory().filled()
    stacked = torch.stack([t.transition(1, step).next_observation for step in range(t.n_steps)], 2)
    assert torch.equal(stacked[t.valid[:, :, 1]], t.next_observation()[:, :, 1][t.valid[:, :, 1]])


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
def test_filling_clears_the_padding_of_every_tensor_and_nothing_else(rubbish: float) -> None:
    filled = trajectory(padding=rubbish).filled()
    whole = trajectory()
    for name, value in (
        ("observation", filled.observation),
        ("action", filled.action),
        ("reward", filled.reward),
        ("log_prob", filled.record["log_prob"]),
    ):
        reference = whole.record[name] if name in whole.record else getattr(whole, name)
        assert torch.equal(value[whole.valid], reference[whole.valid]), name
        assert (value[~whole.valid] == 0).all(), name
    assert (filled.extras["parts"][~whole.valid] == 0).all()
    assert torch.equal(filled.final_observation, whole.final_observation)


def test_episodes_joins_lanes_and_episodes() -> None:
    joined = trajectory().episodes()
    assert joined.reward.shape == (2, 6, 1, 4)
    assert joined.lengths.tolist() == [[[4], [2], [1], [1], [3], [4]], [[2], [2], [2], [3], [1], [4]]]
    assert joined.observation[1, :, 0, 0, 0].tolist() == [1000, 1010, 1020, 1100, 1110, 1120]
    assert joined.final_observation[0, :, 0, 0].tolist() == [4, 12, 21, 101, 113, 124]
    assert joined.extras["parts"].shape == (2, 6, 1, 4, 3)
    assert torch.equal(joined.returns.flatten(1), trajectory().returns.flatten(1))


def test_trial_joins_episodes_and_steps_in_order() -> None:
    trial = trajectory().trial()
    assert trial.reward.shape == (2, 2, 1, 12)
    assert trial.observation[0, 1, 0, :, 0].tolist() == [100, 101, 102, 103, 110, 111, 112, 113, 120, 121, 122, 123]
    assert trial.valid[0, 0, 0].tolist() == [True] * 4 + [True, True, False, False] + [True, False, False, False]
    assert trial.terminated[0, 0, 0].nonzero().flatten().tolist() == [3, 5]
    assert trial.truncated[0, 0, 0].nonzero().flatten().tolist() == [8]
    assert trial.final_observation[:, :, 0, 0].tolist() == [[21, 124], [1022, 1124]]
    assert trial.environment_steps == trajectory().environment_steps


def test_some_tasks_and_some_lanes() -> None:
    t = trajectory()
    assert torch.equal(t.tasks(slice(1, 2)).reward, t.reward[1:])
    assert t.tasks([1, 0, 1]).final_observation[:, 0, 0, 0].tolist() == [1002, 4, 1002]
    assert t.tasks(torch.tensor([1])).episode_noise.tolist() == [[[1000], [1010], [1020]]]
    assert t.tasks([1]).record["log_prob"].shape == (1, 2, 3, 4)
    assert t.envs(1).reward.shape == (2, 1, 3, 4)
    assert t.envs(1).final_observation.shape == (2, 1, 3, 2)
    assert equal(t.to("cpu"), t)


def test_joining_episodes_pads_the_shorter_with_invalid_steps() -> None:
    long, short = trajectory(), trajectory((((2,), (1,)), ((1,), (2,))), n_steps=2)
    joined = Trajectory.concatenate([short, long])
    assert joined.reward.shape == (2, 2, 4, 4)
    assert joined.lengths[:, :, 0].tolist() == [[2, 1], [1, 2]]
    assert torch.equal(joined.lengths[:, :, 1:], long.lengths)
    assert joined.reward[0, 0, 0].tolist() == [0.5, 1.5, 0, 0]
    assert not joined.terminated[:, :, 0, 2:].any()
    assert torch.equal(joined.final_observation[:, :, 0], short.final_observation[:, :, 0])
    assert joined.episode_noise[0, :, 0].tolist() == [0, 0, 10, 20]
    assert joined.extras["parts"].shape == (2, 2, 4, 4, 3)
    assert torch.equal(joined.returns[:, :, 1:], long.returns)
    # The final observation still follows the last valid step, however long the others are.
    assert joined.next_observation()[0, 0, 0, 1].tolist() == [2, -2]


def test_joining_tasks_is_the_inverse_of_taking_some() -> None:
    t = trajectory()
    assert equal(Trajectory.concatenate([t.tasks([0]), t.tasks([1])], axis="task"), t)


def test_joining_along_another_axis_is_refused() -> None:
    with pytest.raises(MetaRLError, match="'task' or 'episode', not 'env'"):
        Trajectory.concatenate([trajectory()] * 2, axis="env")


def test_a_trajectory_may_lack_records_and_extras() -> None:
    bare = replace(trajectory(), record={}, extras={})
    assert bare.filled().record == {}
    assert Trajectory.concatenate([bare, bare]).extras == {}
