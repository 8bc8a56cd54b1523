"""Calibration, what is out of scope, and which samples decided."""

import numpy as np
import pytest
import torch

from metarl.fewshot import DataSpec, FewShot
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.prediction import predict
from metarl.fewshot.trust.calibration import brier, fitted_temperature, probabilities, reliability
from metarl.fewshot.trust.deciding import deciding
from metarl.fewshot.trust.scope import auroc, threshold
from metarl.fewshot.untrained import untrained


def test_the_temperature_of_overconfident_logits_is_found():
    generator = np.random.default_rng(0)
    true = 2 * generator.normal(size=(4000, 4))
    targets = np.array([generator.choice(4, p=each) for each in probabilities(true)])

    temperature = fitted_temperature(3 * true, targets)

    assert temperature == pytest.approx(3, rel=0.1)
    before, after = (probabilities(3 * true, each) for each in (1.0, temperature))
    assert reliability(after, targets).error < 0.03 < reliability(before, targets).error
    assert brier(after, targets) < brier(before, targets)


def test_few_samples_that_are_all_right_leave_some_doubt():
    logits = np.eye(3)[[0, 1, 2, 0]]

    sure = probabilities(logits, fitted_temperature(logits, [0, 1, 2, 0])).max()

    assert 0.6 < sure < 0.99


def test_the_expected_error_is_the_mean_distance_of_confidence_and_share_right():
    probable = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 4)

    found = reliability(probable, [0, 0, 0, 1, 1, 1, 0, 0], bins=10)

    assert found.error == pytest.approx((abs(0.75 - 0.9) + abs(0.5 - 0.6)) / 2)
    assert brier(probable[:1], [1]) == pytest.approx(2 * 0.9**2)


def test_the_line_between_in_and_out_of_scope_is_where_most_are_right():
    inside, outside = np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 2.5])

    assert auroc(inside, outside) == pytest.approx(8 / 9)
    assert 1.0 < threshold(inside, outside) <= 3.0


@pytest.mark.parametrize("learner", ["ridge", "logistic"])
def test_the_nearest_or_most_influential_sample_of_the_class_decided(learner: str):
    inputs = torch.tensor([[1.0, 0.1], [1.0, -0.6], [-1.0, 0.1], [-0.8, -0.9]])
    model = untrained(learner, DataSpec((2,), 2))
    support = Support(inputs[None], torch.tensor([[0, 0, 1, 1]]))
    state = model.adapted(support, 2)

    found = deciding(model.learner_for(2), model.params, state, support, torch.tensor([[1.0, 0.1], [-1.0, 0.1]]), 3)

    assert set(found[0]) == {0, 1, -1}
    assert set(found[1]) == {2, 3, -1}
    assert learner == "logistic" or (found[:, 0] == [0, 2]).all()


@pytest.mark.parametrize("trained", [False, True], ids=["by the support", "by training tasks"])
def test_predictions_tell_what_is_out_of_scope(trained: bool):
    generator = np.random.default_rng(0)
    centres = 3 * generator.normal(size=(30, 16))
    y = np.repeat(np.arange(30), 12)
    X = (centres[y] + 0.3 * generator.normal(size=(len(y), 16))).astype(np.float32)
    source = FewShotDataset.from_arrays(X, y, splits={"train": range(20)}).split("train")
    model = FewShot("feature-map", DataSpec((16,), 20))
    given, asked, others = (y >= 20) & (y < 24) & (np.arange(len(y)) % 12 < 4), (y >= 20) & (y < 24), y >= 25

    found = predict(
        model,
        X[given],
        [str(each) for each in y[given]],
        np.concatenate([X[asked], X[others]]),
        source if trained else None,
    )

    n = int(asked.sum())
    assert found.known[:n].mean() > 0.8 > 0.3 > found.known[n:].mean()
    right = np.array(found.classes)[found.probable[:n].argmax(1)] == y[asked].astype(str)
    assert right.mean() > 0.95
    assert found.learned_on.startswith("training" if trained else "the support")
