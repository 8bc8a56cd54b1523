"""Which samples of a support decided a prediction: the nearest ones, or those without which it would change most."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from metarl.core.types import Params, State
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.learners.base import LOGITS, FewShotLearner
from metarl.fewshot.learners.metric import MetricLearner, cosine

_AT_ONCE = 20  # supports that are adapted to together


def deciding(
    learner: FewShotLearner, params: Params, state: State, support: Support, queries: Tensor, most: int = 3
) -> NDArray[np.int64]:
    """Return the samples of a support that decided each query's class most, the first one most ``(query, most)``.

    They are the nearest of the predicted class in the feature space of a learner that compares; of any other learner
    those without which the class would lose the most of its log-probability. -1 stands where a class has fewer.

    Args:
        learner: adapted to the support.
        params: of the learner.
        state: after the support.
        support: of one task, ``(1, n, *shape)``.
        queries: ``(query, *shape)``.
        most: of each query.
    """
    with torch.no_grad():
        chosen = learner.query(params, state, queries[None])[LOGITS][0].argmax(-1)
        if isinstance(learner, MetricLearner):
            encoded = [learner.encode(params, each) for each in (queries[None], support.inputs)]
            worth = cosine(encoded[0], encoded[1])[0].cpu().numpy()
        else:
            worth = _influence(learner, params, state, support, queries, chosen)
    same = support.targets.cpu().numpy() == chosen.cpu().numpy()[:, None]
    worth = np.where(same, worth, -np.inf)
    first = np.argsort(-worth, axis=1, kind="stable")[:, :most]
    return np.where(np.isfinite(np.take_along_axis(worth, first, 1)), first, -1)


def leave_one_out(learner: FewShotLearner, params: Params, support: Support, inputs: Tensor | None) -> Tensor:
    """Return logits after a support without one of its samples, for each of them ``(sample, query, way)``.

    Args:
        learner: to adapt.
        params: of the learner.
        support: of one task, ``(1, n, *shape)`` with ``n`` > 1.
        inputs: queries ``(query, *shape)``; where None, the one that was left out.
    """
    n = support.targets.shape[1]
    others = torch.stack([torch.tensor([j for j in range(n) if j != i]) for i in range(n)]).to(support.targets.device)
    found = []
    for first in range(0, n, _AT_ONCE):
        rows = others[first : first + _AT_ONCE]
        *_, (_, state) = learner.points(params, Support(support.inputs[0][rows], support.targets[0][rows]))
        own = support.inputs[0][first : first + _AT_ONCE, None]
        asked = own if inputs is None else inputs[None].expand(len(rows), *inputs.shape)
        found.append(learner.query(params, state, asked)[LOGITS])
    return torch.cat(found)


def _influence(
    learner: FewShotLearner, params: Params, state: State, support: Support, queries: Tensor, chosen: Tensor
) -> NDArray[np.float64]:
    """Return how much log-probability each query's class loses without each sample ``(query, sample)``."""

    def sure(logits: Tensor) -> NDArray[np.float64]:
        found = log_softmax(logits.double().cpu().numpy(), axis=-1)
        return np.asarray(found[..., np.arange(len(queries)), chosen.cpu().numpy()])

    without = sure(leave_one_out(learner, params, support, queries))
    return np.asarray((sure(learner.query(params, state, queries[None])[LOGITS][0]) - without).T)
