"""The rules: by hand, against torch's Adam, and side by side as alone."""

import pytest
import torch
from torch import Tensor, nn

from metarl.adapt.gradient import COUNT
from metarl.core.random import torch_generator
from metarl.learned_optimizer import LearnedOptimizer
from metarl.learned_optimizer import features as elements
from metarl.learned_optimizer.adam_rule import DECAY, RATE, AdamRule
from metarl.learned_optimizer.layout import Layout, layout_of
from metarl.learned_optimizer.mlp_rule import MLPRule, newton_schulz
from metarl.learned_optimizer.problems import TRAIN, make_problem
from metarl.learned_optimizer.unroll import THETA, RuleLoop

VECTOR = Layout(((2,),))


def test_features_of_a_vector_by_hand() -> None:
    values, gradients = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.6, -0.8]])
    state = elements.initial_moments(VECTOR, 1)
    found, inverse, known, state = elements.features(VECTOR, state, values, gradients, 0)
    # After one step every corrected momentum is the gradient, so Adam's direction is its sign, but for the floor of a
    # thousandth of the root mean square √.5 below.
    floor = 1e-3 * 0.5**0.5
    assert found[0, elements.ADAM].tolist() == pytest.approx([0.6 / (0.6 + floor), -0.8 / (0.8 + floor)], rel=1e-5)
    assert found[0, -4].tolist() == [3, 4]
    assert inverse[0, -4].item() == pytest.approx((12.5) ** -0.5, rel=1e-5)
    assert known[0, :-1, 0].tolist() == pytest.approx([0.0] * len(elements.MOMENTUM_DECAYS), abs=1e-5)
    assert known[0, -1, 0].item() == pytest.approx(1.262864, abs=1e-5)  # half of the logarithm of 12.5
    # The momentum of decay .9 after gradients g and h is (.09 g + .1 h) / (1 - .81).
    found, *_ = elements.features(VECTOR, state, values, torch.tensor([[0.2, 0.0]]), 1)
    assert found[0, 2].tolist() == pytest.approx([(0.09 * 0.6 + 0.1 * 0.2) / 0.19, 0.09 * -0.8 / 0.19], rel=1e-5)


def test_factored_moments_of_a_matrix_by_hand() -> None:
    layout = Layout(((2, 2),))
    gradients = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    found, *_ = elements.features(layout, elements.initial_moments(layout, 1), gradients, gradients, 0)
    # Mean squares of rows 2.5 and 12.5, of columns 5 and 10, of all 7.5: Adafactor's root is √(row column / all).
    wanted = [
        1 / (2.5 * 5 / 7.5) ** 0.5,
        2 / (2.5 * 10 / 7.5) ** 0.5,
        3 / (12.5 * 5 / 7.5) ** 0.5,
        4 / (12.5 * 10 / 7.5) ** 0.5,
    ]
    assert found[0, -3].tolist() == pytest.approx(wanted, rel=1e-4)


def test_the_first_update_before_training_is_by_hand() -> None:
    rule = MLPRule(step_size=0.01)
    theta = {name: value[None] for name, value in rule.init(torch_generator(0)).items()}
    change, _ = rule.update(theta, VECTOR, rule.start(VECTOR, 1), torch.ones(1, 2), torch.tensor([[1e-3, -5e2]]), 0, 10)
    # Of a vector it is normalised Adam: the small gradient vanishes beside the floor of 500 / √2 / 1000.
    small = 1e-3 / (1e-3 + 0.5 / 2**0.5)
    root = ((1 + small**2) / 2) ** 0.5
    assert change[0].tolist() == pytest.approx([-0.01 * small / root, 0.01 / root], rel=2e-3)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    matrix = torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(0))
    for each in (matrix, matrix.mT):
        found = torch.linalg.svdvals(newton_schulz(each))
        assert found.min() > 0.6
        assert found.max() < 1.3


def test_adam_is_torchs_adamw_with_a_cosine() -> None:
    target = torch.tensor([1.0, -2.0, 0.5])
    model = nn.Parameter(torch.tensor([0.3, 0.1, -0.4]))
    optimizer = torch.optim.AdamW([model], lr=0.1, weight_decay=0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    layout, rule = Layout(((3,),)), AdamRule()
    theta = {RATE: torch.tensor([0.1]), DECAY: torch.tensor([0.2])}
    values, state = model.detach().clone()[None], rule.start(layout, 1)
    for step in range(20):
        optimizer.zero_grad()
        (0.5 * (model - target).square()).sum().backward()
        optimizer.step()
        schedule.step()
        change, state = rule.update(theta, layout, state, values, values - target, step, 20)
        values = values + change
    assert torch.allclose(values[0], model, atol=1e-6)


def alone(problem, weights: str, batches: Tensor, row: int) -> dict[str, Tensor]:
    """Train one row's model in an ordinary loop."""
    params = {name: nn.Parameter(value[row].clone()) for name, value in problem.params.items()}
    optimizer = LearnedOptimizer(params.values(), total_steps=len(batches), weights=weights)
    for which in batches:
        optimizer.zero_grad()
        loss = problem.network(params, problem.inputs[row : row + 1, which[row]])
        nn.functional.cross_entropy(loss[0], problem.targets[row, which[row]]).backward()
        optimizer.step()
    return params


@pytest.mark.parametrize("kind", ["mlp-digits", "cnn-digits"])
def test_models_side_by_side_train_as_one_alone_does(kind: str, weights: str) -> None:
    from metarl.learned_optimizer.optimizer import load_rule

    rule, theta = load_rule(weights)
    problem = make_problem(kind, TRAIN, (6, 1, 8), 3, 0)
    batches = problem.batches(5, torch.Generator().manual_seed(0))
    loop = RuleLoop(rule=rule, layout=layout_of(problem.params), total=5)
    state = loop.begin(problem.params)
    for which in batches:
        shared = {THETA + name: value.expand(3, *value.shape) for name, value in theta.items()}
        state, _ = loop.step({**shared, **loop.adapted(state)}, state, problem.loss(which))
    assert state[COUNT].tolist() == [5, 5, 5]
    for row in range(3):
        for name, value in alone(problem, weights, batches, row).items():
            assert torch.allclose(state[name][row], value, atol=2e-4), name
