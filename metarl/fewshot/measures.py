"""How well queries are predicted, one number a task: accuracy, squared error, and two for tasks with few positives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs
from metarl.fewshot.learners.base import LOGITS, accuracy, error

ACCURACY, MSE, ROC_AUC, DELTA_AUPRC = "accuracy", "mse", "roc-auc", "delta-auprc"
OF_CLASSES = (ACCURACY, ROC_AUC, DELTA_AUPRC)
PERCENT = 100.0  # in which all but squared errors are shown


def measured(outputs: Outputs, targets: Tensor, way: int, measure: str = ACCURACY) -> Tensor:
    """Return how well the queries of each task are predicted, ``(task,)``: a share, or a squared error.

    Args:
        outputs: logits ``(task, sample, way or more)``, for a head may have more outputs than there are classes.
        targets: the right classes ``(task, sample)``, or numbers.
        way: classes that an episode has.
        measure: of classes, one of ``OF_CLASSES``: the area under the receiver operating characteristic, or under the
            precision-recall curve less the share of positives, which chance reaches (Stanley et al. 2021, FS-Mol). For
            both the second of two classes is the positive one; a task whose queries are of one class has chance.
    """
    if LOGITS not in outputs:
        return error(outputs, targets)
    kept = outputs[LOGITS][..., :way]
    if measure == ACCURACY:
        return accuracy({LOGITS: kept}, targets)
    if way != 2:
        raise MetaRLError(f"{measure} is of two classes, and these episodes have {way}; take accuracy.")
    scores = (kept[..., 1] - kept[..., 0]).double().cpu().numpy()
    pairs = zip(targets.cpu().numpy(), scores, strict=True)
    return torch.tensor([_area(measure, *each) for each in pairs], dtype=torch.float64)


def _area(measure: str, targets: NDArray[Any], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import average_precision_score, roc_auc_score  # late, for it takes a second

    share = float(targets.mean())
    if share in (0.0, 1.0):
        return 0.5 if measure == ROC_AUC else 0.0
    area: Callable[..., float] = roc_auc_score if measure == ROC_AUC else average_precision_score
    return float(area(targets, scores)) - (share if measure == DELTA_AUPRC else 0.0)
