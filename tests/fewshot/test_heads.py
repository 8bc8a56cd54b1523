"""Heads on frozen features: numbers by hand, loops written out, and a small task that each must learn."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from metarl.adapt.closed_form import kernel_regression, kernel_variance
from metarl.core.errors import MetaRLError
from metarl.fewshot import EpisodeSpec, FewShot, FewShotDataset, Groups, preset_config
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.data.groups import Task
from metarl.fewshot.learners.base import LOGITS
from metarl.fewshot.learners.heads.base import KNOWN
from metarl.fewshot.learners.registry import make_learner

HEADS = ["feature-map", "ridge", "logistic", "gp"]
FEATURES = 12


def noisy_classes(n_classes: int = 40, each: int = 20) -> FewShotDataset:
    """Make classes that 4 of 12 features tell apart, all of them far from the origin; the others are noise."""
    random = np.random.default_rng(0)
    means = np.zeros((n_classes, FEATURES))
    means[:, :4] = random.normal(size=(n_classes, 4))
    X = means[:, None] + random.normal(size=(n_classes, each, FEATURES)) * np.where(np.arange(FEATURES) < 4, 0.3, 1.0)
    labels = np.repeat(np.arange(n_classes), each)
    return FewShotDataset.from_arrays((X + 1.0).reshape(-1, FEATURES).astype(np.float32), labels)


@pytest.fixture(scope="module")
def noisy() -> FewShotDataset:
    return noisy_classes()


def small(name: str, **more: Any) -> Any:
    episode = EpisodeSpec(way=10, shot=1, queries=5)
    common = {"iterations": 100, "tasks": 4, "episode": episode, "learning_rate": 3e-3, "validate_every": 50}
    return replace(preset_config(name), **{**common, **more})


def adapted(name: str, support: Support, way: int, queries: torch.Tensor) -> tuple[Any, Any, Any]:
    learner = make_learner(name, small(name), DataSpec((support.inputs.shape[-1],)), way)
    params = learner.init(torch.Generator().manual_seed(0))
    *_, (_, state) = learner.points(params, support)
    return learner, params, learner.query(params, state, queries)


@pytest.mark.parametrize("name", HEADS)
def test_it_learns_which_features_count(noisy: FewShotDataset, name: str) -> None:
    more = {"learning_rate": 1e-2, "layers": 1, "width": 32} if name == "gp" else {}
    model, spec = FewShot(name, noisy, small(name, **more)), EpisodeSpec(5, 1, 5)
    before = model.evaluate(noisy.split("test"), spec, 100).mean()
    after = model.fit(noisy).evaluate(noisy.split("test"), spec, 100).mean()
    assert after > before + 0.05


@pytest.mark.parametrize("name", HEADS)
def test_any_number_of_classes_and_none_of_those_without_a_sample(name: str) -> None:
    support = Support(torch.randn(2, 6, 5), torch.tensor([[0, 0, 1, 1, 2, 2]] * 2))
    queries = torch.randn(2, 4, 5)
    _, _, few = adapted(name, support, 3, queries)
    _, _, many = adapted(name, support, 7, queries)
    assert (many[LOGITS].softmax(-1)[..., 3:] == 0).all()
    torch.testing.assert_close(many[LOGITS].softmax(-1)[..., :3], few[LOGITS].softmax(-1))


def test_a_feature_map_compares_directions_at_first() -> None:
    support = Support(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.tensor([[0, 1]]))
    _, _, outputs = adapted("feature-map", support, 2, torch.tensor([[[3.0, 3.0], [5.0, 0.0]]]))
    # Prototypes are drawn together by softplus(-4) = .01815 samples at (.5, .5).
    extra = math.log1p(math.exp(-4))
    one = np.array([1 + extra / 2, extra / 2]) / (1 + extra)
    cosines = np.array([[1 / 2**0.5] * 2, [1, 0]]) @ np.stack([one, one[::-1]], 1)
    wanted = 20 * cosines / np.linalg.norm(one)
    wanted[0] = 20 * (one.sum() / 2**0.5) / np.linalg.norm(one)
    np.testing.assert_allclose(outputs[LOGITS][0].numpy(), wanted, rtol=1e-4)
    known = 20 * np.array([one.sum() / 2**0.5, one[0]]) - 10 * one @ one - 5
    np.testing.assert_allclose(outputs[KNOWN][0].numpy(), known, rtol=1e-4)


def test_a_feature_map_starts_away_from_the_mean(noisy: FewShotDataset) -> None:
    model = FewShot("feature-map", noisy, small("feature-map"))
    source = noisy.split("train")
    params = model.learner.started(model.params, source, torch.Generator().manual_seed(0))
    mean = source.samples.float().mean(0)  # type: ignore[union-attr]
    assert (params["head.shift"] - mean).abs().max() < 0.2
    assert params["head.shift"].mean() > 0.7


def test_what_is_of_no_class_is_known_less(noisy: FewShotDataset) -> None:
    model = FewShot("feature-map", noisy, small("feature-map")).fit(noisy)
    episodes = noisy.split("test").draw(EpisodeSpec(8, 5, 5), 30, torch.Generator().manual_seed(0))
    inside = episodes.support.targets < 4
    some = Support(episodes.support.inputs[:, inside[0]], episodes.support.targets[:, inside[0]])
    state = model.adapted(some, 4)
    known = model.learner_for(4).query(model.params, state, episodes.query.inputs)[KNOWN]
    means = some.inputs.unflatten(1, (4, 5)).mean(2)
    distance = torch.cdist(episodes.query.inputs, means).amin(-1)
    of_class = episodes.query.targets < 4
    learned, frozen = ((x[of_class][:, None] > x[~of_class][None]).float().mean() for x in (known, -distance))
    assert learned > frozen + 0.05


def test_ridge_is_least_squares_written_out() -> None:
    random = torch.Generator().manual_seed(0)
    support = Support(torch.randn(1, 6, 4, generator=random), torch.tensor([[0, 1, 2, 0, 1, 2]]))
    queries = torch.randn(1, 3, 4, generator=random)
    _, _, outputs = adapted("ridge", support, 3, queries)
    x, q = (functional.normalize(each[0], dim=-1).numpy() for each in (support.inputs, queries))
    x, q = x - x.mean(0), q - x.mean(0)
    y = np.eye(3)[support.targets[0]] - 1 / 3
    weights = np.linalg.solve(x.T @ x + (math.log(2) + 1e-4) * np.eye(4), x.T @ y)  # softplus(0), in the primal form
    np.testing.assert_allclose(outputs[LOGITS][0].numpy(), 20 * q @ weights, rtol=1e-3, atol=1e-4)


def test_kernel_regression_by_hand() -> None:
    """One sample with kernel 2 and noise 2: half of its target, and the variance of a query like it is half of 2."""
    kernel, noise = torch.tensor([[[2.0]]]), torch.tensor([[2.0]])
    crossed = torch.tensor([[[2.0], [0.0]]])
    found = kernel_regression(kernel, torch.tensor([[[3.0]]]), noise, crossed)
    torch.testing.assert_close(found, torch.tensor([[[1.5], [0.0]]]))
    variance = kernel_variance(kernel, noise, crossed, torch.tensor([[2.0, 2.0]]))
    torch.testing.assert_close(variance, torch.tensor([[1.0, 2.0]]))


def test_logistic_regression_goes_down_the_gradient() -> None:
    random = torch.Generator().manual_seed(0)
    support = Support(torch.randn(1, 4, 3, generator=random), torch.tensor([[0, 0, 1, 1]]))
    learner, _, outputs = adapted("logistic", support, 2, support.inputs)
    x = functional.normalize(support.inputs[0], dim=-1)
    w = (20 * torch.stack([x[:2].mean(0), x[2:].mean(0)])).requires_grad_()
    b = torch.zeros(2, requires_grad=True)
    for _ in range(learner.config.steps):
        loss = functional.cross_entropy(x @ w.T + b, support.targets[0])
        dw, db = torch.autograd.grad(loss, (w, b))
        size = learner.config.step_size
        w, b = (w - size * dw).detach().requires_grad_(), (b - size * db).detach().requires_grad_()
    torch.testing.assert_close(outputs[LOGITS][0], x @ w.T + b, rtol=1e-4, atol=1e-4)


def tables(seed: int, tasks: int) -> Groups:
    """Make tables of 3 to 8 columns, padded to 8, of which one decides."""
    random = np.random.default_rng(seed)
    samples, made = [], []
    for i in range(tasks):
        X = np.zeros((80, 8), np.float32)
        X[:, : random.integers(3, 9)] = 1.0
        X *= random.normal(size=X.shape) * 3 + 5
        samples.append(X)
        made.append(Task(f"{seed} {i}", torch.arange(80) + 80 * i, torch.from_numpy((X[:, 0] > 5).astype(np.int64))))
    return Groups(torch.from_numpy(np.concatenate(samples)).float(), made, ("no", "yes"))


def test_columns_of_unseen_tables_are_weighed() -> None:
    data = FewShotDataset("made", {"train": tables(0, 20), "test": tables(1, 20)})
    config = small("columns", episode=EpisodeSpec(way=2, support=16, queries=16), learning_rate=2e-2)
    model, spec = FewShot("columns", data, config), EpisodeSpec(way=2, support=16, queries=32)
    before = model.evaluate(data.split("test"), spec, 100).mean()
    after = model.fit(data).evaluate(data.split("test"), spec, 100).mean()
    assert after > before + 0.02


def test_the_order_of_columns_and_padding_change_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    inputs, queries = torch.randn(2, 1, 8, 3, generator=random)
    labels = torch.tensor([[0, 1] * 4])
    found = []
    for order in ([0, 1, 2], [2, 0, 1], [0, 1, 2, 3]):
        padded = [functional.pad(each, (0, 1))[..., order] for each in (inputs, queries)]
        found.append(adapted("columns", Support(padded[0], labels), 2, padded[1])[2][LOGITS])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-5)


def test_training_keeps_what_is_best_on_validation_tasks(noisy: FewShotDataset, tmp_path: Any) -> None:
    config = small("feature-map", iterations=20, learning_rate=3.0, validate_every=10)  # a rate that ruins it
    model = FewShot("feature-map", noisy, config)
    first = model.learner.started(model.params, noisy.split("train"), torch.Generator())["head.weight"]
    model.fit(noisy, iterations=10)
    torch.testing.assert_close(model.params["head.weight"], first)
    assert not torch.equal(model.latest["head.weight"], first)
    model.save(tmp_path / "half.safetensors")
    resumed = FewShot.load(tmp_path / "half.safetensors")
    assert resumed.least_error == model.least_error
    for each in (model, resumed):
        each.fit(noisy)
    for name, value in model.latest.items():
        assert torch.equal(resumed.latest[name], value), name
        assert torch.equal(resumed.params[name], model.params[name]), name


def test_a_data_set_without_validation_tasks_keeps_the_last(noisy: FewShotDataset) -> None:
    data = FewShotDataset("short", {"train": noisy.split("train")})
    model = FewShot("feature-map", data, small("feature-map", iterations=3)).fit(data)
    assert torch.equal(model.params["head.weight"], model.latest["head.weight"])
    with pytest.raises(MetaRLError, match="validate_every"):
        small("feature-map", validate_every=0)
