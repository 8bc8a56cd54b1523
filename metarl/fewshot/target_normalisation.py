"""Adaptation of a backbone's normalisation to another data set, by samples of it without labels."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.random import torch_generator
from metarl.core.types import Params
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.data.dataset import TaskSource
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.base import FewShotLearner

_TASKS = 40  # from whose samples the statistics are taken
_LEAST = 1e-2  # of a feature's scale, as a share of the mean scale: one that never varies is left as it is


@dataclass(frozen=True)
class Renormalised:
    """A backbone whose features are shifted and scaled, each by itself."""

    backbone: Backbone
    factor: Tensor  # (n_features,)
    shift: Tensor  # (n_features,)

    @property
    def n_features(self) -> int:
        """Return how many numbers come out for a sample."""
        return self.backbone.n_features

    def init(self, generator: torch.Generator) -> Params:
        """Draw the backbone's parameters before training."""
        return self.backbone.init(generator)

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        """Return features ``(task, n, n_features)`` of samples ``(task, n, *shape)``."""
        return self.backbone(params, inputs, prefix) * self.factor + self.shift


def renormalised(
    learner: FewShotLearner, params: Params, trained: TaskSource, target: TaskSource, spec: EpisodeSpec
) -> FewShotLearner:
    """Return a learner whose features have the mean and the scale on a target that they had in training.

    The statistics of the target take the place of those of training, ``(f - m_t) s / s_t + m`` of each feature (Li et
    al. 2017, "Revisiting batch normalization for practical domain adaptation", algorithm 1, at the last layer: our own
    backbones normalise every sample by itself, and have no statistics of batches below). It looks at samples of the
    target without their labels, queries of scored episodes among them.

    Args:
        learner: once trained; it stays as it is.
        params: of the learner.
        trained: the tasks of its training.
        target: the tasks of the scored split, of which the samples alone are used.
        spec: of the scored episodes.
    """
    with torch.no_grad():
        (mean, scale), (other_mean, other_scale) = (
            _statistics(learner, params, source, source.fitting(spec)) for source in (trained, target)
        )
    factor = (scale + _LEAST * scale.mean()) / (other_scale + _LEAST * other_scale.mean())
    made = copy.copy(learner)
    made.backbone = Renormalised(learner.backbone, factor, mean - factor * other_mean)
    return made


def _statistics(
    learner: FewShotLearner, params: Params, source: TaskSource, spec: EpisodeSpec
) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each feature ``(n_features,)`` over samples of drawn tasks."""
    some = source.draw(spec, _TASKS, torch_generator(0, "fewshot", "normalise"))
    features = learner.backbone(params, torch.cat([part.inputs for part in some[:2]], 1), BACKBONE).flatten(0, 1)
    return features.mean(0), features.std(0)
