"""Gradients of rules: evolution against the analytic gradient, through the core's inner loop, and training by both."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.adapt.gradient import InnerLoop
from metarl.core.errors import MetaRLError
from metarl.core.random import torch_generator
from metarl.learned_optimizer.comparison import best_rate, compare, tune, tuned_contestants
from metarl.learned_optimizer.evolution import Perturbations, as_params, as_vector
from metarl.learned_optimizer.meta_gradients import MetaTraining, unrolled_gradient
from metarl.learned_optimizer.mlp_rule import MLPRule
from metarl.learned_optimizer.problems import TRAIN, make_problem
from metarl.learned_optimizer.rules import RULES
from metarl.learned_optimizer.training import meta_train

QUICK = {"minutes": 1e-6, "kinds": ("mlp-sinusoid",), "rows": 2, "horizons": (4, 4), "part": 2}


@pytest.mark.parametrize("reuse", [False, True])
def test_evolution_finds_the_analytic_gradient_of_a_quadratic(reuse: bool) -> None:
    # x' = x - rate * x from 1, two steps in two parts; loss .5 x² after each, so (1 - r)² / 2 + (1 - r)⁴ / 2, whose
    # gradient is -(1 - r) - 2 (1 - r)³: at .3 it is -1.386. The second parameter does nothing.
    theta, pairs = torch.tensor([0.3, 5.0], dtype=torch.float64), 20_000
    perturbations, generator = Perturbations(pairs, 0.01, reuse), torch.Generator().manual_seed(0)
    total, x = torch.zeros(2, dtype=torch.float64), torch.ones(2 * pairs, dtype=torch.float64)
    for _ in range(2):
        x = (1 - perturbations.perturbed(theta, generator)[:, 0]) * x
        total += perturbations.gradient(x.square() / 2)
    assert total.tolist() == pytest.approx([-1.386, 0.0], abs=0.06)


def test_evolution_by_hand() -> None:
    perturbations = Perturbations(1, 0.5, reuse=False)
    first = perturbations.perturbed(torch.zeros(2), torch.Generator().manual_seed(0))
    second = perturbations.perturbed(torch.zeros(2), torch.Generator().manual_seed(1))
    # A loss of the second part is credited to both perturbations: (3 - 1) / (2 · .25) times their sum.
    assert torch.allclose(perturbations.gradient(torch.tensor([3.0, 1.0])), 4 * (first[0] + second[0]))
    assert torch.equal(first[1], -first[0])


def test_vectors_become_parameters_and_vectors_again() -> None:
    like = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([7.0])}
    rows = as_params(torch.stack([as_vector(like), 2 * as_vector(like)]), like)
    assert torch.equal(rows["b"][1], 2 * like["b"])
    assert torch.equal(rows["a"][0], like["a"])


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_gradient_through_an_unroll_is_that_of_differences(name: str) -> None:
    rule = RULES[name]()
    problem = make_problem("mlp-sinusoid", TRAIN, (4, 1, 8), 2, 0)
    generator = torch_generator(0, "moved")
    theta = {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in rule.init(generator).items()}

    def at(moved: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        return unrolled_gradient(rule, problem, moved, 6, torch.Generator().manual_seed(0), whole=0.0)

    gradient, _ = at(theta)
    along = {k: v / as_vector(gradient).norm() for k, v in gradient.items()}
    above, below = (at({k: v + size * along[k] for k, v in theta.items()})[1] for size in (0.02, -0.02))
    assert (above - below) / 0.04 == pytest.approx(as_vector(gradient).norm().item(), rel=0.05)


@pytest.mark.parametrize("method", ["gradient", "evolution"])
@pytest.mark.parametrize("name", sorted(RULES))
def test_training_repeats_itself_and_reports(method: Any, name: str) -> None:
    reports = []
    config = MetaTraining(method=method, **QUICK)
    found = [meta_train(RULES[name](), config, lambda *each: reports.append(each)) for _ in range(2)]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    before = RULES[name]().init(torch_generator(0, "rule"))
    assert any(not torch.equal(before[key], found[0][key]) for key in before)
    assert [report[1] for report in reports] == [1, 1]


@pytest.mark.parametrize("method", ["gradient", "evolution"])
def test_training_is_by_the_cores_inner_loop(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the core's mechanism")

    monkeypatch.setattr(InnerLoop, "step", broken)
    with pytest.raises(RuntimeError, match="the core's mechanism"):
        meta_train(MLPRule(), MetaTraining(method=method, **QUICK), lambda *_: None)


def test_adam_is_tuned_and_compared() -> None:
    tuned = tune("mlp-sinusoid", seeds=1, steps=10)
    assert len(tuned["adam"]) == 12
    assert best_rate({"0.1": 0.5, "0.2": float("nan"), "0.3": 0.7}) == 0.1
    losses = compare("mlp-sinusoid", tuned_contestants(tuned), seeds=2, steps=10)
    assert losses["adam"].shape == (2, 2)
    assert (losses["adam"] != losses["adamw"]).any()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(MetaRLError, match="minutes=0"):
        MetaTraining(minutes=0)
    with pytest.raises(MetaRLError, match="pairs=0"):
        Perturbations(0, 0.1, reuse=True)
