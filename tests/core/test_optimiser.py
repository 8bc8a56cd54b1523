"""Adam on a dict: torch's, and resumed to the bit."""

import subprocess
import sys

import torch
from torch import Tensor

from metarl.core.optimiser import Adam
from metarl.core.types import Params


def params() -> Params:
    generator = torch.Generator().manual_seed(0)
    return {"w": torch.randn(3, 2, generator=generator), "b": torch.randn(3, generator=generator)}


def loss(values: Params, step: int) -> Tensor:
    """A bowl that moves, so that no two gradients are the same."""
    return sum(((value - step) ** 2).sum() * (i + 1) for i, value in enumerate(values.values()))  # type: ignore[return-value]


def trained(adam: Adam, steps: range) -> Adam:
    for step in steps:
        adam.minimise(loss(adam.params, step))
    return adam


def same(one: Params, other: Params) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_is_torchs_adam() -> None:
    theirs = {name: value.clone().requires_grad_() for name, value in params().items()}
    optimiser = torch.optim.Adam(theirs.values(), lr=0.03, fused=True)
    for step in range(10):
        optimiser.zero_grad()
        loss(theirs, step).backward()
        optimiser.step()
    assert same(trained(Adam(params(), 0.03), range(10)).values(), {n: v.detach() for n, v in theirs.items()})


def test_a_gradient_that_lies_otherwise_in_memory_is_the_same_gradient() -> None:
    across = torch.arange(6.0).reshape(3, 2).T
    turned, plain = Adam({"w": torch.zeros(2, 3)}, 0.1), Adam({"w": torch.zeros(3, 2).T}, 0.1)
    for adam, gradient in ((turned, across), (plain, across.contiguous())):
        for _ in range(2):
            adam.step({"w": gradient * (gradient - 2)})
    assert torch.equal(turned.values()["w"], plain.values()["w"])
    assert turned.values()["w"][0, 1] == 0  # where the gradient is


def test_gradients_are_scaled_to_the_norm_of_all_of_them() -> None:
    clipped, scaled = Adam(params(), 0.1, max_norm=1.0), Adam(params(), 0.1)
    gradients = {"w": torch.full((3, 2), 3.0), "b": torch.full((3,), -4.0)}  # norm (6 · 9 + 3 · 16)^.5
    small = {name: 0.01 * value for name, value in gradients.items()}
    for adam, factor in ((clipped, 1.0), (scaled, 102**-0.5)):
        adam.step({name: value * factor for name, value in gradients.items()})
        adam.step({name: value.clone() for name, value in small.items()})  # below the bound, so it stays as it is
    for name, value in clipped.values().items():
        torch.testing.assert_close(value, scaled.values()[name], rtol=1e-5, atol=1e-6)
    unclipped = Adam(params(), 0.1)
    for gradient in (gradients, small):
        unclipped.step(gradient)
    assert not torch.allclose(unclipped.values()["w"], clipped.values()["w"], atol=1e-3)


def test_a_learning_rate_is_that_of_the_next_step() -> None:
    adam = Adam({"w": torch.zeros(1)}, 0.5)
    for rate in (0.5, 0.25, 0.0):
        before, adam.learning_rate = adam.values()["w"], rate
        assert adam.learning_rate == rate
        adam.step({"w": torch.ones(1)})  # Adam's steps down a constant gradient are as long as the learning rate
        torch.testing.assert_close(before - adam.values()["w"], torch.tensor([rate]))


def test_a_resume_is_exact() -> None:
    adam = trained(Adam(params(), 0.03, max_norm=1.0), range(5))
    at, saved = adam.values(), adam.state_dict()
    trained(adam, range(5, 10))
    for _ in range(2):  # what was saved and what was handed out is changed neither by going on nor by resuming
        resumed = Adam(at, 0.03, max_norm=1.0)
        resumed.load_state_dict(saved)
        trained(resumed, range(5, 10))
        assert same(resumed.values(), adam.values())
        assert same(resumed.state_dict(), adam.state_dict())
    fresh = trained(Adam(at, 0.03, max_norm=1.0), range(5, 10))
    assert not same(fresh.values(), adam.values())


def test_a_resume_before_the_first_step_is_a_start() -> None:
    resumed = Adam(params(), 0.03)
    resumed.load_state_dict(Adam(params(), 0.03).state_dict())
    assert same(trained(resumed, range(3)).values(), trained(Adam(params(), 0.03), range(3)).values())


def test_neither_a_restored_state_nor_a_step_imports_torchs_compiler() -> None:
    code = """
import sys, torch
from metarl.core.optimiser import Adam
adam = Adam({"w": torch.ones(2)}, 0.1)
adam.load_state_dict({f"{slot}.w": torch.zeros(2) for slot in ("exp_avg", "exp_avg_sq")} | {"step.w": torch.ones(())})
assert set(adam.state_dict()) == {"exp_avg.w", "exp_avg_sq.w", "step.w"}
adam.minimise(adam.params["w"].sum())
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_parameters_without_a_part_in_a_loss_stay() -> None:
    adam = trained(Adam(params(), 0.03), range(3))
    before = adam.values()
    adam.minimise(adam.params["w"].sum())
    assert torch.equal(adam.values()["b"], before["b"])
    assert not torch.equal(adam.values()["w"], before["w"])


def test_the_parameters_that_it_was_given_stay() -> None:
    given = params()
    trained(Adam(given, 0.03), range(3))
    assert same(given, params())
