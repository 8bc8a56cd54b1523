"""Baselines on the episodes that a run is scored on, and differences paired by episode."""

import time

import numpy as np
import torch

from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot import FewShotEvaluation, root_of_mean
from metarl.evaluation.rows import Row
from metarl.evaluation.statistics import Array, estimate
from metarl.experiments.progress import Reporter
from metarl.fewshot.baselines.ratings import rating_baseline
from metarl.fewshot.baselines.registry import make_baseline
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.ratings import RatingDataset
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.measures import ACCURACY, RMSE, scale_of
from metarl.fewshot.scoring import first_scored, score


def evaluate_baseline(
    name: str,
    dataset: FewShotDataset,
    spec: EpisodeSpec,
    episodes: int = 600,
    split: str = "test",
    *,
    measure: str = ACCURACY,
    quiet: bool = True,
) -> FewShotEvaluation:
    """Score a baseline on the episodes that ``evaluate_fewshot_run`` scores a run on.

    Args:
        name: of the baseline.
        dataset: of samples that are features.
        spec: of the episodes.
        episodes: their number.
        split: ``test`` or ``val``.
        measure: one of ``metarl.fewshot.measures``.
        quiet: whether no progress is shown.
    """
    tasks = dataset.split(split)
    learner: FewShotLearner
    if isinstance(dataset, RatingDataset) and isinstance(tasks, Groups):
        if split == "train":
            raise MetaRLError("Baselines of ratings know those of training users; choose --split test or --split val.")
        learner, tasks = rating_baseline(name, dataset.known, measure), tasks.numbered()
    else:
        learner = make_baseline(name, dataset.spec, spec.largest.way)
    with Reporter({0: name}, episodes, "episodes", quiet=quiet) as reporter:
        scores = score(
            learner, {}, tasks, spec, episodes, measure=measure, report=lambda n_scored: reporter(0, n_scored)
        )
    one = first_scored(tasks, spec, episodes)
    started = time.perf_counter()
    with torch.no_grad():  # fitting, and the queries of one task: most are fitted when they are first asked
        learner.query({}, learner.adapt({}, learner.initial({}, 1), one.support), one.query.inputs)
    return FewShotEvaluation(
        learner=name,
        dataset=dataset.name,
        split=split,
        spec=spec,
        measure=scores.measure,
        transductive=False,
        seeds=(0,),
        iterations=0,
        tasks=0,
        wall_seconds=0.0,
        adapt_seconds=time.perf_counter() - started,
        adapt_bytes=one.support.inputs.nbytes,
        parameters=0,
        adaptations=scores.adaptations,
        values=scale_of(scores.measure) * scores.values[None],
        queries=scores.queries,
    )


def paired(made: FewShotEvaluation, reference: FewShotEvaluation) -> Row:
    """Return by how much an evaluation is above another on the same episodes, with the interval of that difference.

    Of other numbers of seeds each episode's mean over seeds is taken, so that the difference is of one learner.
    """
    mine, other = made.values[:, -1], reference.values[:, -1]
    if len(mine) != len(other):
        mine, other = mine.mean(0, keepdims=True), other.mean(0, keepdims=True)
    if made.measure == RMSE and made.queries is not None:
        found = estimate(mine, (other.mean(0), made.queries), statistic=_roots_apart)
    else:
        found = estimate(np.asarray(mine - other))
    low, high = found.interval
    return {"above": reference.called, "difference": found.value, "difference_low": low, "difference_high": high}


def _roots_apart(mine: Array, other: Array, queries: Array) -> Array:
    """Return the difference of two roots of mean squared errors: (..., seed, task), (..., task) twice -> (...)."""
    return root_of_mean(mine, queries) - root_of_mean(other[..., None, :], queries)
