"""The inner surrogates against the true derivatives of the return, by exact enumeration of a two-step MDP."""

import itertools
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from metarl.agents.maml.surrogates import SURROGATES, dice, loglik, lvc
from metarl.core.losses import masked_mean

# Two states, two actions, two steps; the first state is 0. All numbers are made up.
NEXT = torch.tensor([[[0.8, 0.2], [0.3, 0.7]], [[0.6, 0.4], [0.1, 0.9]]], dtype=torch.float64)  # (state, action, next)
REWARD = torch.tensor([[-0.9, 0.3], [-0.8, 1.2]], dtype=torch.float64)  # (state, action)
BASELINE = torch.tensor([[0.7, 0.7], [0.4, -0.6]], dtype=torch.float64)  # (step, state)
THETA = torch.tensor([[0.6, -1.4], [-0.2, -0.1]], dtype=torch.float64)  # logits (state, action)
ENDS = 1  # with ``short`` an episode ends after its first step where that was this action


class Enumerated(NamedTuple):
    """Every episode there is, one a row."""

    state: Tensor  # (episode, step)
    action: Tensor  # (episode, step)
    dynamics: Tensor  # (episode,) probability of the transitions
    reward: Tensor  # (episode, step)
    valid: Tensor  # (episode, step)


def enumerated(short: bool) -> Enumerated:
    rows = []
    for a_0, s_1, a_1 in itertools.product(range(2), repeat=3):
        ends = short and a_0 == ENDS
        if ends and (s_1, a_1) != (0, 0):
            continue  # the padding is not enumerated
        rows.append((s_1, a_0, a_1, ends))
    s_1, a_0, a_1, ends = torch.tensor(rows).T
    state, action = torch.stack([torch.zeros_like(s_1), s_1], 1), torch.stack([a_0, a_1], 1)
    valid = torch.stack([torch.ones_like(ends), 1 - ends], 1).bool()
    dynamics = torch.where(ends == 1, 1.0, NEXT[0, a_0, s_1])
    return Enumerated(state, action, dynamics, REWARD[state, action] * valid, valid)


def log_probs(theta: Tensor, episodes: Enumerated) -> Tensor:
    return torch.log_softmax(theta, -1)[episodes.state, episodes.action]


def probability(theta: Tensor, episodes: Enumerated) -> Tensor:
    log_prob = (log_probs(theta, episodes) * episodes.valid).sum(1)
    return episodes.dynamics * log_prob.exp()


def expected_return(theta: Tensor, episodes: Enumerated) -> Tensor:
    return (probability(theta, episodes) * episodes.reward.sum(1)).sum()


def expected_surrogate(name: str, theta: Tensor, episodes: Enumerated) -> Tensor:
    """Expectation over episodes drawn at THETA of the surrogate summed over the steps, each episode a task."""
    to_go = episodes.reward.flip(1).cumsum(1).flip(1)
    baseline = BASELINE[torch.arange(2), episodes.state]
    # What stands in the padding must not matter.
    advantage = torch.where(episodes.valid, to_go - baseline, 17.0)[:, None]
    log_prob = log_probs(theta, episodes)[:, None]
    valid = episodes.valid[:, None]
    loss = SURROGATES[name](log_prob, log_probs(THETA, episodes)[:, None], advantage, valid)
    return -(probability(THETA, episodes) * episodes.valid.sum(1) * loss).sum()


@pytest.mark.parametrize("short", [False, True], ids=["full", "episodes of different length"])
def test_the_enumeration_is_complete(short: bool) -> None:
    assert float(probability(THETA, enumerated(short)).sum()) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("short", [False, True], ids=["full", "episodes of different length"])
@pytest.mark.parametrize("name", SURROGATES)
def test_the_gradient_is_the_policy_gradient(name: str, short: bool) -> None:
    episodes = enumerated(short)
    wanted = jacobian(lambda theta: expected_return(theta, episodes), THETA)
    found = jacobian(lambda theta: expected_surrogate(name, theta, episodes), THETA)
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def hessian_error(name: str, episodes: Enumerated) -> float:
    """Relative to the true Hessian, in the Frobenius norm."""
    wanted = hessian(lambda theta: expected_return(theta, episodes), THETA)
    found = hessian(lambda theta: expected_surrogate(name, theta, episodes), THETA)
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("short", [False, True], ids=["full", "episodes of different length"])
def test_only_dice_has_the_hessian_and_lvc_errs_less_than_the_likelihood(short: bool) -> None:
    errors = {name: hessian_error(name, enumerated(short)) for name in SURROGATES}
    assert errors["dice"] < 1e-10
    # .20 against .60, and .14 against .58.
    assert 0.1 < errors["lvc"] < 0.5 * errors["loglik"]


def test_dice_has_the_third_derivative_too() -> None:
    episodes = enumerated(short=False)
    third = [
        jacobian(lambda theta, f=f: hessian(f, theta, create_graph=True), THETA)
        for f in (lambda theta: expected_return(theta, episodes), lambda t: expected_surrogate("dice", t, episodes))
    ]
    torch.testing.assert_close(third[1], third[0], rtol=0, atol=1e-10)


def test_values_by_hand() -> None:
    log_prob = torch.tensor([[[-1.0, -2.0, 5.0]]])
    old = torch.tensor([[[-1.0, -2.5, 5.0]]])
    advantage = torch.tensor([[[2.0, -4.0, 100.0]]])
    valid = torch.tensor([[[True, True, False]]])
    assert float(lvc(log_prob, old, advantage, valid)) == pytest.approx(-(2 - 4 * 2.718281828**0.5) / 2, rel=1e-6)
    assert float(loglik(log_prob, old, advantage, valid)) == pytest.approx(-(-2 + 8) / 2)
    assert float(dice(log_prob, old, advantage, valid)) == 0  # a surrogate, of which only the derivatives count


def test_dice_weights_an_action_by_all_that_follows_it() -> None:
    # Hand: the derivative of box_t is 1 for every step up to t, so increments leave one log-probability per advantage.
    log_prob = torch.zeros(1, 1, 3, requires_grad=True)
    dice(log_prob, log_prob, torch.tensor([[[1.0, 2.0, 4.0]]]), torch.ones(1, 1, 3, dtype=torch.bool)).backward()
    assert log_prob.grad is not None
    assert log_prob.grad.flatten().tolist() == pytest.approx([-1 / 3, -2 / 3, -4 / 3])
    # The mixed second derivative is the advantage of the later of two steps.
    second = hessian(
        lambda x: dice(x, x, torch.tensor([[[1.0, 2.0, 4.0]]]), torch.ones(1, 1, 3, dtype=torch.bool)).sum(),
        torch.zeros(1, 1, 3),
    )[0, 0, :, 0, 0]
    assert (3 * second).tolist() == [
        pytest.approx(row) for row in ([-1.0, -2.0, -4.0], [-2.0, -2.0, -4.0], [-4.0, -4.0, -4.0])
    ]


def test_masked_mean_is_per_task_over_its_valid_steps() -> None:
    value = torch.tensor([[[1.0, 2.0], [3.0, float("nan")]], [[5.0, float("inf")], [7.0, 8.0]]], requires_grad=True)
    valid = torch.tensor([[[True, True], [True, False]], [[True, False], [False, False]]])
    mean = masked_mean(value, valid)
    assert mean.tolist() == [2.0, 5.0]
    mean.sum().backward()
    assert value.grad is not None
    assert value.grad.flatten().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 1, 0, 0, 0])


def test_masked_mean_of_nothing_is_zero() -> None:
    assert masked_mean(torch.full((1, 2), float("nan")), torch.zeros(1, 2, dtype=torch.bool)).tolist() == [0.0]
