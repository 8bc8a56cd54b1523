"""Transitions as rows of numbers: computed by hand, and an episode's last one like any other."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.adapt.transitions import TransitionInput
from metarl.core.trajectory import Trajectory
from metarl.core.types import Transition

OBSERVATIONS = Box(-np.inf, np.inf, (2,), np.float32)
INPUT = TransitionInput(OBSERVATIONS, Box(-1, 1, (2,), np.float32))
FINAL = {0: [91.0, -91.0], 1: [92.0, -92.0]}


def trajectory(lengths: tuple[int, int] = (3, 2)) -> Trajectory:
    """One task, two episodes: the first of these lengths terminates, the second is truncated; NaN in the padding."""
    valid = torch.arange(3) < torch.tensor(lengths)[:, None]
    number = torch.arange(3) + 10.0 * torch.arange(2)[:, None]
    last = torch.arange(3) == torch.tensor(lengths)[:, None] - 1
    number = number.masked_fill(~valid, torch.nan)[None, None]
    end = torch.tensor([True, False])[:, None]
    return Trajectory(
        observation=torch.stack([number, -number], -1),
        action=torch.stack([number / 10, -number], -1),
        reward=number + 0.5,
        terminated=(last & end)[None, None],
        truncated=(last & ~end)[None, None],
        valid=valid[None, None],
        final_observation=torch.tensor([[list(FINAL.values())]]),
        episode_noise=torch.zeros(1, 2, 0),
    )


def rows() -> Tensor:
    """``(episode, step, size)``."""
    return INPUT.of_trajectory({}, trajectory().filled())[0, 0]


def test_rows_by_hand() -> None:
    # Observation, action clipped to [-1, 1], reward, done, start, next observation.
    expected = {
        (0, 0): [0, 0, 0, 0, 0.5, 0, 1, 1, -1],
        (0, 1): [1, -1, 0.1, -1, 1.5, 0, 0, 2, -2],
        (1, 0): [10, -10, 1, -1, 10.5, 0, 1, 11, -11],
    }
    assert INPUT.size == 9
    for place, row in expected.items():
        assert rows()[place].tolist() == pytest.approx(row), place


def test_the_last_transition_of_an_episode_has_its_reward_its_end_and_the_final_observation() -> None:
    assert rows()[0, 2].tolist() == pytest.approx([2, -2, 0.2, -1, 2.5, 1, 0, *FINAL[0]])  # terminated
    assert rows()[1, 1].tolist() == pytest.approx([11, -11, 1, -1, 11.5, 1, 0, *FINAL[1]])  # out of time


def test_every_episode_begins_with_its_first_step() -> None:
    assert rows()[..., 6].tolist() == [[1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("lengths", [(3, 2), (1, 3)])
def test_a_row_of_a_trajectory_is_that_of_its_transition(lengths: tuple[int, int]) -> None:
    played = trajectory(lengths)
    together = INPUT.of_trajectory({}, played)
    for episode, length in enumerate(lengths):
        for step in range(length):
            start = torch.full((1, 1), float(step == 0))
            assert torch.equal(together[:, :, episode, step], INPUT({}, played.transition(episode, step), start))


def test_discrete_actions_are_one_hot() -> None:
    discrete = TransitionInput(OBSERVATIONS, Discrete(4))
    assert discrete.action(torch.tensor([[2], [0]])).tolist() == [[[0, 0, 1, 0]], [[1, 0, 0, 0]]]
    zero = torch.zeros(1, 1)
    seen = Transition(zero[..., None].expand(1, 1, 2), zero.long() + 3, zero, zero > 0, zero > 0, torch.ones(1, 1, 2))
    assert discrete({}, seen, zero).tolist() == [[[0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]]]


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_observations_of_any_shape_are_flattened(shape: tuple[int, ...]) -> None:
    inputs = TransitionInput(Box(-1, 1, shape, np.float32), Discrete(2))
    n = int(np.prod(shape))
    assert inputs.n_observation == n
    observation = torch.arange(8.0 * n).reshape(1, 1, 2, 4, *shape)
    assert torch.equal(inputs.observation({}, observation), torch.arange(8.0 * n).reshape(1, 1, 2, 4, n))
    played = Trajectory(
        observation=observation,
        action=torch.zeros(1, 1, 2, 4, dtype=torch.int64),
        reward=torch.zeros(1, 1, 2, 4),
        terminated=torch.zeros(1, 1, 2, 4, dtype=torch.bool),
        truncated=torch.zeros(1, 1, 2, 4, dtype=torch.bool),
        valid=torch.ones(1, 1, 2, 4, dtype=torch.bool),
        final_observation=torch.zeros(1, 1, 2, *shape),
        episode_noise=torch.zeros(1, 2, 0),
    )
    params = inputs.update_statistics(inputs.init_statistics(True, True), played)
    np.testing.assert_allclose(params["moments.observation.mean"], observation.reshape(8, n).mean(0))
    assert inputs.of_trajectory(params, played).shape == (1, 1, 2, 4, inputs.size)


def test_observations_and_rewards_are_standardised_by_the_statistics_of_valid_steps() -> None:
    played = trajectory()
    params = INPUT.update_statistics(INPUT.init_statistics(True, True), played)
    numbers = np.array([0, 1, 2, 10, 11])  # the padding left out
    mean, deviation = numbers.mean(), numbers.std()
    plain, found = rows(), INPUT.of_trajectory(params, played.filled())[0, 0]
    for place in ((0, 0), (0, 2), (1, 0), (1, 1)):
        expected = plain[place].tolist()
        for column in (0, 7):  # the next observation by the same moments
            expected[column] = (expected[column] - mean) / deviation
            expected[column + 1] = (expected[column + 1] + mean) / deviation
        expected[4] = (expected[4] - mean - 0.5) / deviation
        assert found[place].tolist() == pytest.approx(np.clip(expected, -10, 10).tolist(), abs=1e-5), place


def test_what_is_not_to_be_standardised_has_no_statistics() -> None:
    assert INPUT.init_statistics(False, False) == {}
    only = INPUT.update_statistics(INPUT.init_statistics(False, True), trajectory())
    assert torch.equal(INPUT.observation(only, torch.full((1, 2), 50.0)), torch.full((1, 2), 50.0))
    assert only["moments.reward.count"] == 5
