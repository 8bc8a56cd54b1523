"""Few-shot learners as scikit-learn estimators."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from metarl.core.errors import MetaRLError
from metarl.fewshot import DataSpec, FewShot, FewShotClassifier, FewShotRegressor
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.estimators import EXPECTED_FAILURES
from metarl.fewshot.learners.heads.base import HeadConfig


@pytest.mark.parametrize("estimator", [FewShotClassifier(), FewShotRegressor()], ids=["classifier", "regressor"])
@pytest.mark.filterwarnings("ignore")
def test_they_pass_the_checks_of_scikit_learn(estimator):
    checked = check_estimator(estimator, expected_failed_checks=EXPECTED_FAILURES, on_skip=None)

    assert not [each["check_name"] for each in checked if each["status"] == "failed"]


def _blobs(n_classes: int, per_class: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(n_classes, 6))
    y = np.repeat(np.arange(n_classes), per_class)
    return centres[y] + 0.3 * generator.normal(size=(len(y), 6)), np.array([f"class {i}" for i in y])


def test_a_classifier_works_in_a_pipeline_and_in_cross_validation():
    X, y = _blobs(4, 10)

    scores = cross_val_score(make_pipeline(StandardScaler(), FewShotClassifier()), X, y, cv=3)

    assert scores.mean() > 0.8


def test_a_classifier_that_is_trained_across_classes_keeps_its_model_in_a_clone():
    X, y = _blobs(12, 20)
    config = HeadConfig(iterations=3, episode=EpisodeSpec(way=4, shot=1, queries=5), validate_every=None)
    few, labels = _blobs(3, 4, seed=1)

    trained = FewShotClassifier(config=config).meta_fit(X, y)
    again = clone(trained).fit(few, labels)

    assert trained.model.iteration == 3
    assert trained.temperature > 0
    np.testing.assert_allclose(again.predict_proba(few), trained.fit(few, labels).predict_proba(few))
    np.testing.assert_allclose(again.predict_proba(few).sum(1), 1)


def test_groups_are_tasks_with_labels_of_their_own():
    generator = np.random.default_rng(0)
    X, groups = generator.normal(size=(240, 3)), np.repeat(np.arange(12), 20)
    slopes = generator.normal(size=(12, 3))
    y = (X * slopes[groups]).sum(1)

    classifier = FewShotClassifier(config=HeadConfig(iterations=2, validate_every=None)).meta_fit(X, y > 0, groups)
    regressor = FewShotRegressor().fit(X[:15], y[:15])

    assert list(classifier.fit(X[:10], y[:10] > 0).classes_) == [False, True]
    mean, spread = regressor.predict(X[15:20], return_std=True)
    assert np.abs(mean - y[15:20]).mean() < 0.5 * np.abs(y[15:20]).mean()
    assert (spread > 0).all()
    with pytest.raises(MetaRLError, match="give each sample a label and a group"):
        classifier.meta_fit(X, y > 0, groups[:5])


def test_a_saved_model_becomes_a_classifier(tmp_path: Path):
    X, y = _blobs(3, 4)
    FewShot("prototypical", DataSpec((6,), 5)).save(tmp_path / "model")

    classifier = FewShot.load(tmp_path / "model").classifier(temperature=2.0).fit(X, y)

    assert classifier.predict(X).shape == (12,)
    assert classifier.adapted_.temperature == 2.0


def test_an_untrained_learner_of_random_features_is_refused():
    with pytest.raises(MetaRLError, match="has to be trained"):
        FewShotClassifier("prototypical").fit(*_blobs(3, 4))
