"""Another data set than that of training: samples as the learner takes them, and features normalised by its own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.fewshot import EpisodeSpec, FewShot, FewShotDataset, make_dataset, preset_config
from metarl.fewshot.backbone import BACKBONE
from metarl.fewshot.data import other
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.other import is_named, other_dataset
from metarl.fewshot.target_normalisation import renormalised

SPEC = EpisodeSpec(3, 2, 3)


def test_digits_are_ten_classes_and_are_resized_with_a_word() -> None:
    as_they_are = make_dataset("digits").split("test")
    assert isinstance(as_they_are, Classes)
    assert (len(as_they_are), int(as_they_are.counts.sum()), as_they_are.shape) == (10, 1797, (8, 8))
    with pytest.warns(UserWarning, match="digits: pictures of 8 × 8 in grey are made 28 × 28 in grey"):
        made = other_dataset("digits", DataSpec((28, 28), 60)).split("test")
    assert isinstance(made, Classes)
    assert made.shape == (28, 28)
    assert made.names == as_they_are.names
    small = torch.nn.functional.avg_pool2d(made.samples[:, None, 6:22, 6:22], 16)[:, 0, 0, 0]
    inner = (as_they_are.samples.float() * as_they_are.scale)[:, 2:6, 2:6].mean((1, 2))
    assert np.corrcoef(small, inner)[0, 1] > 0.95
    with pytest.raises(MetaRLError, match="digits has no split 'train'"):
        make_dataset("digits").split("train")


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function by which the next data set that is made is of given samples."""

    def give(samples: np.ndarray, scale: float = 1.0) -> None:
        data = FewShotDataset.from_arrays(samples, np.arange(len(samples)) % 10, scale=scale)
        monkeypatch.setattr(other, "make_dataset", lambda _: data)

    return give


def test_colour_becomes_grey_and_grey_three_channels(named: Callable[..., None]) -> None:
    red = np.zeros((20, 3, 4, 4), np.uint8)
    red[:, 0] = 255
    named(red, 1 / 255)
    with pytest.warns(UserWarning, match="4 × 4 in colour are made 4 × 4 in grey"):
        made = other_dataset("any", DataSpec((4, 4), 60)).split("test")
    assert isinstance(made, Classes)
    torch.testing.assert_close(made.samples, torch.full_like(made.samples, 0.299))
    named(np.full((20, 4, 4), 0.5, np.float32))
    with pytest.warns(UserWarning, match="in grey are made 8 × 8 in colour"):
        made = other_dataset("any", DataSpec((3, 8, 8), 60)).split("test")
    assert isinstance(made, Classes)
    assert made.shape == (3, 8, 8)
    torch.testing.assert_close(made.samples, torch.full_like(made.samples, 0.5))


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("sinusoid", DataSpec((1,), 60), "sinusoid has numbers to predict, and this learner was trained for classes"),
        ("digits", DataSpec((8, 8), outputs=1), "digits has classes, and this learner was trained for numbers"),
        ("digits", DataSpec((64,), 60), r"samples of shape \(8, 8\), and this learner takes \(64,\)"),
        ("digits", DataSpec((384,), 60, encoder="minilm"), "samples of no encoder, .* on those of minilm"),
    ],
)
def test_data_of_another_kind_are_refused(name: str, spec: DataSpec, said: str) -> None:
    with pytest.raises(MetaRLError, match=said):
        other_dataset(name, spec)


def test_an_encoder_that_was_fitted_to_other_items_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FewShotDataset("words", make_dataset("digits").splits, "ngrams", "[2]")
    monkeypatch.setattr(other, "make_dataset", lambda _: data)
    with pytest.raises(MetaRLError, match="The encoder ngrams was fitted to the training items of each data set"):
        other_dataset("words", DataSpec((8, 8), 60, encoder="ngrams", fitted="[1]"))


def test_a_name_is_that_of_a_run_with_no_other_options() -> None:
    assert is_named("clinc150-01", "clinc150-01?encoder=wordllama")
    assert not is_named("clinc150-01?encoder=minilm", "clinc150-01?encoder=wordllama")
    assert not is_named("digits", "strokes")


def blobs(shift: float, scale: float) -> FewShotDataset:
    """Vectors of 30 classes in 6 numbers, of which a domain shifts and scales the first three."""
    random = np.random.default_rng(0)
    X = random.normal(size=(30, 1, 6)) * 2 + random.normal(size=(30, 15, 6)) + 3
    X[..., :3] = X[..., :3] * scale + shift
    return FewShotDataset.from_arrays(X.reshape(-1, 6).astype(np.float32), np.repeat(np.arange(30), 15))


def test_features_get_the_mean_and_scale_of_training() -> None:
    trained, target = blobs(0, 1), blobs(40, 10)
    config = replace(preset_config("feature-map"), episode=SPEC)
    model = FewShot("feature-map", trained, config).fit(trained, iterations=1)
    learner, source, tasks = model.learner_for(3), trained.split("train"), target.split("test")
    made = renormalised(learner, model.params, source, tasks, SPEC)
    assert isinstance(source, Classes)
    assert isinstance(tasks, Classes)
    wanted = learner.backbone(model.params, source.samples[None], BACKBONE)[0]
    found = made.backbone(model.params, tasks.samples[None], BACKBONE)[0]
    spread = wanted.std(0)
    assert ((found.mean(0) - wanted.mean(0)).abs() < spread).all()  # classes differ, and are few
    assert (found.std(0) / spread).log().abs().max() < 0.5
    assert made.backbone.n_features == learner.backbone.n_features == 6
    before = learner.backbone(model.params, tasks.samples[None], BACKBONE)[0]
    assert (before.mean(0)[:3] > 20).all()  # the learner itself is as it was
