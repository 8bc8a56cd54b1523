"""Action distributions, against torch.distributions, derivatives of the KL, and frequencies."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution, kl_divergence

from metarl.core.distributions import (
    ActionDistribution,
    Categorical,
    Gaussian,
    Mixed,
    SquashedGaussian,
    distribution_of,
)
from metarl.core.random import Domain, stream_keys, to_normal, uniforms
from metarl.core.types import Outputs

SHAPE = (2, 5)  # task, env


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(seed: int = 0) -> Gaussian:
    return Gaussian(normal(*SHAPE, 3, seed=seed), 0.3 * normal(*SHAPE, 3, seed=seed + 1) - 0.5)


def categorical(seed: int = 0) -> Categorical:
    return Categorical(2 * normal(*SHAPE, 4, seed=seed) + 3)


def torch_gaussian(one: Gaussian) -> Independent:
    return Independent(Normal(one.mean, one.log_std.exp()), 1)


def torch_categorical(one: Categorical) -> TorchCategorical:
    return TorchCategorical(logits=one.logits)


def mixed(seed: int = 0) -> Mixed:
    return Mixed(categorical(seed), gaussian(seed))


# --- log-probabilities, entropy, KL ---


def test_log_probabilities_by_hand() -> None:
    # Two dimensions, one sd from the mean and two: -.5 - log 2 and -2 - log .5, and twice -log √2π; a sum, not a mean.
    one = Gaussian(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.5]]).log())
    expected = (-0.5 - math.log(2)) + (-2 - math.log(0.5)) - math.log(2 * math.pi)
    assert one.log_prob(torch.tensor([[3.0, -1.0]])).item() == pytest.approx(expected, rel=1e-6)
    three_to_one = Categorical(torch.tensor([math.log(3.0), 0.0]))
    assert three_to_one.log_prob(torch.tensor(0)).item() == pytest.approx(math.log(0.75), rel=1e-6)


def test_log_probabilities_are_summed_over_action_dimensions() -> None:
    """Pitfall 6: the mean over dimensions is a third of it."""
    one, action = gaussian(), normal(*SHAPE, 3, seed=9)
    by_dimension = Normal(one.mean, one.log_std.exp()).log_prob(action)
    assert one.log_prob(action).shape == SHAPE
    torch.testing.assert_close(one.log_prob(action), by_dimension.sum(-1))


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_agreement_with_torch_distributions(kind: str) -> None:
    if kind == "gaussian":
        one, other, action = gaussian(), gaussian(7), normal(*SHAPE, 3, seed=9)
        theirs, theirs_other = torch_gaussian(one), torch_gaussian(other)
    else:
        one, other, action = categorical(), categorical(7), torch.arange(10).reshape(SHAPE) % 4
        theirs, theirs_other = torch_categorical(one), torch_categorical(other)
    torch.testing.assert_close(one.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(one.entropy(), theirs.entropy())
    torch.testing.assert_close(one.kl_to(other), kl_divergence(theirs, theirs_other))
    torch.testing.assert_close(one.kl_to(one), torch.zeros(SHAPE, dtype=torch.float64))
    assert not torch.allclose(one.kl_to(other), other.kl_to(one))


def test_a_log_std_for_all_rows_broadcasts() -> None:
    mean, log_std, action = normal(*SHAPE, 3), normal(3, seed=1), normal(*SHAPE, 3, seed=2)
    shared, spread = Gaussian(mean, log_std), Gaussian(mean, log_std.expand(*SHAPE, 3))
    torch.testing.assert_close(shared.log_prob(action), spread.log_prob(action))
    torch.testing.assert_close(shared.entropy(), spread.entropy())
    torch.testing.assert_close(shared.kl_to(gaussian()), spread.kl_to(gaussian()))
    torch.testing.assert_close(shared.sample(action), spread.sample(action))


def test_a_mixed_action_is_a_choice_and_a_vector_that_are_independent() -> None:
    one, other, index, vector = mixed(), mixed(7), torch.arange(10).reshape(SHAPE) % 4, normal(*SHAPE, 3, seed=9)
    action = torch.cat([index[..., None], vector], -1)
    choice, normals = (
        (torch_categorical(one.choice), torch_categorical(other.choice)),
        (
            torch_gaussian(one.vector),
            torch_gaussian(other.vector),
        ),
    )
    torch.testing.assert_close(one.log_prob(action), choice[0].log_prob(index) + normals[0].log_prob(vector))
    torch.testing.assert_close(one.entropy(), choice[0].entropy() + normals[0].entropy())
    torch.testing.assert_close(one.kl_to(other), kl_divergence(*choice) + kl_divergence(*normals))
    u = torch.rand(*SHAPE, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = one.sample(u)
    assert drawn[..., 0].tolist() == one.choice.sample(u[..., :1]).tolist()
    torch.testing.assert_close(drawn[..., 1:], one.vector.mean + one.vector.log_std.exp() * to_normal(u[..., 1:]))
    assert one.mode()[..., 0].tolist() == one.choice.mode().tolist()
    torch.testing.assert_close(one.mode()[..., 1:], one.vector.mean)


# --- Fisher information ---

NORMALS = {"mean": normal(3), "log_std": 0.3 * normal(3, seed=1)}
CHOICE = {"logits": 2 * normal(4) + 1}


@pytest.mark.parametrize(
    "outputs",
    [NORMALS, CHOICE, CHOICE | NORMALS],
    ids=["gaussian", "categorical", "mixed"],
)
def test_the_fisher_information_is_the_hessian_of_the_kl_where_it_is_zero(outputs: Outputs) -> None:
    names, sizes = list(outputs), [len(value) for value in outputs.values()]
    at = torch.cat(list(outputs.values()))

    def kl(flat: Tensor) -> Tensor:
        other = dict(zip(names, flat.split(sizes), strict=True))
        return distribution_of(outputs).kl_to(distribution_of(other))

    hessian = torch.autograd.functional.hessian(kl, at)
    assert isinstance(hessian, Tensor)
    for seed in range(3):
        tangent = normal(len(at), seed=20 + seed)
        product = distribution_of(outputs).fisher(dict(zip(names, tangent.split(sizes), strict=True)))
        torch.testing.assert_close(torch.cat([product[name] for name in names]), hessian @ tangent)


# --- samples ---


def test_a_gaussian_sample_is_its_mean_and_so_many_standard_deviations() -> None:
    one = Gaussian(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]).log())
    torch.testing.assert_close(one.sample(torch.tensor([0.5, -1.0])), torch.tensor([2.0, -1.0]))
    assert one.mode().tolist() == [1, 2]


def test_gaussian_samples_have_its_moments() -> None:
    noise = to_normal(uniforms(stream_keys(1, "moments"), Domain.ACTION, 0, 40_000, 2))[0]
    samples = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0]).log()).sample(noise)
    np.testing.assert_allclose(samples.mean(0), [1, -2], atol=0.04)
    np.testing.assert_allclose(samples.std(0), [0.5, 2], rtol=0.02)


def test_a_categorical_sample_is_the_inverse_distribution_function_of_its_uniform() -> None:
    one = Categorical(torch.tensor([0.2, 0.5, 0.3]).log())
    noise = torch.tensor([0.001, 0.199, 0.201, 0.699, 0.701, 0.999])[:, None]
    assert Categorical(one.logits.expand(6, 3)).sample(noise).tolist() == [0, 0, 1, 1, 2, 2]
    assert one.sample(noise[0]).dtype == torch.int64


def test_categorical_samples_have_its_frequencies() -> None:
    probability = torch.tensor([0.05, 0.5, 0.0, 0.15, 0.3])
    noise = uniforms(stream_keys(1, "frequencies"), Domain.ACTION, 0, 40_000, 1)[0]
    samples = Categorical(probability.log().expand(40_000, 5)).sample(noise)
    frequency = torch.bincount(samples, minlength=5) / 40_000
    assert frequency[2] == 0
    # 40,000 draws: a standard deviation is at most .0025.
    np.testing.assert_allclose(frequency, probability, atol=0.01)


def test_the_last_class_takes_what_rounding_leaves_over() -> None:
    logits = torch.randn(1000, 7, generator=torch.Generator().manual_seed(0))
    largest = torch.full((1000, 1), 1 - 2.0**-24)  # the largest uniform there is
    assert (Categorical(logits).sample(largest) == 6).all()


def test_the_mode_is_the_likeliest_action() -> None:
    one = categorical()
    assert torch.equal(one.mode(), one.logits.argmax(-1))
    assert (one.log_prob(one.mode()) >= one.log_prob(torch.zeros(SHAPE, dtype=torch.int64))).all()


@pytest.mark.parametrize("make", [gaussian, categorical, mixed])
def test_detached_is_the_same_without_a_graph(make: Callable[[], ActionDistribution]) -> None:
    one = make()
    parts = [one.choice, one.vector] if isinstance(one, Mixed) else [one]
    leaves = {name: value.requires_grad_() for part in parts for name, value in vars(part).items()}
    cut = distribution_of(leaves).detach()
    assert not cut.entropy().requires_grad
    assert torch.equal(cut.entropy(), one.entropy())


# --- through tanh ---


def squashed(seed: int = 0) -> SquashedGaussian:
    one = gaussian(seed)
    return SquashedGaussian(one.mean, one.log_std)


def test_squashed_log_probabilities_are_those_of_a_change_of_variables() -> None:
    one, noise = squashed(), normal(*SHAPE, 3, seed=9)
    transformed = TransformedDistribution(Normal(one.mean, one.log_std.exp()), [TanhTransform()])
    action = one.sample(noise)
    torch.testing.assert_close(action, torch.tanh(one.mean + one.log_std.exp() * noise))
    torch.testing.assert_close(one.log_prob(action), transformed.log_prob(action).sum(-1))


def test_a_squashed_density_is_that_of_the_normals_between_two_actions() -> None:
    one = squashed()
    single = SquashedGaussian(one.mean[..., None, :1], one.log_std[..., None, :1])
    grid = torch.linspace(-0.4, 0.7, 2001, dtype=torch.float64)
    area = torch.trapezoid(single.log_prob(grid[:, None]).exp(), grid)
    below, above = (Normal(one.mean, one.log_std.exp()).cdf(torch.tensor(math.atanh(x)))[..., 0] for x in (-0.4, 0.7))
    torch.testing.assert_close(area, above - below, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (1.2, 0.5), (-0.5, 1.0)])
def test_a_squashed_density_integrates_to_one(mean: float, std: float) -> None:
    one = SquashedGaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64).log())
    grid = torch.linspace(-1 + 1e-6, 1 - 1e-6, 400_001, dtype=torch.float64)
    assert torch.trapezoid(one.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (1.5, 0.6), (-0.5, 1.0), (3.0, 1.0)])
def test_a_squashed_entropy_is_the_mean_surprise_of_its_samples(mean: float, std: float) -> None:
    # Two dimensions, one of them as given.
    one = SquashedGaussian(torch.tensor([mean, 0.2], dtype=torch.float64), torch.tensor([std, 0.5]).double().log())
    n = 200_000
    u = uniforms(stream_keys(1, "entropy"), Domain.ACTION, 0, n, 2, dtype=torch.float64)[0]
    u[:, 0] = (torch.arange(n) + 0.5) / n  # evenly, for a smaller error
    surprise = -one.log_prob(one.sample(to_normal(u)))
    assert one.entropy().item() == pytest.approx(surprise.mean().item(), abs=5 * float(surprise.std()) / n**0.5)


@pytest.mark.parametrize("mean", [0.0, 50.0, -50.0])
def test_squashed_actions_at_the_bounds_are_finite_with_finite_gradients(mean: float) -> None:
    leaves = {"mean": torch.full((2, 2), mean), "log_std": torch.full((2,), -1.0)}
    for value in leaves.values():
        value.requires_grad_()
    one = SquashedGaussian(**leaves)
    action = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).requires_grad_()
    total = one.log_prob(action).sum() + one.entropy().sum()
    assert total.isfinite()
    slopes = torch.autograd.grad(total, [*leaves.values(), action])
    assert all(slope.isfinite().all() for slope in slopes)
    assert (slopes[0] != 0).any()


def test_squashed_actions_stay_inside_the_bounds() -> None:
    one = SquashedGaussian(torch.tensor([0.3, 30.0, -30.0]), torch.zeros(3))
    assert one.mode()[0].item() == pytest.approx(math.tanh(0.3))
    for action in (one.mode(), one.sample(torch.tensor([40.0, 40.0, -40.0]))):
        assert action.abs().max() < 1
        assert one.log_prob(action).isfinite()


def test_squashing_changes_neither_the_kl_nor_the_kind_of_what_is_detached() -> None:
    torch.testing.assert_close(squashed().kl_to(squashed(7)), gaussian().kl_to(gaussian(7)))
    cut = squashed().detach()
    assert torch.equal(cut.mode(), squashed().mode())


def test_a_squashed_sample_and_its_log_probability_come_together() -> None:
    one, noise = squashed(), normal(*SHAPE, 3, seed=4)
    action, log_prob = one.sample_with_log_prob(noise)
    torch.testing.assert_close(action, one.sample(noise))
    torch.testing.assert_close(log_prob, one.log_prob(action))
    far = SquashedGaussian(torch.tensor([40.0], requires_grad=True), torch.zeros(1))
    action, log_prob = far.sample_with_log_prob(torch.zeros(1))
    assert log_prob.isfinite()
    assert torch.autograd.grad(log_prob, far.mean)[0].isfinite().all()


# --- spaces ---


def test_the_outputs_say_which_distribution_they_describe() -> None:
    assert isinstance(distribution_of({"logits": torch.zeros(3)}), Categorical)
    normals = {"mean": torch.zeros(3), "log_std": torch.zeros(3)}
    assert type(distribution_of(normals)) is Gaussian
    assert type(distribution_of(normals, squash=True)) is SquashedGaussian
    both = distribution_of({**normals, "logits": torch.zeros(4)}, squash=True)
    assert isinstance(both, Mixed)
    assert type(both.vector) is SquashedGaussian
