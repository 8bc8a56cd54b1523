"""The TRPO outer loop against its plain formulation, which differentiates the KL twice; its solver and line search."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.agents.maml import trpo
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.learner import MAMLLearner
from metarl.agents.maml.outer import MetaBatch, adapted_outputs, kl
from metarl.agents.maml.trpo import TRPO, Linearised, conjugate_gradient, surrogate
from metarl.core.types import Params

Setup = Callable[..., tuple[MAMLLearner, Params, MetaBatch]]
SMALL = MAMLConfig(
    tasks=3,
    episodes=3,
    hidden=(4,),
    outer="trpo",
    outer_steps="last",
    inner_steps=1,
    learn_step_sizes=False,
    learn_std_shift=False,
)
LEARNED = replace(SMALL, inner_steps=2, learn_step_sizes=True, learn_std_shift=True)
CASES = {
    "one step, loglik": (replace(SMALL, inner="loglik"), "gaussian"),
    "two steps, learned sizes": (LEARNED, "gaussian"),
    "dice": (replace(SMALL, inner="dice"), "gaussian"),
    "first order": (replace(LEARNED, first_order=True), "gaussian"),
    "categorical": (replace(SMALL, inner_steps=2), "categorical"),
    "mixed": (replace(SMALL, inner_steps=1), "mixed"),
}
cases = pytest.mark.parametrize(("config", "actions"), CASES.values(), ids=CASES)


class Plain:
    """The textbook's step: products with the KL's Hessian by differentiating twice through everything."""

    def __init__(self, learner: MAMLLearner, params: Params, data: MetaBatch) -> None:
        self.learner, self.data, self.config = learner, data, learner.config
        self.leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        self.old = learner.distribution(adapted_outputs(learner, params, data)[-1]).detach()

    def values(self, params: Params) -> tuple[Tensor, Tensor]:
        """The surrogate, and the KL from the collected policies."""
        distribution = self.learner.distribution(adapted_outputs(self.learner, params, self.data)[-1])
        query = self.data.trajectories[-1]
        return surrogate(distribution, query).mean(), kl(self.old, distribution, query).mean()

    def gradient(self) -> Tensor:
        return self.flat(torch.autograd.grad(self.values(self.leaves)[0], list(self.leaves.values())))

    def hessian_product(self, v: Tensor) -> Tensor:
        leaves = list(self.leaves.values())
        slope = torch.autograd.grad(self.values(self.leaves)[1], leaves, create_graph=True)
        projected = sum((s * x).sum() for s, x in zip(slope, self.unflat(v), strict=True))
        assert isinstance(projected, Tensor)
        return self.flat(torch.autograd.grad(projected, leaves, materialize_grads=True))

    def step(self) -> Params:
        gradient = self.gradient()
        x, residual, direction = torch.zeros_like(gradient), gradient, gradient
        for _ in range(self.config.cg_iterations):
            image = self.hessian_product(direction) + self.config.cg_damping * direction
            alpha = residual.dot(residual) / direction.dot(image)
            x, new = x + alpha * direction, residual - alpha * image
            direction, residual = new + new.dot(new) / residual.dot(residual) * direction, new
        quadratic = x.dot(self.hessian_product(x) + self.config.cg_damping * x)
        longest = (2 * self.config.max_kl / quadratic).sqrt() * x
        before = float(self.values(self.leaves)[0].detach())
        for tried in range(self.config.line_search):
            step = self.unflat(self.config.backtrack**tried * longest)
            new_params = {name: value.detach() - s for (name, value), s in zip(self.leaves.items(), step, strict=True)}
            after, moved = self.values(new_params)
            if float(after) < before and float(moved) <= self.config.max_kl:
                return new_params
        return {name: value.detach() for name, value in self.leaves.items()}

    @staticmethod
    def flat(values: Any) -> Tensor:
        return torch.cat([value.flatten() for value in values])

    def unflat(self, v: Tensor) -> list[Tensor]:
        parts = v.split([value.numel() for value in self.leaves.values()])
        return [part.reshape(value.shape) for part, value in zip(parts, self.leaves.values(), strict=True)]


def as_collected(learner: MAMLLearner, params: Params, data: MetaBatch) -> MetaBatch:
    """The same with the log-probabilities that the parameters give: what a rollout would have recorded."""
    trajectories = []
    for outputs, trajectory in zip(adapted_outputs(learner, params, data), data.trajectories, strict=True):
        log_prob = learner.distribution(outputs).log_prob(trajectory.action).detach()
        trajectories.append(replace(trajectory, record={**trajectory.record, "log_prob": log_prob}))
    return MetaBatch(tuple(trajectories))


@cases
def test_the_curvature_is_the_hessian_of_the_kl(setup: Setup, config: MAMLConfig, actions: str) -> None:
    learner, params, data = setup(config, actions)
    plain, linear = Plain(learner, params, data), Linearised(learner, params, data, data.n_tasks)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        v = torch.randn(plain.flat(params.values()).shape, generator=generator, dtype=torch.float64)
        wanted, found = plain.hessian_product(v), plain.flat(linear.fisher_product(plain.unflat(v)))
        assert float((found - wanted).norm() / wanted.norm()) < 1e-10
        assert float(found.dot(v)) > 0
    gradient, loss = linear.surrogate_gradient()
    torch.testing.assert_close(plain.flat(gradient), plain.gradient(), rtol=1e-10, atol=1e-12)
    assert loss == pytest.approx(float(plain.values(params)[0]))


@cases
def test_the_whole_step_equals_the_plain_one(setup: Setup, config: MAMLConfig, actions: str) -> None:
    learner, params, data = setup(config, actions)
    data = as_collected(learner, params, data)
    wanted = Plain(learner, params, data).step()
    updated, logged = TRPO(learner, params).update(data, 0.0)
    moved = max(float((wanted[name] - value).abs().max()) for name, value in params.items())
    assert moved > 1e-3
    assert max(float((updated[name] - value).abs().max()) for name, value in wanted.items()) < 1e-4 * moved
    assert logged["improvement"] > 0
    assert 0 < logged["kl"] <= config.max_kl


@pytest.mark.parametrize("changes", [{"chunk": 2}, {"chunk": 1}], ids=str)
def test_chunks_change_nothing(setup: Setup, changes: dict[str, Any]) -> None:
    learner, params, data = setup(LEARNED)
    wanted, logged = TRPO(learner, params).update(data, 0.0)
    learner.config = replace(LEARNED, **changes)
    found, logged_too = TRPO(learner, params).update(data, 0.0)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name, rtol=1e-7, atol=1e-9)
    assert logged_too == pytest.approx(logged)


def test_a_subsample_takes_its_derivatives_from_its_steps_only(setup: Setup) -> None:
    learner, params, data = setup(LEARNED)
    v = [torch.ones_like(value) for value in params.values()]
    whole = Linearised(learner, params, data, data.n_tasks)
    part = Linearised(learner, params, data, data.n_tasks, 2)
    query = data.trajectories[-1].thinned(2)
    assert part.query.n_steps == -(-data.trajectories[-1].n_steps // 2)
    # At the same adapted parameters: only the states are fewer.
    for name, value in zip(part.names, part.outputs, strict=True):
        full = dict(zip(whole.names, whole.outputs, strict=True))[name]
        torch.testing.assert_close(value[query.valid], full[:, :, :, ::2][query.valid])
    products = [Plain.flat(each.fisher_product(v)) for each in (whole, part)]
    assert not torch.allclose(products[0], products[1])
    assert float(products[0] @ products[1] / products[0].norm() / products[1].norm()) > 0.5


def test_the_line_search_sees_every_state(setup: Setup) -> None:
    learner, params, data = setup(replace(LEARNED, curvature_fraction=0.5))
    plain = Plain(learner, params, data)
    updated, logged = TRPO(learner, params).update(data, 0.0)
    before, after, moved = float(plain.values(params)[0]), *map(float, plain.values(updated))
    assert logged["objective"] == pytest.approx(before)
    assert logged["improvement"] == pytest.approx(before - after)
    assert logged["kl"] == pytest.approx(moved)
    assert after < before


def test_conjugate_gradients_solve_a_small_system_exactly() -> None:
    matrix = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]], dtype=torch.float64)
    target = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64)
    wanted = torch.linalg.solve(matrix, target)

    def product(v: list[Tensor]) -> list[Tensor]:
        image = matrix @ torch.cat(v)
        return [image[:1], image[1:]]

    x, quadratic = conjugate_gradient(product, [target[:1], target[1:]], 3, tolerance=0.0)
    torch.testing.assert_close(torch.cat(x), wanted, rtol=1e-10, atol=1e-12)
    assert float(quadratic) == pytest.approx(float(wanted @ matrix @ wanted))
    # Three iterations solve three equations; one is the steepest descent's step.
    first, quadratic = conjugate_gradient(product, [target[:1], target[1:]], 1)
    torch.testing.assert_close(torch.cat(first), target * target.dot(target) / target.dot(matrix @ target))
    assert float(quadratic) == pytest.approx(float(torch.cat(first) @ matrix @ torch.cat(first)))


@pytest.mark.parametrize("max_kl", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_step_never_worsens_the_surrogate_nor_passes_the_limit(setup: Setup, max_kl: float, seed: int) -> None:
    config = replace(LEARNED, max_kl=max_kl, cg_iterations=3)
    learner, params, data = setup(config, seed=seed)
    plain = Plain(learner, params, data)
    updated, logged = TRPO(learner, params).update(data, 0.0)
    before, after, moved = float(plain.values(params)[0]), *map(float, plain.values(updated))
    assert after < before or all(torch.equal(updated[name], params[name]) for name in params)
    assert moved <= max_kl
    assert logged["objective"] == pytest.approx(before)
    assert logged["improvement"] == pytest.approx(before - after)
    assert logged["kl"] == pytest.approx(moved)


def test_where_no_step_helps_nothing_moves(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    solve = conjugate_gradient
    monkeypatch.setattr(
        trpo, "conjugate_gradient", lambda *args: ([-x for x in solve(*args)[0]], solve(*args)[1])
    )  # uphill
    learner, params, data = setup(SMALL)
    updated, logged = TRPO(learner, params).update(data, 0.0)
    assert all(torch.equal(updated[name], params[name]) for name in params)
    assert (logged["improvement"], logged["kl"], logged["backtracks"]) == (0.0, 0.0, SMALL.line_search)


def test_a_gradient_of_zero_moves_nothing(setup: Setup) -> None:
    learner, params, data = setup(SMALL)
    flat = [
        replace(each, record={**each.record, "advantage": torch.zeros_like(each.reward)}) for each in data.trajectories
    ]
    updated, _ = TRPO(learner, params).update(MetaBatch(tuple(flat)), 0.0)
    assert all(torch.equal(updated[name], params[name]) for name in params)
