"""Credit: numbers computed by hand, and naive loops over episodes of different length."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.advantages import (
    discounted_returns,
    generalised_advantage,
    linear_baseline,
    linear_features,
    next_value_episodic,
    next_value_finite_horizon,
    next_value_trial,
    normalised_advantage,
)
from metarl.core.trajectory import Trajectory

GAMMA, LAMBDA = 0.9, 0.8


def row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def mask(length: int, steps: int) -> Tensor:
    return torch.arange(steps) < length


def ragged(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, values, valid ``(task 3, env 2, episode 4, step 6)`` with rubbish in the padding, and lengths."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 4, 6)
    length = torch.randint(1, 7, shape[:3], generator=generator)
    valid = torch.arange(6) < length[..., None]
    reward, value = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return torch.where(valid, reward, 77.0), torch.where(valid, value, -55.0), valid, length


# --- returns ---


def test_returns_by_hand() -> None:
    # 3; 2 + .5 · 3 = 3.5; 1 + .5 · 3.5 = 2.75; the fourth step is padding.
    returns = discounted_returns(row(1, 2, 3, 99), mask(3, 4), gamma=0.5)
    assert returns.tolist() == [2.75, 3.5, 3.0, 0.0]


def test_returns_of_ragged_episodes_agree_with_a_loop() -> None:
    reward, _, valid, length = ragged()
    expected = torch.zeros_like(reward)
    for i in np.ndindex(3, 2, 4):
        for t in range(int(length[i])):
            expected[i][t] = sum(GAMMA**k * reward[i][t + k] for k in range(int(length[i]) - t))
    torch.testing.assert_close(discounted_returns(reward, valid, GAMMA), expected)


# --- advantages ---


def test_advantages_by_hand() -> None:
    # delta: 1 + .5·2 - 1 = 1; 1 + .5·4 - 2 = 1; 2 + .5·0 - 4 = -2. With γλ = .5·.5 = .25:
    # A_2 = -2; A_1 = 1 - .5 = .5; A_0 = 1 + .125 = 1.125.
    value = row(1, 2, 4, 99)
    following = next_value_finite_horizon(value, mask(3, 4))
    advantage = generalised_advantage(row(1, 1, 2, 99), value, following, mask(3, 4), gamma=0.5, lam=0.5)
    assert advantage.tolist() == [1.125, 0.5, -2.0, 0.0]


def test_with_lambda_one_the_advantage_is_return_minus_value_and_with_zero_the_temporal_difference() -> None:
    reward, value, valid, _ = ragged()
    following = next_value_finite_horizon(value, valid)
    whole = generalised_advantage(reward, value, following, valid, GAMMA, 1.0)
    torch.testing.assert_close(whole[valid], (discounted_returns(reward, valid, GAMMA) - value)[valid])
    one_step = generalised_advantage(reward, value, following, valid, GAMMA, 0.0)
    torch.testing.assert_close(one_step[valid], (reward + GAMMA * following - value)[valid])


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
def test_padding_has_no_advantage_and_gives_none_away(rubbish: float) -> None:
    reward, value, valid, _ = ragged()
    expected = generalised_advantage(reward, value, next_value_finite_horizon(value, valid), valid, GAMMA, LAMBDA)
    reward, value = (torch.where(valid, clean, rubbish) for clean in (reward, value))
    spoilt = generalised_advantage(reward, value, next_value_finite_horizon(value, valid), valid, GAMMA, LAMBDA)
    assert torch.equal(spoilt, expected)
    assert (spoilt[~valid] == 0).all()


# --- what follows a step: three rules ---


def test_finite_horizon_after_the_last_step_there_is_nothing() -> None:
    assert next_value_finite_horizon(row(1, 2, 3, 99), mask(3, 4)).tolist() == [2, 3, 0, 0]
    assert next_value_finite_horizon(row(1, 2, 3, 4), mask(4, 4)).tolist() == [2, 3, 4, 0]


def test_episodic_a_termination_is_worth_nothing_and_a_time_limit_the_final_observation() -> None:
    value = torch.stack([row(1, 2, 3, 99)] * 2)
    valid = torch.stack([mask(3, 4)] * 2)
    terminated = torch.tensor([[False, False, True, False], [False] * 4])
    following = next_value_episodic(value, row(7, 7), terminated, valid)
    assert following[:, :3].tolist() == [[2, 3, 0], [2, 3, 7]]
    # The time limit's step: 1 + .5·7 - 3 = 1.5.
    advantage = generalised_advantage(torch.ones(2, 4, dtype=torch.float64), value, following, valid, 0.5, 0.0)
    assert advantage[:, 2].tolist() == [-2.0, 1.5]


# A trial of two episodes, two steps and one step long, as (episode, step).
TRIAL = (torch.stack([row(1, 2, 99), row(4, 99, 99)]), torch.stack([mask(2, 3), mask(1, 3)]))


def test_within_a_trial_the_next_episodes_first_observation_follows() -> None:
    value, valid = TRIAL
    assert next_value_trial(value, valid)[valid].tolist() == [2, 4, 0]
    # Joined in one step axis, credit passes over the padding. γ = .5, λ = 1, rewards 0, 0 | 8:
    # the return to go is 8, .5 · 8 = 4, .5 · 4 = 2.
    reward = torch.stack([row(0, 0, 99), row(8, 99, 99)])
    following = next_value_trial(value, valid)
    advantage = generalised_advantage(*(x.flatten() for x in (reward, value, following, valid)), gamma=0.5, lam=1.0)
    assert advantage.tolist() == [2 - 1, 4 - 2, 0, 8 - 4, 0, 0]


def test_within_a_trial_credit_is_cut_neither_by_a_termination_nor_by_a_time_limit() -> None:
    """Pitfall 2: a mask at the end of every inner episode leaves exploring without its reward."""
    _, value, valid, length = ragged()
    reward = torch.zeros_like(value)
    reward[:, :, 3, 0] = 1.0  # all that is earned, is earned as the last episode begins
    following = next_value_trial(value, valid)

    def advantages(next_value: Tensor, join: Callable[[Tensor], Tensor]) -> Tensor:
        parts = (join(x) for x in (reward, value, next_value, valid))
        advantage = generalised_advantage(*parts, gamma=GAMMA, lam=1.0).reshape(value.shape)
        return (advantage + value)[:, :, 0, 0]  # what the first action of the trial gets for it

    steps_before = length[:, :, :3].sum(-1)
    expected = GAMMA ** steps_before.double()
    torch.testing.assert_close(advantages(following, lambda x: x.flatten(2)), expected)
    # The wrong versions: episode by episode, and with nothing after an episode's end.
    for wrong in (
        advantages(next_value_finite_horizon(value, valid), lambda x: x),
        advantages(next_value_finite_horizon(value, valid), lambda x: x.flatten(2)),
    ):
        assert ((wrong - expected).abs() > 1e-3).all()


def naive_trial(reward: Tensor, value: Tensor, length: Tensor) -> Tensor:
    """GAE over the valid steps of one trial strung together, its end worth 0."""
    strung = [(int(e), t) for e in range(len(length)) for t in range(int(length[e]))]
    advantage, carry = torch.zeros_like(reward), torch.zeros((), dtype=reward.dtype)
    for place in reversed(range(len(strung))):
        at = strung[place]
        after = value[strung[place + 1]] if place + 1 < len(strung) else 0
        carry = reward[at] + GAMMA * after - value[at] + GAMMA * LAMBDA * carry
        advantage[at] = carry
    return advantage


def test_advantages_of_ragged_trials_agree_with_a_loop() -> None:
    reward, value, valid, length = ragged(1)
    following = next_value_trial(value, valid)
    flat = generalised_advantage(*(x.flatten(2) for x in (reward, value, following, valid)), GAMMA, LAMBDA)
    for i in np.ndindex(3, 2):
        torch.testing.assert_close(flat.reshape(reward.shape)[i], naive_trial(reward[i], value[i], length[i]))


def test_advantages_of_ragged_episodes_agree_with_a_loop() -> None:
    reward, value, valid, length = ragged(2)
    terminated = (torch.arange(6) == length[..., None] - 1) & (length % 2 == 0)[..., None]
    final_value = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    advantages = {
        rule: generalised_advantage(reward, value, following, valid, GAMMA, LAMBDA)
        for rule, following in (
            ("finite horizon", next_value_finite_horizon(value, valid)),
            ("episodic", next_value_episodic(value, final_value, terminated, valid)),
        )
    }
    for rule, advantage in advantages.items():
        expected = torch.zeros_like(reward)
        for i in np.ndindex(3, 2, 4):
            last = int(length[i]) - 1
            after = final_value[i] if rule == "episodic" and not terminated[i][last] else torch.tensor(0.0)
            carry = torch.tensor(0.0)
            for t in range(last, -1, -1):
                carry = reward[i][t] + GAMMA * after - value[i][t] + GAMMA * LAMBDA * carry
                after = value[i][t]
                expected[i][t] = carry
        torch.testing.assert_close(advantage, expected, msg=lambda m, r=rule: f"{r}: {m}")


# --- the linear baseline ---


def recorded(lengths: Tensor, steps: int, seed: int = 0, padding: float = 0.0) -> Trajectory:
    """Random observations of two dimensions; ``padding`` in those and in the rewards after an episode's end."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*lengths.shape, steps)
    valid = torch.arange(steps) < lengths[..., None]
    observation = torch.randn(*shape, 2, generator=generator)
    reward = torch.randn(shape, generator=generator)
    return Trajectory(
        observation=torch.where(valid[..., None], observation, padding),
        action=torch.zeros(shape),
        reward=torch.where(valid, reward, padding),
        terminated=torch.zeros(shape, dtype=torch.bool),
        truncated=torch.zeros(shape, dtype=torch.bool),
        valid=valid,
        final_observation=torch.zeros(*lengths.shape, 2),
        episode_noise=torch.zeros(lengths.shape[0], lengths.shape[2], 0),
    )


LENGTHS = torch.tensor([[[9, 4], [1, 7]], [[2, 9], [9, 9]], [[9, 9], [9, 9]]])


def test_features_by_hand() -> None:
    trajectory = recorded(torch.tensor([[[3]]]), 3)
    trajectory.observation[0, 0, 0, 2] = torch.tensor([2.0, -3.0])
    features = linear_features(trajectory)
    assert features.shape == (1, 1, 1, 3, 8)
    assert features.dtype == torch.float64
    # [s, s², t/100, (t/100)², (t/100)³, 1] at t = 2.
    np.testing.assert_allclose(features[0, 0, 0, 2], [2, -3, 4, 9, 0.02, 0.0004, 0.000008, 1], rtol=1e-12)


def ridge_by_lstsq(features: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """The weights that minimise |Xw - y|² + ridge |w|², as ordinary least squares with the ridge as further rows."""
    n = features.shape[1]
    rows = np.concatenate([features, np.sqrt(ridge) * np.eye(n)])
    return np.linalg.lstsq(rows, np.concatenate([targets, np.zeros(n)]), rcond=None)[0]


@pytest.mark.parametrize("ridge", [1e-5, 0.3])
def test_the_baseline_is_a_ridge_regression_on_the_valid_steps_of_each_task(ridge: float) -> None:
    """Pitfall 5."""
    trajectory = recorded(LENGTHS, 9)
    returns = discounted_returns(trajectory.reward, trajectory.valid, 0.99)
    values = linear_baseline(trajectory, returns, ridge)
    for task in range(3):
        valid = trajectory.valid[task].numpy()
        features = linear_features(trajectory)[task].numpy()[valid]
        weights = ridge_by_lstsq(features, returns[task].numpy()[valid].astype(np.float64), ridge)
        np.testing.assert_allclose(values[task].numpy()[valid], features @ weights, atol=1e-5)
        assert (values[task].numpy()[~valid] == 0).all()
    # The wrong version: padding as steps of return 0, with features that are not all zero (the time, the constant).
    features = linear_features(trajectory)[1].numpy().reshape(-1, 8)
    weights = ridge_by_lstsq(features, returns[1].numpy().reshape(-1).astype(np.float64), ridge)
    wrong = (features @ weights).reshape(2, 2, 9)
    assert np.abs(wrong - values[1].numpy())[trajectory.valid[1].numpy()].max() > 0.05


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
def test_padding_has_no_part_in_the_fit(rubbish: float) -> None:
    clean, spoilt = recorded(LENGTHS, 9), recorded(LENGTHS, 9, padding=rubbish)
    returns = discounted_returns(clean.reward, clean.valid, 0.99)
    spoilt_returns = torch.where(clean.valid, returns, rubbish)
    assert torch.equal(linear_baseline(spoilt, spoilt_returns), linear_baseline(clean, returns))


def test_a_baseline_is_refit_for_every_task() -> None:
    """The returns of one task do not reach another's values."""
    trajectory = recorded(LENGTHS, 9)
    returns = discounted_returns(trajectory.reward, trajectory.valid, 0.99)
    values = linear_baseline(trajectory, returns)
    other = returns.clone()
    other[0] += 5 * trajectory.valid[0]
    changed = linear_baseline(trajectory, other)
    assert torch.equal(changed[1:], values[1:])
    assert not torch.allclose(changed[0], values[0])
    alone = linear_baseline(trajectory.tasks([1]), returns[1:2])
    torch.testing.assert_close(alone[0], values[1])


def test_the_baseline_explains_what_is_linear_in_its_features() -> None:
    trajectory = recorded(LENGTHS, 9)
    weights = torch.tensor([1.0, -2, 0.5, 0.25, 0, 0, 0, 2], dtype=torch.float64)
    returns = (linear_features(trajectory) @ weights).float() * trajectory.valid
    torch.testing.assert_close(linear_baseline(trajectory, returns), returns, rtol=0, atol=1e-4)


def test_episodes_that_never_vary_leave_the_ridge_something_to_solve() -> None:
    """Standing still, or one step an episode: the features are collinear, and without a ridge there is no solution."""
    still = recorded(torch.ones(2, 3, 1, dtype=torch.int64), 1)
    still.observation.zero_()
    values = linear_baseline(still, still.reward)
    expected = still.reward.mean((1, 2, 3))
    torch.testing.assert_close(values, expected[:, None, None, None].expand_as(values), rtol=1e-4, atol=1e-5)


# --- normalising ---


def test_normalised_by_hand() -> None:
    # Task 0: 1, 3 (and padding): mean 2, sd 1. Task 1: 0, 0, 6, 6: mean 3, sd 3.
    advantage = torch.tensor([[[1.0, 3, 9], [9, 9, 9]], [[0.0, 0, 6], [6, 9, 9]]])
    valid = torch.tensor([[[True, True, False], [False] * 3], [[True] * 3, [True, False, False]]])
    expected = torch.tensor([[[-1.0, 1, 0], [0, 0, 0]], [[-1.0, -1, 1], [1, 0, 0]]])
    torch.testing.assert_close(normalised_advantage(advantage, valid), expected)


def test_normalised_per_task_over_valid_steps_alone() -> None:
    reward, _, valid, _ = ragged()
    for rubbish in (float("nan"), 1e30):
        scaled = normalised_advantage(
            torch.where(valid, reward * torch.tensor([1, 10, 100])[:, None, None, None], rubbish), valid
        )
        for task in range(3):
            numbers = scaled[task][valid[task]]
            assert abs(float(numbers.mean())) < 1e-12
            assert abs(float(numbers.std(correction=0)) - 1) < 1e-6
        assert (scaled[~valid] == 0).all()


def test_a_task_without_a_difference_or_without_a_step_is_zero() -> None:
    same = normalised_advantage(torch.full((2, 1, 3), 5.0), torch.tensor([[[True] * 3], [[False] * 3]]))
    assert (same == 0).all()
