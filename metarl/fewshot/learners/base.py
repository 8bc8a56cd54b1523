"""What every few-shot learner has: a config, presets, parameters, a loss on the query, and the gradient of it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import meta_gradient
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.optimiser import Adam
from metarl.core.parallel import TaskParallel
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, TaskSource
from metarl.fewshot.data.episodes import Episodes, Support

LOGITS, VALUE, SCALE = "logits", "value", "scale"  # outputs of ``query``
HEAD = "head."  # what the names of a last layer's parameters begin with
DEFAULT = "default"
USES = {  # the first word of a preset's name -> what it is for, and how long it takes on one core
    DEFAULT: "a quarter to a half hour on Omniglot",
    "short": "for a look: 4 to 8 minutes on Omniglot",
    "sinusoid": "functions (--data sinusoid): 4 to 12 minutes",
    "ratings": "users' ratings: 2 to 5 minutes",
    "paper": "the paper's length: hours on a CPU",
}


class FewShotLearner(MetaLearner):
    """A learner that adapts to a support and predicts queries, all tasks of a batch at once.

    A subclass defines ``initial``, ``adapt`` and ``query``, which gives ``logits`` ``(task, sample, way)`` or a
    ``value`` ``(task, sample, outputs)``; ``init`` where it has more parameters than its backbone; ``loss`` where that
    is not the error of the query; ``make`` where its constructor takes something else. ``register_fewshot`` gives it a
    name; without one it is reached as ``module:Class``.

    Args:
        backbone: turns samples into features.
        way: classes that are told apart.
        config: settings, those of the default preset unless given.
    """

    name: ClassVar[str] = "FewShotLearner"
    config_class: ClassVar[type[FewShotConfig]] = FewShotConfig
    presets: ClassVar[Mapping[str, Any]] = {}  # configs by name; "default" is config_class() unless given
    uses: ClassVar[Mapping[str, str]] = USES
    any_way: ClassVar[bool] = False  # whether parameters serve any number of classes
    optimiser: ClassVar[type[Adam]] = Adam  # of the outer loop
    of_classes: ClassVar[bool] = True  # whether it can tell classes apart
    of_numbers: ClassVar[bool] = False  # whether it can predict numbers
    config: FewShotConfig

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.name = cls.__name__
        cls.presets = {DEFAULT: cls.config_class(), **cls.__dict__.get("presets", {})}

    def __init__(self, backbone: Backbone, way: int, config: FewShotConfig | None = None) -> None:
        if way < 1:
            raise MetaRLError(f"{type(self).__name__}(way={way}): needs a class to predict.")
        self.backbone, self.way, self.config = backbone, way, config or self.presets[DEFAULT]

    @classmethod
    def make(cls, config: Any, data: DataSpec, way: int, backbone: Backbone) -> Self:  # noqa: ARG003 - for subclasses
        """Return the learner with a config, for samples of a kind and a number of classes."""
        return cls(backbone, way, config)

    def init(self, generator: torch.Generator) -> Params:
        """Draw parameters before training, the backbone's."""
        return {BACKBONE + name: value for name, value in self.backbone.init(generator).items()}

    def started(self, params: Params, source: TaskSource, generator: torch.Generator) -> Params:
        """Return the parameters with which training on a split begins: those of ``init`` unless it says more."""
        return params

    @abstractmethod
    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Return the state with the labelled samples taken in."""

    def presented(self, episodes: Episodes) -> Support:
        """Return the support as the learner takes it in, in training and when it is scored: as it was drawn."""
        return episodes.support

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        """Yield the states at which a learner is scored, with the steps taken, the last one fully adapted: here one."""
        yield 1, self.adapt(params, self.initial(params, len(support.targets)), support)

    def refine(self, params: Params, state: State, inputs: Tensor) -> State:
        """Return the state with samples ``(task, sample, *shape)`` taken in that have no labels."""
        raise self._undefined("refine")

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return what training minimises, ``(task,)``, and quantities to log of the same shape."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), self.presented(episodes))
        if episodes.unlabelled is not None:
            state = self.refine(params, state, episodes.unlabelled)
        outputs = self.query(params, state, episodes.query.inputs)
        loss = error(outputs, episodes.query.targets)
        return loss, logged(loss, outputs, episodes.query.targets)

    def gradient(
        self, params: Params, episodes: Episodes, chunk: int | None = None, parallel: TaskParallel | None = None
    ) -> tuple[Params, dict[str, float]]:
        """Return the task-mean gradient of the loss, and the means of what is logged; see ``meta_gradient``."""

        def objective(params: Params, rows: slice) -> tuple[Tensor, Outputs]:
            return self.loss(params, episodes.rows(rows))

        return meta_gradient(objective, params, len(episodes.support.targets), chunk, parallel)


def steps_of(steps: int | None, default: int) -> int:
    """Return how many steps to take, ``default`` unless given; raise for fewer than none."""
    wanted = default if steps is None else steps
    if wanted < 0:
        raise MetaRLError(f"steps={wanted}: a learner takes 0 steps or more.")
    return wanted


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
    """Return the cross-entropy in nats or the squared error, a mean over samples, ``(task,)``."""
    if LOGITS in outputs:
        return functional.cross_entropy(outputs[LOGITS].transpose(1, 2), targets, reduction="none").mean(1)
    return (outputs[VALUE] - targets).square().mean((1, 2))


def accuracy(outputs: Outputs, targets: Tensor) -> Tensor:
    """Return the share of queries whose class is right, ``(task,)``."""
    return (outputs[LOGITS].argmax(-1) == targets).float().mean(1)


def logged(loss: Tensor, outputs: Outputs, targets: Tensor) -> Outputs:
    """Return what is logged of predictions: their loss, and the accuracy where there are classes."""
    return {"loss": loss, "accuracy": accuracy(outputs, targets)} if LOGITS in outputs else {"loss": loss}
