"""Reference policies of bandits: their memory, indices by hand and by a naive recursion, and the reference figures."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from metarl.core.errors import MetaRLError
from metarl.core.types import Transition
from metarl.envs.bandit import BernoulliBandit
from metarl.envs.bandit_policies import Gittins, Greedy, Thompson, gittins_index
from metarl.family.policy_returns import policy_returns
from metarl.family.reference_policies import ReferencePolicy
from metarl.tasks import Tasks

Sample = Callable[[BernoulliBandit, int], Tasks]
Within = Callable[..., bool]


def pull(
    reference: ReferencePolicy, state: dict[str, torch.Tensor], arm: int, reward: float
) -> dict[str, torch.Tensor]:
    """The state after one pull."""
    none, zero = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 1, 1)
    step = Transition(zero, torch.tensor([[arm]]), torch.tensor([[reward]]), ~none, none, zero)
    return reference.observe({}, state, step)


def chosen(reference: ReferencePolicy, state: dict[str, torch.Tensor], noise: list[float]) -> int:
    """The arm that the reference policy pulls."""
    return int(reference.act({}, state, torch.zeros(1, 1, 1), torch.tensor([[noise]]))[0])


def total(k: int, n: int, reference: str, tasks: Tasks) -> NDArray[np.float64]:
    """Total reward of n pulls of k arms, for each task."""
    family = BernoulliBandit(f"k{k}")
    family.episodes_per_trial = n
    return np.asarray(policy_returns(family, reference, tasks, episodes=n).sum(1))


def test_greedy_pulls_the_highest_posterior_mean() -> None:
    reference = Greedy(3)
    state = reference.initial({}, 1)
    for arm, reward in ((0, 1.0), (0, 0.0), (1, 1.0), (2, 0.0)):  # posterior means 1/2, 2/3, 1/3
        state = pull(reference, state, arm, reward)
    assert chosen(reference, state, [0.5, 0.5, 0.5]) == 1


def test_ties_are_broken_by_the_noise() -> None:
    for reference in (Greedy(3), Gittins(3, 10)):
        state = pull(reference, reference.initial({}, 1), 0, 0.0)  # arms 1 and 2 share the highest mean
        assert chosen(reference, state, [0.9, 0.6, 0.3]) == 1
        assert chosen(reference, state, [0.9, 0.3, 0.6]) == 2


def test_policies_keep_their_counts_from_pull_to_pull() -> None:
    for reference in (Greedy(2), Thompson(2), Gittins(2, 3)):
        state = pull(reference, reference.initial({}, 1), 1, 1.0)
        state = reference.begin_episode({}, state, torch.empty(1, 0))
        state = pull(reference, state, 1, 0.0)
        assert (state["wins"].tolist(), state["losses"].tolist()) == ([[1, 2]], [[1, 2]])


def test_thompson_draws_from_the_posterior() -> None:
    reference, n = Thompson(2), 4000
    state = {"step": torch.zeros(n).long(), "wins": torch.tensor([[3.0, 1.0]]), "losses": torch.tensor([[1.0, 1.0]])}
    state = {name: value.expand(n, -1) if value.ndim == 2 else value for name, value in state.items()}
    noise = torch.rand(n, 1, 2, generator=torch.Generator().manual_seed(0))
    arms = reference.act({}, state, torch.zeros(n, 1, 1), noise)[0]
    # P(Beta(3, 1) > U) = E[Beta(3, 1)] = 3/4.
    assert float((arms == 0).float().mean()) == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / n) ** 0.5)


def test_gittins_indices_by_hand() -> None:
    # The last pull is worth the posterior mean.
    assert gittins_index(3, 1, 1) == pytest.approx(4 / 6, abs=1e-6)
    # Two are left: pull once, and again after a reward. (1/2 + 1/2 * 2/3) / (1 + 1/2) a pull.
    assert gittins_index(0, 0, 2) == pytest.approx(5 / 9, abs=1e-6)


def test_gittins_indices_equal_a_plain_recursion() -> None:
    def gain(price: float, wins: int, losses: int, left: int) -> float:
        @cache
        def of(wins: int, losses: int, left: int) -> float:
            mean = (wins + 1) / (wins + losses + 2)
            if left == 0:
                return 0.0
            won, lost = max(0.0, of(wins + 1, losses, left - 1)), max(0.0, of(wins, losses + 1, left - 1))
            return mean - price + mean * won + (1 - mean) * lost

        return of(wins, losses, left)

    for n in (3, 7, 18):
        for wins, losses in ((a, b) for a in range(n) for b in range(n - a)):
            state = (wins, losses, n - wins - losses)
            assert gittins_index(*state) == pytest.approx(brentq(gain, 0, 1, state), abs=1e-4), state


def test_gittins_tries_the_unknown_arm_while_there_is_time_to_use_it() -> None:
    for n, arm in ((11, 0), (100, 1)):
        reference = Gittins(2, n)
        state = reference.initial({}, 1)
        for reward in [1.0] * 6 + [0.0] * 4:
            state = pull(reference, state, 0, reward)
        assert chosen(reference, state, [0.5, 0.5]) == arm


def test_after_the_trial_gittins_is_greedy() -> None:
    reference = Gittins(2, 2)
    state = reference.initial({}, 1)
    for reward in (1.0, 0.0, 0.0, 0.0):
        state = pull(reference, state, 0, reward)
    assert chosen(reference, state, [0.5, 0.5]) == 1


def test_too_long_a_trial_for_gittins_is_refused() -> None:
    with pytest.raises(MetaRLError, match=r"n=501.*at most 500"):
        Gittins(5, 501).initial({}, 1)


@pytest.mark.parametrize(
    ("k", "n", "figure"), [(5, 10, 6.66), (10, 10, 6.71), (50, 10, 6.71), (5, 100, 78.6), (10, 100, 83.7)]
)
def test_gittins_reference_figures(k: int, n: int, figure: float, sample: Sample, within: Within) -> None:
    tasks = sample(BernoulliBandit(f"k{k}"), 4000)
    assert within(total(k, n, "gittins", tasks), figure, 0.005 if n == 10 else 0.1)  # rounding, its own error


def test_greedy_reference_figures(sample: Sample, within: Within) -> None:
    tasks = sample(BernoulliBandit("k5"), 20_000)
    assert within(total(5, 10, "greedy", tasks), 6.63, 0.005)
    assert within(total(5, 100, "greedy", tasks), 75.7, 0.1)  # its own error


def test_thompson_reference_figure(sample: Sample, within: Within) -> None:
    # The reference says 74.9; NumPy's own Beta draws gave 75.05 ± .05 over 100,000 trials.
    assert within(total(5, 100, "thompson", sample(BernoulliBandit("k5"), 4000)), 75.0, 0.1)
