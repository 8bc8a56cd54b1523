"""How seeds are trained; a light module, for the command line reads its defaults before anything else is imported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metarl.core.errors import MetaRLError

if TYPE_CHECKING:  # it imports torch
    from metarl.core.parallel import TaskParallel

SECONDS_BETWEEN_CHECKPOINTS = 10.0
Report = Callable[[int, int, str], None]  # seed, steps so far, a few words


@dataclass(frozen=True)
class TrainingOptions:
    """The options of training one seed, whatever is trained."""

    device: str = "cpu"
    """device of the parameters and of the torch families"""
    threads: int = 1
    """threads of torch"""
    seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    """seconds between two checkpoints; 0 saves after every iteration"""
    compile: bool = False
    """whether rollouts step as compiled functions, see ``metarl.rollout.compiled``; few-shot learners have none"""
    track: bool = False
    """whether the log also goes to Weights & Biases"""
    parallel: "TaskParallel | None" = None
    """shares task rows among several processes; one process unless given"""
    env_workers: int | None = None
    """processes that step the environments of a ``GymnasiumFamily``; as many as it declares unless given"""


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise unless there is a seed, and each is there once."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise MetaRLError(f"seeds={list(seeds)}: give at least one seed, each once.")
