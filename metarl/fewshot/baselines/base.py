"""Baselines as learners without parameters: they keep the support, and fit it anew when they are asked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from torch import Tensor

from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.learners.base import LOGITS, FewShotLearner, check_labels
from metarl.fewshot.learners.heads.base import AsGiven

_INPUTS, _LABELS = "inputs", "labels"
_LEAST = 1e-6  # of a probability whose logarithm is taken


class Baseline(FewShotLearner):
    """A classifier that is fitted to each support by itself, whatever else there was to learn from.

    Args:
        n_inputs: numbers of a sample.
        way: classes that are told apart.
        make: returns a new scikit-learn classifier with ``predict_proba`` for a support with such labels ``(n,)``.
    """

    any_way = True

    def __init__(self, n_inputs: int, way: int, make: Callable[[NDArray[Any]], Any]) -> None:
        super().__init__(AsGiven(n_inputs), way)
        self.make_classifier = make

    def initial(self, params: Params, n_tasks: int) -> State:
        """Return a support without a sample."""
        return {
            _INPUTS: torch.zeros(n_tasks, 0, self.backbone.n_features),
            _LABELS: torch.zeros(n_tasks, 0, dtype=torch.int64),
        }

    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Return the support with further samples."""
        check_labels(support.targets, self.way)
        inputs = torch.cat([state[_INPUTS].to(support.inputs), support.inputs.flatten(2)], 1)
        return {_INPUTS: inputs, _LABELS: torch.cat([state[_LABELS].to(support.targets), support.targets], 1)}

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        """Return logarithms of the probabilities that the classifier fitted to each support gives."""
        parts = (each.cpu().numpy() for each in (state[_INPUTS], state[_LABELS], inputs.flatten(2)))
        found = np.stack([self._probabilities(*task) for task in zip(*parts, strict=True)])
        return {LOGITS: torch.from_numpy(found).clamp(min=_LEAST).log().to(inputs)}

    def _probabilities(self, x: NDArray[Any], y: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
        one = len(np.unique(y)) == 1  # which most classifiers refuse to fit
        fitted = (DummyClassifier() if one else self.make_classifier(y)).fit(x, y)
        found = np.zeros((len(queries), self.way))
        found[:, fitted.classes_] = fitted.predict_proba(queries)
        return found
