"""Where to draw the line between what is of a support's classes and what is of none."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.random import torch_generator
from metarl.fewshot.data.episodes import Classes, EpisodeSpec, Support
from metarl.fewshot.model import FewShot
from metarl.fewshot.trust.scope import Array, LikelihoodRatio, features_of, nearest_mean_score, threshold

_EPISODES = 50
_LOWEST = 0.05  # share of the support's own samples that may count as none, without training tasks


@dataclass(frozen=True)
class Scope:
    """A score with the value from which on a sample is of a support's classes."""

    least: float
    ratio: LikelihoodRatio | None = None  # the distance to the nearest mean unless there is one

    @classmethod
    def unknown(cls) -> "Scope":
        """Return the scope in which everything is."""
        return cls(-np.inf)

    def score(self, support: Array, labels: NDArray[np.int64], queries: Array) -> Array:
        """Return the score ``(query,)`` of features."""
        if self.ratio is None:
            return nearest_mean_score(support, labels, queries)
        return self.ratio.score(support, labels, queries)

    def known(self, model: FewShot, support: Support, queries: Tensor) -> NDArray[np.bool_]:
        """Return whether each query ``(query,)`` is of any class of a support of one task."""
        seen, asked = (features_of(model.learner, model.params, each) for each in (support.inputs[0], queries))
        return self.score(seen, support.targets[0].cpu().numpy(), asked) >= self.least


def scope_of_training(model: FewShot, source: Classes, spec: EpisodeSpec) -> Scope:
    """Return the scope learned on training tasks, of which the last class is left out of the support."""
    if len(source) < 3:
        return Scope.unknown()
    ratio = LikelihoodRatio.of(model.learner, model.params, source)
    # Of one class more than the support has, whose queries are out of scope.
    spec = source.fitting(replace(spec, way=min(spec.way + 1, len(source))))
    inside, outside = [], []
    for number in range(_EPISODES):
        some = source.draw(spec, 1, torch_generator(0, "fewshot", "scope", number))
        (seen, labels), (asked, true) = (
            (features_of(model.learner, model.params, part.inputs[0]), part.targets[0].cpu().numpy())
            for part in (some.support, some.query)
        )
        kept = labels < spec.way - 1
        scores = ratio.score(seen[kept], labels[kept], asked)
        inside.append(scores[true < spec.way - 1])
        outside.append(scores[true == spec.way - 1])
    return Scope(threshold(np.concatenate(inside), np.concatenate(outside)), ratio)


def scope_of_support(model: FewShot, support: Support) -> Scope:
    """Return the scope in which nearly all of a support's samples are, each scored by the others of its class."""
    seen, labels = features_of(model.learner, model.params, support.inputs[0]), support.targets[0].cpu().numpy()
    scores = []
    for i in np.flatnonzero(np.bincount(labels)[labels] > 1):
        others = np.arange(len(labels)) != i
        scores.append(float(nearest_mean_score(seen[others], labels[others], seen[i : i + 1])[0]))
    return Scope(float(np.quantile(scores, _LOWEST))) if scores else Scope.unknown()
