"""The super learner: coefficients by hand and by a naive loop, the choice, one shot, a learned gate, and bad input."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from metarl.core.errors import MetaRLError
from metarl.fewshot import DataSpec, EpisodeSpec, FewShot, FewShotClassifier, SuperLearner, preset_config, strategies
from metarl.fewshot.learners.heads.base import HeadConfig
from metarl.fewshot.super_learner.answers import AnsweredTask, Tried
from metarl.fewshot.super_learner.gate import Gate
from metarl.fewshot.super_learner.pool import log_pool, losses_of, pool_coefficients
from metarl.fewshot.super_learner.support import NAMES, support_features

Array = NDArray[np.float64]
LEARNERS = [LogisticRegression(), GaussianNB(), DecisionTreeClassifier(max_depth=1, random_state=0)]


def blobs(way: int, shot: int, seed: int = 0, d: int = 6, noise: float = 0.5) -> tuple[Array, NDArray[np.int64]]:
    """Draw samples around class means, ordered by class."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(way), shot)
    return generator.normal(size=(way, d))[y] + noise * generator.normal(size=(len(y), d)), y


class Coin(ClassifierMixin, BaseEstimator):
    """A classifier that knows nothing."""

    def fit(self, X: Array, y: NDArray[np.int64]) -> "Coin":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Array) -> Array:
        found = np.abs(np.random.default_rng(0).normal(size=(len(X), len(self.classes_))))
        return np.asarray(found / found.sum(1, keepdims=True))

    def predict(self, X: Array) -> NDArray[np.int64]:
        return np.asarray(self.classes_[self.predict_proba(X).argmax(1)])


# --- coefficients ---


def test_a_coefficient_by_hand() -> None:
    """A learner that is right in 3 of 4 cases and always says .8 should say .75: log 3 / log 4 times its logit."""
    probable = np.tile([0.8, 0.2], (1, 4, 1))
    found = pool_coefficients(probable, np.array([0, 0, 0, 1]), np.ones(1), strength=0.0)
    np.testing.assert_allclose(found, np.log(3) / np.log(4), rtol=1e-4)
    np.testing.assert_allclose(log_pool(probable, found)[0], [0.75, 0.25], rtol=1e-4)


def test_coefficients_are_those_of_a_naive_search() -> None:
    generator = np.random.default_rng(0)
    probable = generator.dirichlet(np.ones(3), size=(2, 12))
    labels, prior = np.where(generator.random(12) < 0.8, probable[0].argmax(1), 0), np.array([0.5, 0.5])

    def loss(a: float, b: float) -> float:
        total = 0.5 * 2.0 * ((a - 0.5) ** 2 + (b - 0.5) ** 2)
        for i, label in enumerate(labels):
            scores = [a * np.log(probable[0, i, k]) + b * np.log(probable[1, i, k]) for k in range(3)]
            total += np.log(sum(np.exp(each) for each in scores)) - scores[label]
        return float(total)

    found = pool_coefficients(probable, labels, prior, strength=2.0)
    grid = np.linspace(0, 2, 81)
    best = min((loss(a, b), a, b) for a in grid for b in grid)
    assert loss(*found) <= best[0]
    np.testing.assert_allclose(found, best[1:], atol=0.03)
    np.testing.assert_allclose(pool_coefficients(probable, labels, prior, 1e9), prior, atol=1e-3)
    assert pool_coefficients(probable[:, :0], labels[:0], prior, 2.0) is prior


def test_the_choice_is_that_of_the_least_cross_validated_loss() -> None:
    for seed in range(5):
        X, y = blobs(3, 6, seed, noise=1.5)
        losses = []
        for learner in LEARNERS:
            folds = StratifiedKFold(3, shuffle=True, random_state=0)
            found = cross_val_predict(learner, X, y, cv=folds, method="predict_proba")
            losses.append(-np.log(found[np.arange(len(y)), y].clip(1e-6)).mean())
        made = SuperLearner(LEARNERS, "select").fit(X, y)
        np.testing.assert_allclose(made.losses_, losses)
        np.testing.assert_array_equal(made.coefficients_, np.eye(3)[np.argmin(losses)])
        best = clone(LEARNERS[int(np.argmin(losses))]).fit(X, y)
        np.testing.assert_allclose(made.predict_proba(X), best.predict_proba(X))


@pytest.mark.parametrize("method", ["average", "select"])
def test_it_is_better_than_its_worst_member(method: str) -> None:
    def right(learner: BaseEstimator, seed: int) -> float:
        X, y = blobs(4, 28, seed)
        given = np.arange(len(y)) % 28 < 8
        return float((learner.fit(X[given], y[given]).predict(X[~given]) == y[~given]).mean())

    members = [Coin(), GaussianNB(), LogisticRegression()]
    made = [right(SuperLearner(members, method), seed) for seed in range(5)]
    each = np.array([[right(clone(member), seed) for seed in range(5)] for member in members]).mean(1)
    assert np.mean(made) > each.min() + 0.4
    assert np.mean(made) > each.max() - 0.03


def test_the_mean_is_that_of_the_members() -> None:
    X, y = blobs(3, 4)
    made = SuperLearner(LEARNERS, "mean").fit(X, y)
    np.testing.assert_allclose(
        made.predict_proba(X), np.mean([clone(each).fit(X, y).predict_proba(X) for each in LEARNERS], 0)
    )


# --- one shot, and the gate ---


def task(shot: int, seed: int) -> AnsweredTask:
    """Return a task on which the first of two learners is right in 8 of 10 cases at one shot, the second at more."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(2, size=20)
    said = np.where(generator.random(20) < 0.8, targets, 1 - targets), generator.integers(2, size=20)
    good, bad = (np.where(each[:, None] == [0, 1], 0.8, 0.2) for each in said)
    nothing = Tried(np.array([np.log(shot), generator.normal()]), np.zeros((2, 0, 2)), np.zeros(0, np.int64))
    return AnsweredTask(nothing, np.stack([good, bad] if shot == 1 else [bad, good]), targets)


def test_the_gate_learns_which_learner_is_good_where() -> None:
    gate = Gate.learned([task(shot, seed) for seed in range(20) for shot in (1, 10)])
    few, many = (gate.prior(np.array([np.log(shot), 0.0])) for shot in (1, 10))
    assert few[0] > 3 * few[1]
    assert many[1] > 3 * many[0]
    assert gate.expected(np.array([0.0, 0.0])).argmin() == 0
    unseen = [task(shot, seed) for seed in range(100, 110) for shot in (1, 10)]
    members = np.mean([losses_of(each.asked, each.targets).mean(1) for each in unseen], 0)
    assert np.mean([gate.loss(each) for each in unseen]) < 0.8 * members.min()


def test_with_one_sample_of_a_class_the_gate_decides() -> None:
    X, y = blobs(3, 1)
    plain = SuperLearner(LEARNERS[:2]).fit(X, y)
    assert plain.losses_ is None
    np.testing.assert_allclose(plain.coefficients_, 0.5)
    n = len(NAMES)
    slopes, losses = np.zeros((2, 1 + n)), np.zeros((2, 1 + n))
    slopes[:, 0], losses[:, 0] = [-20, 0], [2.0, 1.0]
    gate = Gate(slopes, losses, np.zeros(n), np.ones(n), 1.0)
    second = clone(LEARNERS[1]).fit(X, y).predict_proba(X)
    for method in ("average", "select"):
        found = SuperLearner(LEARNERS[:2], method, gate=gate).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, second, atol=1e-5)


def test_features_of_a_support_by_hand() -> None:
    """Two samples of a class at a right angle to the third: 1 apart, nothing within."""
    found = support_features(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found, [np.log(2), np.log(1.5), np.log(2), 1, 0, 0, 1], atol=1e-9)


def test_meta_fit_trains_learners_on_other_classes_than_it_asks_them_about() -> None:
    X, y = blobs(12, 12)
    head = FewShotClassifier(config=HeadConfig(iterations=2, episode=EpisodeSpec(3, 1, 5), validate_every=None))
    made = SuperLearner([head, GaussianNB(), KNeighborsClassifier(1)])
    made.meta_fit(X, y, shots=(1, 2), episodes=4, way=3)
    assert made.gate.slopes.shape == (3, 1 + len(NAMES))
    assert made.learners[0].model.iteration == 2
    assert head.model is None  # which was given is as it was
    few, labels = blobs(3, 1, seed=1)
    again = clone(made).fit(few, labels)
    np.testing.assert_allclose(again.coefficients_, made.gate.prior(support_features(few, labels)))
    np.testing.assert_allclose(again.predict_proba(few).sum(1), 1)


def test_meta_fit_takes_tasks_with_labels_of_their_own() -> None:
    generator = np.random.default_rng(0)
    X, groups = generator.normal(size=(240, 3)), np.repeat(np.arange(6), 40)
    y = np.where((X * generator.normal(size=(6, 3))[groups]).sum(1) > 0, "yes", "no")
    made = SuperLearner([LogisticRegression(), GaussianNB()]).meta_fit(X, y, groups, shots=(2, 5), episodes=6)
    assert list(made.fit(X[:10], y[:10]).classes_) == ["no", "yes"]
    assert made.score(X[:40], y[:40]) > 0.6


# --- scikit-learn ---


@pytest.mark.filterwarnings("ignore")
def test_it_passes_the_checks_of_scikit_learn() -> None:
    checked = check_estimator(SuperLearner([LogisticRegression(), GaussianNB()], folds=2), on_skip=None, on_fail=None)
    assert not [each["check_name"] for each in checked if each["status"] == "failed"]


def test_it_takes_few_shot_learners_and_strategies() -> None:
    X, y = blobs(3, 4, d=4)
    model = FewShot("maml", DataSpec((4,), 3), preset_config("maml"))
    ways = strategies(model, test_steps=(0, 5), step_size=(0.1, 0.4))
    assert [(each.model.config.test_steps, each.model.config.step_size) for each in ways] == [
        (0, 0.1),
        (0, 0.4),
        (5, 0.1),
        (5, 0.4),
    ]
    found = [each.fit(X, y).predict_proba(X) for each in ways]
    np.testing.assert_allclose(found[0], found[1])  # no step is as long as another
    assert np.abs(found[2] - found[3]).max() > 1e-3
    made = SuperLearner([*ways, FewShotClassifier("ridge")], "select").fit(X, y)
    assert made.predict(X).shape == y.shape
    with pytest.raises(MetaRLError, match="no such setting"):
        strategies(model, leaps=(1, 2))


# --- bad input ---


def test_learners_of_other_classes_are_refused_with_the_numbers() -> None:
    X, y = blobs(4, 3)
    other = FrozenEstimator(LinearDiscriminantAnalysis().fit(X[:9], y[:9]))
    with pytest.raises(MetaRLError, match=r"3 classes apart \(0, 1, 2\), and the support has 4 \(0, 1, 2, 3\)"):
        SuperLearner([GaussianNB(), other]).fit(X, y)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (SuperLearner([]), "no base learner"),
        (SuperLearner(LEARNERS, "avarage"), "Did you mean average"),
        (SuperLearner([LinearSVC()]), "no probabilities"),
        (SuperLearner(LEARNERS[:1], gate=Gate(*[np.zeros((2, 8))] * 2, *[np.zeros(7)] * 2, 1.0)), "for 2 .* are 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(made: SuperLearner, says: str) -> None:
    with pytest.raises(MetaRLError, match=says) as caught:
        made.fit(*blobs(3, 2))
    assert "\n" not in str(caught.value)


def test_a_gate_needs_a_task() -> None:
    with pytest.raises(MetaRLError, match="no training task"):
        Gate.learned([])
