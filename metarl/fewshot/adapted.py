"""What adapting gives: a classifier of one's own classes, or a regressor of one's own function."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.learners.base import LOGITS, SCALE, VALUE, FewShotLearner


class Adapted:
    """A learner adapted to one support, on whatever device its parameters are."""

    def __init__(self, learner: FewShotLearner, params: Params, state: State, shape: tuple[int, ...]) -> None:
        # Those that it was adapted with, whatever is trained afterwards.
        self.learner, self.state, self._params, self._shape = learner, state, params, shape

    def _outputs(self, inputs: ArrayLike | Tensor) -> Outputs:
        inputs = as_rows(inputs, self._shape, next(iter(self._params.values())).device)
        with torch.no_grad():
            return self.learner.query(self._params, self.state, inputs[None])


class Classifier(Adapted):
    """A classifier of the classes of a support; ``classes_`` are their labels, in order.

    Its logits are divided by ``temperature`` before they become probabilities; see ``metarl.fewshot.trust``.
    """

    temperature = 1.0

    def __init__(
        self, learner: FewShotLearner, params: Params, state: State, shape: tuple[int, ...], classes: NDArray[Any]
    ) -> None:
        super().__init__(learner, params, state, shape)
        self.classes_ = classes

    def predict_proba(self, inputs: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Return probabilities ``(sample, class)``, in the order of ``classes_``."""
        # A head may have more outputs than there are classes.
        kept = self._outputs(inputs)[LOGITS][0, :, : len(self.classes_)].double()
        return np.asarray((kept / self.temperature).softmax(-1).cpu().numpy())

    def predict(self, inputs: ArrayLike | Tensor) -> NDArray[Any]:
        """Return the most probable label of each sample ``(sample,)``."""
        return np.asarray(self.classes_[self.predict_proba(inputs).argmax(1)])


class Regressor(Adapted):
    """A regressor of the function of which a support holds some points."""

    def predict(self, inputs: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Return the predicted numbers ``(sample, outputs)``."""
        return np.asarray(self._outputs(inputs)[VALUE][0].double().cpu().numpy())

    def predict_std(self, inputs: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Return their standard deviations ``(sample, outputs)``; raise where the learner states none."""
        outputs = self._outputs(inputs)
        if SCALE not in outputs:
            raise MetaRLError(f"{self.learner.name} states no uncertainty; neural-process does.")
        return np.asarray(outputs[SCALE][0].double().cpu().numpy())


def as_rows(inputs: ArrayLike | Tensor, shape: tuple[int, ...], device: torch.device, what: str = "sample") -> Tensor:
    """Return ``(n, *shape)`` floats on a device, or raise saying what is wrong with them."""
    try:
        array = inputs.detach() if isinstance(inputs, Tensor) else torch.from_numpy(np.array(inputs, np.float32))
    except (TypeError, ValueError) as error:
        raise MetaRLError(f"The {what}s are no numbers of one shape ({error}).") from error
    rows = array.to(device, torch.float32)
    if rows.shape[1:] != shape or not len(rows):
        wanted = ", ".join(map(str, ("n", *shape)))
        raise MetaRLError(f"{what.capitalize()}s have shape {tuple(rows.shape)}; ({wanted}) is taken.")
    if not rows.isfinite().all():
        raise MetaRLError(f"The {what}s hold NaN or infinity; leave such {what}s out.")
    return rows


def check_labelled(rows: Tensor, labels: tuple[int, ...]) -> None:
    """Raise where samples have not one label each."""
    if labels != (len(rows),):
        raise MetaRLError(f"{len(rows)} samples and labels of shape {tuple(labels)}; give each sample one label.")


def classes_in(rows: Tensor, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted labels of a support's samples, and which one each sample has; raise for fewer than two."""
    try:
        names, which = np.unique(np.asarray(labels), return_inverse=True)
    except TypeError as error:
        raise MetaRLError(f"Labels must be of one kind that can be sorted ({error}).") from error
    check_labelled(rows, which.shape)
    if len(names) < 2:
        raise MetaRLError(f"The support has {len(names)} class; there is nothing to tell apart.")
    return names, which
