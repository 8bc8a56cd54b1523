"""The configuration of a few-shot learner's training, to which each learner adds its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from metarl.core.config import Limit, above, at_least, between, check_config
from metarl.fewshot.data.episodes import EpisodeSpec


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """The settings of a training. A learner with settings or defaults of its own has a subclass of this."""

    iterations: int = 5000  # steps of the optimiser
    schedule_iterations: int | None = None  # steps over which schedules run; all of training unless given
    tasks: int = 1  # tasks of an iteration
    # 20 ways in training: harder than what is scored, as Snell et al. 2017 found to help; they have 60.
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=20, shot=1, queries=5))  # in training
    backbone: str | None = None  # module:Class of a torch.nn.Module of your own, made without arguments
    width: int = 64  # our own backbones: channels of the convolutions, or units of hidden layers
    strided: bool = False  # strided convolutions in place of pooling: a sixth of the work, and less learned from a task
    learning_rate: float = 1e-3  # of the outer loop
    final_learning_rate: float = 0.05  # the fraction of it that is left at the end, falling linearly
    max_norm: float | None = None  # scale a gradient with a greater norm down to it
    chunk: int | None = None  # tasks that are differentiated at once, where memory is short
    # Iterations between scores on the validation split, of which the parameters with the least error are kept; the last
    # ones unless given, and where a data set has no such split.
    validate_every: int | None = None

    limits: ClassVar[Mapping[str, Limit]] = {  # of fields, beyond their types; a subclass adds those of its own fields
        "iterations": at_least(1),
        "schedule_iterations": at_least(1),
        "tasks": at_least(1),
        "width": at_least(1),
        "learning_rate": above(0),
        "final_learning_rate": between(0, 1),
        "max_norm": above(0),
        "chunk": at_least(1),
        "validate_every": at_least(1),
    }

    def __post_init__(self) -> None:
        check_config(self, {k: v for cls in type(self).__mro__ for k, v in cls.__dict__.get("limits", {}).items()})
