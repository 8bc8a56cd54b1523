"""The super learner beside each of its base learners on the same tasks, pooled over shots and over data sets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from metarl.core.errors import MetaRLError
from metarl.evaluation.rows import Row
from metarl.evaluation.statistics import Interval, estimate
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.baselines.registry import MEMBERS
from metarl.fewshot.data.dataset import FewShotDataset, TaskSource
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.estimators import FewShotClassifier
from metarl.fewshot.learners.base import LOGITS
from metarl.fewshot.learners.metric import MetricLearner
from metarl.fewshot.measures import ACCURACY, PERCENT, ROC_AUC, measured
from metarl.fewshot.model import FewShot
from metarl.fewshot.super_learner.answers import AnsweredTask
from metarl.fewshot.super_learner.estimator import AVERAGE, MEAN, SELECT, averaged, coefficients_of
from metarl.fewshot.super_learner.gate import Gate
from metarl.fewshot.super_learner.pool import logarithms
from metarl.fewshot.super_learner.tasks import answered_tasks

Array: TypeAlias = NDArray[np.float64]
SUPER = "super learner"
_ASSAY_QUERIES = 64  # of each class of tasks with labels of their own, which are unbalanced
_QUERIES = 40  # of other classes, a quarter of what they have at most: asking costs little
_PARTS = 3  # of training tasks, where there are none to choose by
_AT_ONCE = 500  # samples that are encoded


@dataclass(frozen=True)
class TaskStream:
    """The answers of base learners on the tasks of one data set: those by which a gate is learned, and those scored."""

    name: str  # of the data set
    members: tuple[str, ...]
    training: list[AnsweredTask]
    scored: list[AnsweredTask]
    shots: NDArray[np.int64]  # (task,) of the scored ones


def stream_of(run: FewShotRun, shots: Sequence[int], training: int, episodes: int, way: int = 5) -> TaskStream:
    """Let a run's learner and the baselines that a super learner combines answer on tasks of the run's data set.

    Where samples are no vectors, the run's learner encodes them, and a ``feature-map`` is trained on the vectors in its
    place. The gate's tasks are of the validation split; without one, of each third of the training tasks, answered by a
    learner trained like the run's on the others. So no base learner has been trained on them.

    Args:
        run: trained; its first seed is taken.
        shots: labelled samples of each class, as many as a class has beside its queries where that is less.
        training: episodes of each, by which the gate is learned.
        episodes: of each, that are scored: of the test split.
        way: classes of an episode; where tasks have labels of their own all of them.
    """
    model, dataset = run.trained(run.seeds[0]), run.dataset()
    if len(model.spec.shape) > 1:
        dataset = encoded(model, dataset)
        model = FewShot("feature-map", dataset).fit(dataset)
    test = dataset.split("test")
    if not isinstance(test, Classes | Groups) or model.spec.outputs is not None:
        raise MetaRLError(f"{dataset.name} has numbers to predict; a super learner tells classes apart.")
    least = min(int(source.counts.min()) for source in dataset.splits.values() if isinstance(source, Classes | Groups))
    queries = _ASSAY_QUERIES
    if isinstance(test, Classes):
        queries = max(1, min(_QUERIES, least // 4))
        shots = sorted({min(shot, least - queries) for shot in shots})

    def answers(made: FewShot, source: TaskSource, n: int) -> list[AnsweredTask]:
        assert isinstance(source, Classes | Groups)  # for mypy: those of all splits are of one kind
        return answered_tasks([*members(made).values()], source, shots, n, way, queries)

    if "val" in dataset.splits:
        learned = answers(model, dataset.splits["val"], training)
    else:
        each = -(-training // _PARTS)
        learned = [task for made, left in crossed(run, dataset) for task in answers(made, left, each)]
    scored = answers(model, test, episodes)
    return TaskStream(dataset.name, tuple(members(model)), learned, scored, np.repeat(shots, episodes))


def members(model: FewShot) -> dict[str, Any]:
    """Return the base learners by name: the baselines, an untrained ridge regression, and a trained model."""
    named = {name: make() for name, make in MEMBERS.items()}
    return {**named, "ridge": FewShotClassifier(), "meta-learned": FewShotClassifier(model=model)}


def encoded(model: FewShot, dataset: FewShotDataset) -> FewShotDataset:
    """Return a data set of a model's features in the place of samples."""
    learner, made = model.learner, dict[str, Classes]()
    for split, source in dataset.splits.items():
        if not isinstance(learner, MetricLearner) or not isinstance(source, Classes):
            raise MetaRLError(f"{learner.name} gives no features of {dataset.name}; take a run that compares them.")
        with torch.no_grad():
            rows = [
                learner.encode(model.params, source.scale * some[None].float())[0]
                for some in source.samples.split(_AT_ONCE)
            ]
        made[split] = Classes(torch.cat(rows), source.counts, source.names)
    return FewShotDataset(dataset.name, made)


def crossed(run: FewShotRun, dataset: FewShotDataset) -> Iterator[tuple[FewShot, Groups]]:
    """Yield learners trained like a run's on two thirds of the training tasks, and the other third."""
    train = dataset.split("train")
    if not isinstance(train, Groups) or len(train) < _PARTS:
        raise MetaRLError(f"{dataset.name} has no validation split; name one (--split COLUMN) to learn a gate by.")
    for part in range(_PARTS):
        numbered = list(enumerate(train.tasks))
        left, kept = ([task for i, task in numbered if (i % _PARTS == part) == here] for here in (True, False))
        others = FewShotDataset(
            dataset.name, {"train": Groups(train.samples, kept, train.classes)}, dataset.encoder, dataset.fitted
        )
        made = FewShot(run.learner, others, run.config, seed=run.seeds[0]).fit(others)
        yield made, Groups(train.samples, left, train.classes)


def scores_of(streams: Sequence[TaskStream]) -> dict[str, Array]:
    """Return the scores in percent of base learners and of all that combines them, one a task ``(task,)``.

    They are accuracies, and of two classes areas under the receiver operating characteristic. One gate is learned on
    the training tasks of all streams together.
    """
    tasks = [task for stream in streams for task in stream.scored]
    gate = Gate.learned([task for stream in streams for task in stream.training])

    def combining(method: str, gate: Gate | None) -> Callable[[AnsweredTask], Array]:
        return lambda task: averaged(task.asked, coefficients_of(task.support, method, gate), method)

    def alone(k: int) -> Callable[[AnsweredTask], Array]:
        return lambda task: np.asarray(task.asked[k])

    made = {name: alone(k) for k, name in enumerate(streams[0].members)}
    made |= {
        SUPER: combining(AVERAGE, gate),
        f"{SUPER}, no gate": combining(AVERAGE, None),
        f"{SUPER}, select": combining(SELECT, gate),
        "mean": combining(MEAN, None),
        "stacking": stacked,
    }
    return {name: np.array([_score(each(task), task.targets) for task in tasks]) for name, each in made.items()}


def stacked(task: AnsweredTask) -> Array:
    """Return the probabilities ``(query, class)`` of scikit-learn's ``StackingClassifier`` with the same folds.

    Where nothing can be held out it cannot be fitted, and the plain mean is taken.
    """
    if not len(task.support.labels):
        return averaged(task.asked, coefficients_of(task.support, MEAN, None), MEAN)
    first = 1 if task.asked.shape[-1] == 2 else 0  # of two columns that sum to 1 it takes one
    held_out, asked = (np.hstack([*each[..., first:]]) for each in (task.support.held_out, task.asked))
    final = LogisticRegression().fit(held_out, task.support.labels)
    return np.asarray(final.predict_proba(asked))


def rows_of(streams: Sequence[TaskStream]) -> list[Row]:
    """Return a row for each learner on the streams pooled, with its paired difference from the best base learner.

    Which one is best is known afterwards only: no fixed choice could have been better.
    """
    scores, shots = scores_of(streams), np.concatenate([stream.shots for stream in streams])
    best = max(streams[0].members, key=lambda name: scores[name].mean())
    rows: list[Row] = []
    for name, values in scores.items():
        score = estimate(values[None], bounds=Interval(0, PERCENT))
        apart = estimate((values - scores[best])[None], bounds=Interval(-PERCENT, PERCENT))
        row: Row = {"data": "+".join(stream.name for stream in streams), "learner": name, "against": best}
        row |= {"value": score.value, "low": score.interval[0], "high": score.interval[1]}
        row |= {"difference": apart.value, "difference_low": apart.interval[0], "difference_high": apart.interval[1]}
        each = {f"shots_{shot}": float(values[shots == shot].mean()) for shot in np.unique(shots)}
        rows.append({**row, "repeats": len(values), "seeds": 1, **each})
    return rows


def _score(probable: Array, targets: NDArray[np.int64]) -> float:
    measure = ROC_AUC if probable.shape[1] == 2 else ACCURACY
    logits = {LOGITS: torch.from_numpy(logarithms(probable))[None]}
    return PERCENT * float(measured(logits, torch.from_numpy(targets)[None], probable.shape[1], measure))
