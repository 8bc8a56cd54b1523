"""Functions as tasks, and the neural process that predicts them."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from metarl.adapt.inference import TOTAL
from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.data.functions import GaussianProcesses, Sinusoids
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.base import SCALE, VALUE
from metarl.fewshot.learners.neural_process import NeuralProcess
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot

Learns = Callable[..., None]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_sinusoid_is_one_with_its_amplitude_and_phase_in_range() -> None:
    support, query, *_ = Sinusoids().draw(EpisodeSpec(1, 10, 100), 500, generator())
    assert support.inputs.shape == support.targets.shape == (500, 10, 1)
    assert query.inputs.shape == (500, 100, 1)
    x, y = (torch.cat(pair, 1).double() for pair in zip(support, query, strict=True))
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    # A sin(x - φ) = A cos φ sin x - A sin φ cos x: two numbers, by least squares, with nothing left over.
    basis = torch.cat([x.sin(), -x.cos()], -1)
    found = torch.linalg.lstsq(basis, y).solution
    torch.testing.assert_close(basis @ found, y, atol=1e-5, rtol=0)
    amplitude, phase = found.norm(dim=1)[:, 0], torch.atan2(found[:, 1, 0], found[:, 0, 0])
    assert 0.1 <= amplitude.min() < 0.2
    assert 4.9 < amplitude.max() <= 5
    assert -1e-4 < phase.min() < 0.1
    assert 3.0 < phase.max() < math.pi + 1e-4


def test_draws_of_gaussian_processes_have_the_kernels_covariance() -> None:
    process = GaussianProcesses()
    x = torch.tensor([[-1.0], [-0.9], [1.5]]).expand(20_000, 3, 1)
    y = process.values(x, generator())[..., 0].double()
    # The length scale and the spread are uniform: expectations over both, by numerical integration.
    length, spread = np.linspace(0.1, 0.6, 2001), np.linspace(0.1, 1, 2001)
    variance = (spread**2).mean()
    near = variance * np.exp(-0.5 * (0.1 / length) ** 2).mean()
    found = (y.T @ y / len(y)).numpy()
    np.testing.assert_allclose(np.diag(found), variance, rtol=0.05)
    assert found[0, 1] == pytest.approx(near, rel=0.05)
    assert abs(found[0, 2]) < 0.02


def test_functions_are_the_seeds_and_have_no_classes() -> None:
    for dataset in (Sinusoids(), GaussianProcesses()):
        one, same, other = (dataset.draw(EpisodeSpec(1, 5, 5), 3, generator(seed)) for seed in (0, 0, 1))
        assert torch.equal(one.query.targets, same.query.targets)
        assert not torch.equal(one.query.targets, other.query.targets)
        for wrong in (EpisodeSpec(2, 5, 5), EpisodeSpec(1, 5, 5, unlabelled=1)):
            with pytest.raises(MetaRLError, match="a function has no classes"):
                dataset.draw(wrong, 1, generator())
    assert make_dataset("sinusoid").spec == DataSpec((1,), outputs=1)


def test_a_neural_process_averages_points_and_forgets_their_order() -> None:
    learner = NeuralProcess(1, 1, 8)
    params = {name: value.double() for name, value in learner.init(generator()).items()}
    x, y = (torch.randn(2, 6, 1, generator=generator(seed), dtype=torch.float64) for seed in (1, 2))
    asked = torch.randn(2, 4, 1, generator=generator(3), dtype=torch.float64)
    empty = learner.initial(params, 2)
    whole = learner.adapt(params, empty, Support(x, y))
    parts = learner.adapt(
        params, learner.adapt(params, empty, Support(x[:, 4:], y[:, 4:])), Support(x[:, :4], y[:, :4])
    )
    torch.testing.assert_close(whole[TOTAL], parts[TOTAL])
    outputs = learner.query(params, whole, asked)
    # By hand: the mean of the encodings of (x, y), and the decoder on it beside the input.
    encoded = learner.encoder(params, torch.cat([x, y], -1), "encoder.").mean(1, keepdim=True).expand(-1, 4, -1)
    mean, spread = learner.decoder(params, torch.cat([encoded, asked], -1), "decoder.").chunk(2, -1)
    torch.testing.assert_close(outputs[VALUE], mean)
    torch.testing.assert_close(outputs[SCALE], 0.01 + (1 + (spread + math.log(math.e - 1)).exp()).log())
    loss, logged = learner.loss(params, Episodes(Support(x, y), Support(asked, asked)))
    every = learner.query(params, whole, torch.cat([x, asked], 1))
    targets = torch.cat([y, asked], 1)
    z = (targets - every[VALUE]) / every[SCALE]
    expected = (0.5 * z.square() + every[SCALE].log() + 0.5 * math.log(2 * math.pi)).mean((1, 2))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logged["loss"], (outputs[VALUE] - asked).square().mean((1, 2)))


def test_a_neural_process_learns_and_knows_how_sure_it_is(learns: Learns) -> None:
    dataset, shape = make_dataset("sinusoid"), EpisodeSpec(1, 10, 50)
    config = replace(preset_config("neural-process"), iterations=600, width=64, learning_rate=2e-3)
    x = np.linspace(-1, -0.5, 10)

    def score(seed: int) -> dict[str, float]:
        model = FewShot("neural-process", dataset, config, seed=seed)
        before = model.evaluate(dataset.split("test"), shape, 100).mean()
        after = model.fit(dataset).evaluate(dataset.split("test"), shape, 100).mean()
        near, far = model.adapt(x[:, None], np.sin(x)).predict_std([[-0.75], [4.5]])[:, 0]
        return {"share of the error left": after / before, "surer near the support": far / near}

    learns(score, above={"surer near the support": 1}, below={"share of the error left": 0.5})


def test_a_model_of_functions_adapts_to_ones_own() -> None:
    dataset = make_dataset("sinusoid")
    model, x = (
        FewShot("neural-process", dataset, replace(preset_config("neural-process"), width=64)),
        np.linspace(-1, -0.5, 10),
    )
    assert model.adapt(x[:, None], np.sin(x)).predict([[-0.75], [4.5]]).shape == (2, 1)
    with pytest.raises(MetaRLError, match="10 samples and labels of shape"):
        model.adapt(x[:, None], x[:5])
    with pytest.raises(MetaRLError, match="The targets hold NaN"):
        model.adapt(x[:, None], x * np.nan)
    maml = FewShot("maml", dataset, preset_config("maml", "sinusoid"))
    assert maml.adapt(x[:, None], 3 * np.sin(x)).predict([[0.0]]).shape == (1, 1)
    with pytest.raises(MetaRLError, match="maml states no uncertainty"):
        maml.adapt(x[:, None], x).predict_std(x[:, None])


def test_maml_learns_to_adapt_to_functions(learns: Learns) -> None:
    dataset = make_dataset("sinusoid")
    config = replace(preset_config("maml", "sinusoid"), learning_rate=6e-3)

    def score(seed: int) -> dict[str, float]:
        model = FewShot("maml", dataset, config, seed=seed).fit(dataset, iterations=250)
        scores = model.score(dataset.split("test"), EpisodeSpec(1, 10, 50), 100)
        assert scores.measure == "mse"
        with pytest.raises(MetaRLError, match="There is no step 11"):
            scores.at(11)
        return {"share of the error left": scores.at(10).mean() / scores.at(0).mean()}

    learns(score, below={"share of the error left": 0.7})
