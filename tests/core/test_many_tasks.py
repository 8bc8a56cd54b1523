"""Uncertainty weights and gradient surgery: numbers by hand, and a naive loop."""

import math

import pytest
import torch

from metarl.core.many_tasks import uncertainty_weighted, without_conflicts


def test_gradients_that_conflict_are_projected_by_hand() -> None:
    """(1, 0) and (-1, 1) have the product -1: they become (1/2, 1/2) and (0, 1)."""
    found = without_conflicts(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), torch.Generator())
    torch.testing.assert_close(found, torch.tensor([0.5, 1.5]))


def test_gradients_that_agree_are_added_up() -> None:
    gradients = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(without_conflicts(gradients, torch.Generator()), gradients.sum(0))
    zero = torch.stack([gradients[0], 0 * gradients[0]])
    torch.testing.assert_close(without_conflicts(zero, torch.Generator()), gradients[0])


def test_surgery_is_that_of_a_loop() -> None:
    gradients = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()
    random, total = torch.Generator().manual_seed(2), torch.zeros(3, dtype=torch.float64)
    conflicts = 0
    for i in range(5):
        mine = gradients[i].clone()
        for j in torch.randperm(5, generator=random).tolist():
            if j != i and mine @ gradients[j] < 0:
                conflicts += 1
                mine -= mine @ gradients[j] / gradients[j].square().sum() * gradients[j]
        total += mine
    assert conflicts > 2
    torch.testing.assert_close(without_conflicts(gradients, torch.Generator().manual_seed(2)), total)


def test_losses_are_weighted_by_the_formula() -> None:
    losses, variance = torch.tensor([[2.0, 0.5]]), torch.tensor([4.0, 1.0])
    found = uncertainty_weighted(losses, variance.log())
    torch.testing.assert_close(found, torch.tensor([[2 / 4 + math.log(2), 0.5]]))


def test_the_best_uncertainty_is_twice_the_loss() -> None:
    log_variance = torch.tensor([4.0]).log().requires_grad_()
    uncertainty_weighted(torch.tensor([2.0]), log_variance).sum().backward()
    assert float(log_variance.grad[0]) == pytest.approx(0)  # type: ignore[index]  # it has been computed
