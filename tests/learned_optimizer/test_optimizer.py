"""The optimiser in people's own loops: resuming, odd parameters, what shipped weights reach, and bad input."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metarl.core.errors import MetaRLError
from metarl.learned_optimizer import LearnedOptimizer, optimizer
from metarl.learned_optimizer.problems import TEST, UNSEEN, make_problem

INPUTS = torch.randn(30, 8, 6, 6, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module, made: LearnedOptimizer, inputs: Tensor) -> list[float]:
    losses = []
    for x in inputs:
        made.zero_grad()
        loss = (model(x.flatten(1)) - x.mean((1, 2))[:, None]).square().mean()
        loss.backward()
        made.step()
        losses.append(loss.item())
    return losses


def test_training_goes_on_bit_for_bit(model: nn.Module, weights: str, tmp_path: Path) -> None:
    made = LearnedOptimizer(model.parameters(), total_steps=30, weights=weights)
    train(model, made, INPUTS[:12])
    torch.save({"model": model.state_dict(), "optimizer": made.state_dict()}, tmp_path / "saved.pt")
    wanted = train(model, made, INPUTS[12:])
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    other = copy.deepcopy(model)
    other.load_state_dict(saved["model"])
    again = LearnedOptimizer(other.parameters(), total_steps=30, weights=weights)
    again.load_state_dict(saved["optimizer"])
    assert train(other, again, INPUTS[12:]) == wanted
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_copy_goes_on_as_the_original(model: nn.Module, weights: str) -> None:
    made = LearnedOptimizer(model.parameters(), total_steps=30, weights=weights)
    train(model, made, INPUTS[:3])
    other, again = copy.deepcopy((model, made))
    assert train(model, made, INPUTS[3:6]) == train(other, again, INPUTS[3:6])


def test_groups_scalars_halves_and_frozen_parameters(weights: str) -> None:
    scalar, frozen = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(3), requires_grad=False)
    half = nn.Parameter(torch.full((2, 1, 3), 0.01, dtype=torch.bfloat16))
    still = nn.Parameter(torch.ones(4, dtype=torch.float64))
    groups = [{"params": [scalar, frozen, half]}, {"params": [still], "lr": 0.0, "total_steps": 9}]
    made = LearnedOptimizer(groups, total_steps=5, weights=weights)
    for _ in range(5):
        made.zero_grad()
        (scalar**2 + half.float().square().sum() + still.square().sum()).backward()
        made.step()
    assert scalar.item() != 2
    assert half.dtype == torch.bfloat16
    assert (half != torch.full_like(half, 0.01)).all()
    assert torch.equal(frozen, torch.ones(3))
    assert torch.equal(still, torch.ones(4, dtype=torch.float64))
    again = LearnedOptimizer(groups, total_steps=5, weights=weights)
    again.load_state_dict(made.state_dict())
    assert all(each.dtype == torch.float32 for each in again.state[half].values())
    assert all(torch.equal(each, made.state[half][name]) for name, each in again.state[half].items())


def test_a_closure_is_called_with_gradients(weights: str) -> None:
    value = nn.Parameter(torch.ones(2))
    made = LearnedOptimizer([value], total_steps=2, weights=weights)

    def closure() -> Tensor:
        made.zero_grad()
        loss = value.square().sum()
        loss.backward()
        return loss

    assert made.step(closure).item() == 2


@pytest.mark.parametrize("name", ["default", "lstm"])
def test_shipped_weights_train_what_they_have_not_seen(name: str) -> None:
    problem = make_problem(UNSEEN[0], TEST, (16, 1, 32), 1, 0)
    params = {key: nn.Parameter(value.clone()) for key, value in problem.params.items()}
    made = LearnedOptimizer(params.values(), total_steps=60, weights=name)
    with torch.no_grad():
        before = problem.loss()(params)[0].item()
    for which in problem.batches(60, torch.Generator().manual_seed(0)):
        made.zero_grad()
        problem.loss(which)(params)[0].sum().backward()
        made.step()
    with torch.no_grad():
        after = problem.loss()(params)[0].item()
    assert before > 2.5  # chance among 20 classes is 3.0
    assert after < {"default": 1.5, "lstm": 2.9}[name]


def test_shipped_weights_are_small() -> None:
    files = list((Path(optimizer.__file__).parent / "weights").iterdir())
    assert {file.name for file in files} == {"default.safetensors", "lstm.safetensors"}
    assert sum(file.stat().st_size for file in files) < 200_000


def test_parameters_without_gradients_are_refused() -> None:
    frozen = [torch.ones(3, 4), torch.ones(5)]
    with pytest.raises(
        MetaRLError, match=r"^LearnedOptimizer: of 2 parameters, 17 numbers, none requires a gradient.*$"
    ):
        LearnedOptimizer(frozen, total_steps=5)
    made = LearnedOptimizer([nn.Parameter(each) for each in frozen], total_steps=5)
    with pytest.raises(MetaRLError, match="0 of 2 parameters have a gradient; call loss"):
        made.step()


def test_other_bad_input_is_refused() -> None:
    value = nn.Parameter(torch.ones(2))
    for options, said in [({"total_steps": 0}, "total_steps=0"), ({"total_steps": 3, "lr": -1.0}, "lr=-1.0")]:
        with pytest.raises(MetaRLError, match=said):
            LearnedOptimizer([value], **options)
    with pytest.raises(MetaRLError, match="There is no checkpoint nothing"):
        LearnedOptimizer([value], total_steps=3, weights="nothing")
    made = LearnedOptimizer([value], total_steps=1)
    value.grad = torch.ones(2)
    made.step()
    with pytest.raises(MetaRLError, match="step 2 of total_steps=1"):
        made.step()
