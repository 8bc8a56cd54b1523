"""Configurations of the few-shot learners, and each learner's recipe for characters such as Omniglot's."""

from dataclasses import dataclass, field, replace
from typing import Any

from metarl.config import check_config
from metarl.errors import MetaRLError
from metarl.fewshot.episodes import Shape
from metarl.fewshot.gradient import GradientConfig


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """How a learner is trained."""

    learner: str = "prototypical"
    iterations: int = 2500
    tasks: int = 1  # an iteration's
    episode: Shape = field(default_factory=lambda: Shape(way=20, shot=1, queries=5))  # in training
    width: int = 64  # channels of the convolutions, or units of hidden layers
    strided: bool = False  # convolutions, in place of pooling: a sixth of the work, and less learned from each task
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.05  # fraction left at the end, falling linearly
    chunk: int | None = None  # tasks at once, where memory is short
    gradient: GradientConfig = field(default_factory=GradientConfig)  # of learners that adapt by gradient

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "learner": self.learner in LEARNERS,
                "iterations": self.iterations >= 1,
                "tasks": self.tasks >= 1,
                "width": self.width >= 1,
                "learning_rate": self.learning_rate > 0,
                "final_learning_rate": 0 <= self.final_learning_rate <= 1,
                "chunk": self.chunk is None or self.chunk >= 1,
            },
        )
        wanted = _NAMED.get(self.learner, {})
        wrong = {name: value for name, value in wanted.items() if getattr(self.gradient, name) != value}
        if wrong:
            raise MetaRLError(
                f"{self.learner} has gradient {wrong}, or it is another learner; see recipe({self.learner!r})."
            )


LEARNERS = ("prototypical", "matching", "relation", "siamese", "maml", "fomaml", "meta-sgd", "anil", "reptile")
# What makes a learner by gradient the one that it is called.
_NAMED: dict[str, dict[str, Any]] = {
    "maml": {"first_order": False, "learn_step_sizes": False, "adapts": "all"},
    "fomaml": {"first_order": True, "learn_step_sizes": False, "adapts": "all"},
    "meta-sgd": {"learn_step_sizes": True, "adapts": "all"},
    "anil": {"adapts": "head"},
    "reptile": {"first_order": True, "learn_step_sizes": False, "adapts": "all"},
}
_METRIC = FewShotConfig()
# 5 queries a class are enough for a gradient over 32 tasks.
_GRADIENT = FewShotConfig(
    learner="maml", iterations=1500, tasks=32, episode=Shape(way=5, shot=1, queries=5), strided=True
)
RECIPES: dict[str, FewShotConfig] = {
    "prototypical": _METRIC,
    **{name: replace(_METRIC, learner=name) for name in ("matching", "relation", "siamese")},
    "maml": _GRADIENT,
    "fomaml": replace(_GRADIENT, learner="fomaml", gradient=GradientConfig(first_order=True)),
    "meta-sgd": replace(_GRADIENT, learner="meta-sgd", gradient=GradientConfig(learn_step_sizes=True, test_steps=1)),
    "anil": replace(_GRADIENT, learner="anil", gradient=GradientConfig(adapts="head")),
    "reptile": replace(
        _GRADIENT,
        learner="reptile",
        tasks=5,
        episode=Shape(way=5, shot=5, queries=1),
        gradient=GradientConfig(steps=5, test_steps=20, step_size=0.05, first_order=True),
    ),
}


def recipe(learner: str) -> FewShotConfig:
    """The recipe of a learner by its name."""
    if learner not in RECIPES:
        raise MetaRLError(f"Learner {learner!r} is unknown; known are {', '.join(RECIPES)}.")
    return RECIPES[learner]
