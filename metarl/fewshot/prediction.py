"""Predictions of unlabelled samples from a support, with what is needed to trust them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.fewshot.adapted import Classifier, as_rows
from metarl.fewshot.data.dataset import TaskSource
from metarl.fewshot.data.episodes import Classes, EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.estimators import adapted_as
from metarl.fewshot.model import FewShot
from metarl.fewshot.trust.calibration import fitted_temperature, logits_of
from metarl.fewshot.trust.deciding import deciding, leave_one_out
from metarl.fewshot.trust.threshold import Scope, scope_of_support, scope_of_training

_EPISODES = 100  # of training tasks, by which a temperature and a threshold are learned
_QUERIES = 10  # of each class there


@dataclass(frozen=True)
class Predictions:
    """The predicted classes of queries."""

    classes: tuple[str, ...]
    probable: NDArray[np.float64]  # (query, class), calibrated
    decided: NDArray[np.int64]  # (query, some) rows of the support, the one that decided most first; -1 for none
    known: NDArray[np.bool_]  # (query,) whether it is of any of the classes
    temperature: float  # what logits were divided by
    learned_on: str  # what temperature and threshold were learned on


def predict(
    model: FewShot,
    inputs: NDArray[np.float32],
    labels: list[str],
    queries: NDArray[np.float32],
    source: TaskSource | None,
) -> Predictions:
    """Adapt to a support and predict queries.

    Args:
        model: trained, or of a learner that needs no training.
        inputs: the support's samples ``(n, *shape)``.
        labels: of each of them, of two classes at least.
        queries: ``(query, *shape)``.
        source: training tasks, by which probabilities are calibrated and what is out of scope is told; without any,
            predictions of each sample of the support by the others.
    """
    classifier = adapted_as(model, inputs, labels, Classifier)  # checks them
    learner, classes = classifier.learner, classifier.classes_
    which, way = np.searchsorted(classes, labels), len(classes)
    rows, asked = (as_rows(each, model.spec.shape, model.device) for each in (inputs, queries))
    support = Support(rows[None], torch.from_numpy(which)[None].to(model.device))
    spec = _like(source, which, way)
    scope: Scope
    if spec is not None and source is not None:
        source, learned_on = source.to(model.device), "training tasks"
        found = logits_of(model.learner_for(spec.way), model.params, source, spec, _EPISODES)
        temperature = fitted_temperature(*found)
        scope = scope_of_training(model, source, spec) if isinstance(source, Classes) else Scope.unknown()
    else:
        learned_on, temperature = "the support, each sample by the others", 1.0
        several = np.flatnonzero(np.bincount(which)[which] > 1)  # others would have none of their class left
        if len(several):
            with torch.no_grad():
                left = leave_one_out(learner, model.params, support, None)[several, 0, :way]
            temperature = fitted_temperature(left.cpu().numpy(), which[several])
        scope = scope_of_support(model, support)
    classifier.temperature = temperature
    return Predictions(
        tuple(classes.tolist()),
        classifier.predict_proba(asked),
        deciding(learner, model.params, classifier.state, support, asked),
        scope.known(model, support, asked),
        temperature,
        learned_on,
    )


def _like(source: TaskSource | None, labels: NDArray[np.int64], way: int) -> EpisodeSpec | None:
    """Return training episodes that are the most like a support; None where there are none."""
    if isinstance(source, Groups) and len(source.classes) == way:
        return source.fitting(EpisodeSpec(way, support=len(labels), queries=_QUERIES * way))
    if not isinstance(source, Classes) or len(source) < 2:
        return None
    shot = max(1, min(int(np.median(np.bincount(labels))), int(source.counts.median()) - 1))
    return source.fitting(EpisodeSpec(min(way, len(source)), shot, _QUERIES))
