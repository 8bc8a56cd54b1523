"""Tasks on which base learners answer, and those of training for a gate, which no base learner was trained on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from metarl.core.random import torch_generator
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, Episodes, EpisodeSpec
from metarl.fewshot.data.groups import Groups, groups_by_split
from metarl.fewshot.super_learner.answers import FOLDS, AnsweredTask, answers_of, fitted, tried

SHOTS = (1, 2, 5, 10, 20)
_PARTS = 3  # of the classes or tasks, each answered by base learners trained on the others


def answered_tasks(
    learners: Sequence[Any],
    source: Classes | Groups,
    shots: Sequence[int],
    episodes: int,
    way: int = 5,
    queries: int = 10,
    folds: int = FOLDS,
    seed: int = 0,
) -> list[AnsweredTask]:
    """Draw episodes with each number of shots, and return what base learners say of them, in the order of ``shots``.

    Args:
        learners: scikit-learn classifiers that have not been trained on the source.
        source: of the tasks; where they have labels of their own, all their classes are taken.
        shots: labelled samples of each class.
        episodes: of each number of shots.
        way: classes of an episode, fewer where there are not so many.
        queries: of each class.
        folds: of a support, see ``tried``.
        seed: decides which.
    """
    found = []
    for shot in shots:
        some = source.draw(spec_for(source, way, shot, queries), episodes, torch_generator(seed, "super learner", shot))
        for x, y, asked, targets in each_task(some):
            support = tried(learners, x, y, folds, seed)
            found.append(AnsweredTask(support, answers_of(fitted(learners, x, y), asked), targets))
    return found


def spec_for(source: Classes | Groups, way: int, shot: int, queries: int) -> EpisodeSpec:
    """Return the size of episodes: of so many classes, or of all where tasks have labels of their own."""
    if isinstance(source, Groups):
        return EpisodeSpec(len(source.classes), shot, queries * len(source.classes))
    return source.fitting(EpisodeSpec(way, shot, queries))


def each_task(episodes: Episodes) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield the support's samples and labels of each task, then those of its queries."""
    (inputs, labels), (asked, targets) = episodes.support, episodes.query
    for task in zip(inputs, labels, asked, targets, strict=True):
        x, y, queries, right = (part.cpu().numpy() for part in task)
        yield x, y, queries, right


def trained_across(learners: Sequence[Any], X: NDArray[Any], y: NDArray[Any], groups: NDArray[Any] | None) -> list[Any]:
    """Return copies of base learners, of which those are trained across tasks that can be and are not yet."""
    made = [clone(each) for each in learners]
    return [each.meta_fit(X, y, groups) if to_be_trained(each) else each for each in made]


def to_be_trained(learner: Any) -> bool:
    """Return whether a base learner can be trained across tasks and has no model yet."""
    return hasattr(learner, "meta_fit") and getattr(learner, "model", None) is None


def parts_of(
    learners: Sequence[Any], X: NDArray[Any], y: NDArray[Any], groups: NDArray[Any] | None, seed: int
) -> Iterator[tuple[list[Any], Classes | Groups]]:
    """Yield base learners trained across some tasks, and the other tasks as a source, until each was among the others.

    Where no base learner is to be trained, all tasks come at once. The arguments are those of ``meta_fit``.
    """
    units = y if groups is None else groups
    names = np.unique(units)
    parts = _PARTS if any(to_be_trained(each) for each in learners) else 1
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(names))
    for part in range(parts):
        left = np.isin(units, names[order[part::parts]])
        kept = ~left if parts > 1 else left
        made = trained_across(learners, X[kept], y[kept], None if groups is None else groups[kept])
        yield made, _source(X[left], y[left], None if groups is None else groups[left], np.unique(y))


def _source(X: NDArray[Any], y: NDArray[Any], groups: NDArray[Any] | None, classes: NDArray[Any]) -> Classes | Groups:
    if groups is None:
        made = FewShotDataset.from_arrays(X, y, splits={"train": np.unique(y).tolist()}).splits["train"]
        assert isinstance(made, Classes)  # for mypy: arrays with labels are
        return made
    numbers = np.searchsorted(classes, y)
    splits = {"train": np.unique(groups).tolist()}
    return groups_by_split(X, numbers, groups, splits, tuple(map(str, classes)))["train"]
