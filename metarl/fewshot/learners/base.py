"""What every supervised few-shot learner has: parameters, a loss on the query, and the gradient of it."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import meta_gradient
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import Episodes, Support

LOGITS, VALUE = "logits", "value"


class FewShotLearner(MetaLearner):
    """Adapts to a support and predicts queries: ``query`` gives ``logits`` ``(task, sample, way)`` or a ``value``."""

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Parameters before training."""

    @abstractmethod
    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Take in labelled samples."""

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        """The states at which a learner is scored, the last one fully adapted, with the steps taken: here one."""
        yield 1, self.adapt(params, self.initial(params, len(support.targets)), support)

    def refine(self, params: Params, state: State, inputs: Tensor) -> State:
        """Take in samples ``(task, sample, *shape)`` without labels."""
        raise self._undefined("refine")

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """What training makes small, ``(task,)``, and quantities to log of the same shape."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        if episodes.unlabelled is not None:
            state = self.refine(params, state, episodes.unlabelled)
        outputs = self.query(params, state, episodes.query.inputs)
        loss = error(outputs, episodes.query.targets)
        named = {"loss": loss}
        if LOGITS in outputs:
            named["accuracy"] = accuracy(outputs, episodes.query.targets)
        return loss, named

    def gradient(self, params: Params, episodes: Episodes, chunk: int | None = None) -> tuple[Params, dict[str, float]]:
        """Down which parameters go, a mean over tasks, and what to log."""

        def objective(params: Params, rows: slice) -> tuple[Tensor, Outputs]:
            return self.loss(params, episodes.rows(rows))

        return meta_gradient(objective, params, len(episodes.support.targets), chunk)


def steps_of(steps: int | None, default: int) -> int:
    """How many steps are asked for; raises where it is fewer than none."""
    asked = default if steps is None else steps
    if asked < 0:
        raise MetaRLError(f"steps={asked}: a learner takes 0 steps or more.")
    return asked


def check_labels(targets: Tensor, way: int, name: str = "way") -> None:
    """Raise where there are other classes than those from 0 to ``way`` - 1, ``name`` being what sets that number.

    On a CPU alone: a GPU would have to be waited for.
    """
    if targets.device.type != "cpu" or not targets.numel():
        return
    least, most = int(targets.min()), int(targets.max())
    if least < 0 or most >= way:
        raise MetaRLError(
            f"The support has class {least if least < 0 else most}; with {name}={way} classes go from 0 to {way - 1}."
        )


def error(outputs: Outputs, targets: Tensor) -> Tensor:
    """Cross-entropy in nats or squared error, a mean over samples, ``(task,)``."""
    if LOGITS in outputs:
        return functional.cross_entropy(outputs[LOGITS].transpose(1, 2), targets, reduction="none").mean(1)
    return (outputs[VALUE] - targets).square().mean((1, 2))


def accuracy(outputs: Outputs, targets: Tensor) -> Tensor:
    """Share of queries whose class is right, ``(task,)``."""
    return (outputs[LOGITS].argmax(-1) == targets).float().mean(1)
