"""How well queries are predicted, one number a task: accuracies and areas of classes, errors and ranks of numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs
from metarl.fewshot.learners.base import LOGITS, VALUE, accuracy, error

ACCURACY, MSE, ROC_AUC, DELTA_AUPRC = "accuracy", "mse", "roc-auc", "delta-auprc"
RMSE, NDCG = "rmse", "ndcg@10"
OF_CLASSES = (ACCURACY, ROC_AUC, DELTA_AUPRC)
ERRORS = (MSE, RMSE)  # of numbers, in their unit, the less the better
PERCENT = 100.0  # in which all but errors are shown
_RANKED = 10  # of the queries, which nDCG looks at


def measure_of(asked: str, *, numbers: bool) -> str:
    """Return the measure that is taken where one is asked for; of numbers it is the squared error unless given.

    Raises:
        MetaRLError: where a measure of numbers is asked for of classes.
    """
    if numbers:
        return MSE if asked in OF_CLASSES else asked
    if asked not in OF_CLASSES:
        raise MetaRLError(f"{asked} is of numbers, and these tasks have classes; take one of {', '.join(OF_CLASSES)}.")
    return asked


def scale_of(measure: str) -> float:
    """Return what values of a measure are multiplied with to be shown: errors stay as they are."""
    return 1.0 if measure in ERRORS else PERCENT


def measured(
    outputs: Outputs, targets: Tensor, way: int, measure: str = ACCURACY, distinct: Tensor | None = None
) -> Tensor:
    """Return how well the queries of each task are predicted, ``(task,)``: a share, or a squared error.

    Args:
        outputs: logits ``(task, sample, way or more)``, for a head may have more outputs than there are classes.
        targets: the right classes ``(task, sample)``, or numbers.
        way: classes that an episode has.
        measure: of classes, one of ``OF_CLASSES``: the area under the receiver operating characteristic, or under the
            precision-recall curve less the share of positives, which chance reaches (Stanley et al. 2021, FS-Mol). For
            both the second of two classes is the positive one; a task whose queries are of one class has chance.
            Of numbers, ``RMSE`` has squared errors here, whose mean the root is taken of later; ``NDCG`` is the
            discounted gain of the ten queries that are predicted the highest, over that of the ten best (Järvelin and
            Kekäläinen 2002), where a query gains its target and equal predictions share their ranks.
        distinct: how many queries of each task count, the first ones; all unless given.
    """
    measure = measure_of(measure, numbers=LOGITS not in outputs)
    if measure == NDCG:
        return _gain(outputs[VALUE], targets, distinct)
    if measure in ERRORS:
        if distinct is None:
            return error(outputs, targets)
        counted = torch.arange(targets.shape[1], device=targets.device) < distinct[:, None]
        squares = (outputs[VALUE] - targets).square().mean(-1)
        return squares.masked_fill(~counted, 0).sum(1) / distinct
    kept = outputs[LOGITS][..., :way]
    if measure == ACCURACY:
        return accuracy({LOGITS: kept}, targets)
    if way != 2:
        raise MetaRLError(f"{measure} is of two classes, and these episodes have {way}; take accuracy.")
    scores = (kept[..., 1] - kept[..., 0]).double().cpu().numpy()
    pairs = zip(targets.cpu().numpy(), scores, strict=True)
    return torch.tensor([_area(measure, *each) for each in pairs], dtype=torch.float64)


def _gain(predicted: Tensor, targets: Tensor, distinct: Tensor | None) -> Tensor:
    from sklearn.metrics import ndcg_score  # late, for it takes a second

    counts = [targets.shape[1]] * len(targets) if distinct is None else distinct.tolist()
    tasks = [
        (targets[i, :n, 0].double().cpu().numpy(), predicted[i, :n, 0].double().cpu().numpy())
        for i, n in enumerate(counts)
    ]
    gains = [float(ndcg_score([true], [said], k=_RANKED)) if len(true) > 1 else 1.0 for true, said in tasks]
    return torch.tensor(gains, dtype=torch.float64)


def _area(measure: str, targets: NDArray[Any], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import average_precision_score, roc_auc_score  # late, for it takes a second

    share = float(targets.mean())
    if share in (0.0, 1.0):
        return 0.5 if measure == ROC_AUC else 0.0
    area: Callable[..., float] = roc_auc_score if measure == ROC_AUC else average_precision_score
    return float(area(targets, scores)) - (share if measure == DELTA_AUPRC else 0.0)
