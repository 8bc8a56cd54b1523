"""The configuration of a few-shot learner's training."""

from dataclasses import dataclass, field, replace
from typing import Any

from metarl.core.config import above, at_least, between, check_config, one_of
from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.finetuning import FineTuningConfig
from metarl.fewshot.learners.gradient import GradientConfig
from metarl.fewshot.learners.memory import MemoryLearnerConfig


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """How a learner is trained."""

    learner: str = "prototypical"
    iterations: int = 5000
    tasks: int = 1  # an iteration's
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=20, shot=1, queries=5))  # in training
    width: int = 64  # channels of the convolutions, or units of hidden layers
    strided: bool = False  # convolutions, in place of pooling: a sixth of the work, and less learned from each task
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.05  # fraction left at the end, falling linearly
    max_norm: float | None = None  # of the gradient, which is scaled down to it
    chunk: int | None = None  # tasks at once, where memory is short
    gradient: GradientConfig = field(default_factory=GradientConfig)  # of learners that adapt by gradient
    update_width: int = 8  # meta-lstm: units of the learned update for every element of a parameter
    memory: MemoryLearnerConfig = field(default_factory=MemoryLearnerConfig)  # of mann and snail
    tuning: FineTuningConfig = field(default_factory=FineTuningConfig)  # of the finetune learners

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "learner": one_of(LEARNERS),
                "iterations": at_least(1),
                "tasks": at_least(1),
                "width": at_least(1),
                "learning_rate": above(0),
                "final_learning_rate": between(0, 1),
                "max_norm": above(0),
                "update_width": at_least(1),
                "chunk": at_least(1),
            },
        )
        part, wanted = _NAMED.get(self.learner, ("", {}))
        wrong = {name: value for name, value in wanted.items() if getattr(getattr(self, part), name) != value}
        if wrong:
            raise MetaRLError(
                f"{self.learner} has {part} {wrong}, or it is another learner; see recipe({self.learner!r})."
            )


def used(config: FewShotConfig) -> FewShotConfig:
    """The same with the defaults in those parts that its learner does not look at."""
    part, _ = _NAMED.get(config.learner, ("", {}))
    other = [each for each in _PARTS if each != part]
    if config.learner != "meta-lstm":
        other.append("update_width")
    fresh = FewShotConfig()
    return replace(config, **{name: getattr(fresh, name) for name in other})


_PARTS = ("gradient", "memory", "tuning")
LEARNERS = (
    *("prototypical", "matching", "matching-fce", "relation", "siamese"),
    *("maml", "fomaml", "meta-sgd", "anil", "reptile"),
    *("meta-lstm", "finetune-linear", "finetune-cosine", "finetune-whole"),
    *("mann", "snail", "neural-process"),
)
# What makes a learner the one that it is called: the part of its config, and what must stand there.
_NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "maml": ("gradient", {"first_order": False, "learn_step_sizes": False, "adapts": "all"}),
    "fomaml": ("gradient", {"first_order": True, "learn_step_sizes": False, "adapts": "all"}),
    "meta-sgd": ("gradient", {"learn_step_sizes": True, "adapts": "all"}),
    "anil": ("gradient", {"adapts": "head"}),
    "reptile": ("gradient", {"first_order": True, "learn_step_sizes": False, "adapts": "all"}),
    "meta-lstm": ("gradient", {"first_order": True, "learn_step_sizes": False}),
    "finetune-linear": ("tuning", {"head": "linear", "adapts": "head"}),
    "finetune-cosine": ("tuning", {"head": "cosine", "adapts": "head"}),
    "finetune-whole": ("tuning", {"adapts": "all"}),
    "mann": ("memory", {"memory": "external"}),
    "snail": ("memory", {"memory": "snail"}),
}
