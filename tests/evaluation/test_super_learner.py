"""The super learner scored beside its base learners: the same tasks, paired differences, and stacking as it is."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB

from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot_super_learner import (
    SUPER,
    TaskStream,
    crossed,
    encoded,
    members,
    rows_of,
    scores_of,
    stacked,
    stream_of,
)
from metarl.fewshot import EpisodeSpec, FewShot, FewShotDataset
from metarl.fewshot.data.groups import Groups, groups_by_split
from metarl.fewshot.data.registry import equal_classes
from metarl.fewshot.data.synthetic_characters import stroke_classes
from metarl.fewshot.learners.heads.base import HeadConfig
from metarl.fewshot.super_learner.answers import AnsweredTask, answers_of, fitted, tried
from metarl.fewshot.super_learner.tasks import each_task


def run_of(dataset: FewShotDataset, learner: str = "ridge") -> Any:
    """Return what a run of one iteration says of itself."""
    config = HeadConfig(iterations=1, episode=EpisodeSpec(2, 2, 5), validate_every=None)
    model = FewShot(learner, dataset, config)
    facts = {"learner": learner, "config": config, "seeds": (0,)}
    return SimpleNamespace(trained=lambda _: model, dataset=lambda: dataset, **facts)


@pytest.fixture(scope="module")
def blobs() -> FewShotDataset:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(20, 1, 6)) * 2 + generator.normal(size=(20, 16, 6))
    return FewShotDataset.from_arrays(X.reshape(-1, 6).astype(np.float32), np.repeat(np.arange(20), 16))


@pytest.fixture(scope="module")
def stream(blobs: FewShotDataset) -> TaskStream:
    return stream_of(run_of(blobs), shots=(1, 3, 20), training=4, episodes=5, way=3)


def test_the_tasks_of_a_stream(stream: TaskStream, blobs: FewShotDataset) -> None:
    assert stream.members == tuple(members(run_of(blobs).trained(0)))
    assert (len(stream.training), len(stream.scored)) == (12, 15)
    assert stream.shots.tolist() == [1] * 5 + [3] * 5 + [12] * 5  # a class has 16 samples, 4 of them queries
    assert [len(task.support.labels) for task in stream.scored[::5]] == [0, 9, 36]
    assert stream.scored[0].asked.shape == (6, 12, 3)


def test_rows_have_the_difference_from_the_best_base_learner(stream: TaskStream) -> None:
    rows, scores = rows_of([stream]), scores_of([stream])
    by_name = {row["learner"]: row for row in rows}
    best = max(stream.members, key=lambda name: scores[name].mean())
    assert {row["against"] for row in rows} == {best}
    assert by_name[best]["difference"] == by_name[best]["difference_low"] == 0
    apart = scores[SUPER] - scores[best]
    assert by_name[SUPER]["difference"] == pytest.approx(apart.mean())
    assert by_name[SUPER]["shots_3"] == pytest.approx(scores[SUPER][5:10].mean())
    assert by_name[SUPER]["low"] < by_name[SUPER]["value"] < by_name[SUPER]["high"]
    right = [(task.asked[0].argmax(1) == task.targets).mean() for task in stream.scored]
    np.testing.assert_allclose(scores["nearest-mean"], 100 * np.array(right))
    both = rows_of([stream, stream])
    assert {row["repeats"] for row in both} == {30}
    assert both[0]["value"] == pytest.approx(rows[0]["value"])


@pytest.mark.parametrize("way", [2, 3])
def test_stacking_is_that_of_scikit_learn(blobs: FewShotDataset, way: int) -> None:
    episodes = blobs.split("train").draw(EpisodeSpec(way, 6, 4), 1, torch.Generator().manual_seed(0))
    ((x, y, asked, targets),) = each_task(episodes)
    learners = [GaussianNB(), LogisticRegression()]
    mine = stacked(AnsweredTask(tried(learners, x, y), answers_of(fitted(learners, x, y), asked), targets))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    named = [("a", learners[0]), ("b", learners[1])]
    np.testing.assert_allclose(mine, StackingClassifier(named, cv=folds).fit(x, y).predict_proba(asked), rtol=1e-5)


def test_without_a_validation_split_learners_answer_on_tasks_they_were_not_trained_on() -> None:
    generator = np.random.default_rng(0)
    X, whose = generator.normal(size=(320, 3)).astype(np.float32), np.repeat([f"task {i}" for i in range(8)], 40)
    splits = {"train": sorted(set(whose))[:6], "test": sorted(set(whose))[6:]}
    dataset = FewShotDataset("assays", groups_by_split(X, (X[:, 0] > 0).astype(np.int64), whose, splits, ("no", "yes")))
    parts = list(crossed(run_of(dataset), dataset))
    assert sorted(name for _, left in parts for name in left.names) == splits["train"]
    assert all(model.iteration == 1 for model, _ in parts)
    found = stream_of(run_of(dataset), shots=(1, 4), training=3, episodes=2)
    assert (len(found.training), len(found.scored)) == (6, 4)
    assert isinstance(dataset.split("test"), Groups)
    assert 0 <= scores_of([found])[SUPER].mean() <= 100


def test_images_become_the_features_of_a_model() -> None:
    images = stroke_classes(4, 4)
    parts = {"train": equal_classes(images[:2], ("a", "b")), "test": equal_classes(images[2:], ("c", "d"))}
    drawn = FewShotDataset("drawn", parts)
    model = FewShot("prototypical", drawn)
    made = encoded(model, drawn)
    n = model.learner.backbone.n_features
    assert made.spec.shape == (n,)
    train, given = made.split("train"), parts["train"]
    with torch.no_grad():
        one = model.learner.encode(model.params, given.scale * given.samples[None, 7:8].float())[0, 0]
    torch.testing.assert_close(train.samples[7], one, rtol=1e-4, atol=1e-5)


def test_numbers_and_classes_without_validation_are_refused(blobs: FewShotDataset) -> None:
    splits = {name: blobs.split(name) for name in ("train", "test")}
    with pytest.raises(MetaRLError, match="no validation split"):
        stream_of(run_of(FewShotDataset("blobs", splits)), (1,), 2, 2)
