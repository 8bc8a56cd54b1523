"""Numbers in the unit of training tasks: a step that suits labels of one size leads nowhere on those of another."""

from collections.abc import Iterator

import torch
from torch import Tensor

from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.dataset import DataSpec, TaskSource
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.learners.base import SCALE, VALUE, FewShotLearner


class Standardised(FewShotLearner):
    """A learner that is shown numbers less their mean, in units of their standard deviation, and is read in theirs.

    Args:
        learner: predicts numbers.
        centre: the mean of the numbers of training tasks.
        spread: their standard deviation.
    """

    of_classes, of_numbers = False, True

    def __init__(self, learner: FewShotLearner, centre: float, spread: float) -> None:
        self.learner, self.centre, self.spread = learner, centre, spread
        self.config, self.name = learner.config, learner.name  # type: ignore[misc]  # of this one
        if hasattr(learner, "backbone"):  # neural processes have none
            self.backbone = learner.backbone

    def init(self, generator: torch.Generator) -> Params:
        return self.learner.init(generator)

    def started(self, params: Params, source: TaskSource, generator: torch.Generator) -> Params:
        source = source.scaled(self.centre, self.spread) if isinstance(source, Groups) else source
        return self.learner.started(params, source, generator)

    def acting(self, params: Params) -> Params:
        return self.learner.acting(params)

    def completed(self, acting: Params, fresh: Params) -> Params:
        return self.learner.completed(acting, fresh)

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.learner.initial(params, n_tasks)

    def adapt(self, params: Params, state: State, support: Support) -> State:
        return self.learner.adapt(params, state, self._seen(support))

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        return self.learner.points(params, self._seen(support))

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        outputs = self.learner.query(params, state, inputs)
        made = {**outputs, VALUE: self.centre + self.spread * outputs[VALUE]}
        return {**made, SCALE: self.spread * outputs[SCALE]} if SCALE in outputs else made

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the learner's loss in units of the spread; the error that is logged is in the labels' own."""
        support, query = (self._seen(part) for part in episodes[:2])
        loss, logged = self.learner.loss(params, episodes._replace(support=support, query=query))
        return loss, {**logged, "loss": self.spread**2 * logged["loss"]}

    def _seen(self, part: Support) -> Support:
        return Support(part.inputs, (part.targets - self.centre) / self.spread)


def in_unit_of_training(learner: FewShotLearner, data: DataSpec) -> FewShotLearner:
    """Return a learner for numbers of the mean and standard deviation of data: the same where these are 0 and 1."""
    return learner if (data.centre, data.spread) == (0.0, 1.0) else Standardised(learner, data.centre, data.spread)
