"""A task family: one declaration, from which environments, samplers, splits and scores come."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError, did_you_mean, shown
from metarl.core.random import stream_keys
from metarl.family.reference_policies import ReferencePolicy
from metarl.rollout.batch import Batch
from metarl.tasks import Fresh, Split, SplitRule, Task, Tasks, TaskSpace

_DEFAULT_VARIANT = "default"


@dataclass(frozen=True)
class EngineComparison:
    """How far a family's engine is from the usual one."""

    distances: dict[str, float]  # by what was compared; relative where numbers are above 1
    tolerance: float  # that they are to keep
    paths: dict[int, float]  # by control steps that each engine took by itself: the largest distance of an observation
    told: tuple[str, ...]  # what was measured, in words


class TaskFamily(ABC):
    """A parameterised family of environments, which a subclass declares and an engine steps.

    Class attributes are the declaration, and ``presets`` name the variants that override them, the first being the
    default: ``presets = {"maml": {}, "pearl": {"horizon": 20}}``.
    """

    id: ClassVar[str] = ""  # set by register_family
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    paper: str = ""  # where the family is defined
    tasks: TaskSpace  # what varies between tasks in training
    ood: TaskSpace | None = None  # where out-of-distribution tasks are drawn
    split: SplitRule = Fresh()
    default_task: ClassVar[Mapping[str, ArrayLike] | None] = None  # of the plain environment; never solved at reset
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]  # Discrete, a bounded Box, or a Tuple of one of each
    horizon: int  # control steps an episode; the engine truncates there
    episodes_per_trial: int = 1  # consecutive episodes on one task before it changes
    floor: str | None = None  # the best task-blind reference policy, by its name in reference_policies()
    optimum: str | None = None  # the optimal reference policy, by its name in reference_policies()
    exact_optimum: bool = False  # whether nothing earns more than the optimum on average: scores then end at 1
    most_envs: int | None = None  # at once in an evaluation, where each takes much memory; any number unless given
    render_fps: int = 30  # pictures a second in a video
    not_promised: tuple[str, ...] = ()  # what the engine cannot promise, in words, as the check tells it
    engine: str = ""  # what steps it, where it can be chosen: see use_engine
    exact: bool = True  # whether the engine gives the same numbers again, so that a training can be resumed

    def __init__(self, variant: str | None = None) -> None:
        known = dict(self.presets) or {_DEFAULT_VARIANT: {}}
        self.variant = next(iter(known)) if variant is None else variant
        if not isinstance(self.variant, str) or self.variant not in known:
            raise MetaRLError(
                f"{self.id} has no variant {shown(self.variant)}; choose one of {', '.join(known)}."
                f"{did_you_mean(self.variant, known)}"
            )
        for name, value in known[self.variant].items():
            if not hasattr(type(self), name) and name not in TaskFamily.__annotations__:
                raise MetaRLError(
                    f"Preset {self.variant!r} of {self.id} sets {name!r}, which the family does not declare."
                )
            setattr(self, name, value)
        # Of the class: asking the instance would take an AttributeError in a property for a missing declaration.
        needed = ("tasks", "horizon", "observation_space", "action_space")
        missing = [name for name in needed if not hasattr(type(self), name) and name not in vars(self)]
        if missing:
            raise MetaRLError(
                f"Family {type(self).__name__} declares no {', '.join(missing)}; set each as a class attribute."
            )
        _ = self.observation_space, self.action_space  # where they are computed, their errors belong here
        if self.horizon < 1:
            raise MetaRLError(f"{self.name}: horizon={self.horizon}; an episode needs at least one step.")

    @classmethod
    def variants(cls) -> list[str]:
        """Return the names of the variants, the default first."""
        return list(cls.presets) or [_DEFAULT_VARIANT]

    @property
    def name(self) -> str:
        """Return family and variant in one word, ``metarl/PointNavigation-v0:maml``."""
        return f"{self.id or type(self).__name__}:{self.variant}"

    @cached_property
    def splits(self) -> Split:
        """Return the preset's train, val, test and ood tasks."""
        return self.make_split()

    def make_split(self, test: int | None = None) -> Split:
        """Return the split with another number of test tasks."""
        return self.split.make(self.name, self.tasks, self.ood, test)

    def default(self) -> Task:
        """Return the task of the plain environment."""
        if self.default_task is not None:
            return self.tasks.validate(self.default_task)
        return self.tasks.sample(stream_keys(1, "default", self.name))[0]

    def validate(self, task: Mapping[str, ArrayLike]) -> Task:
        """Return a task as arrays; raises where it lies outside both the training and the ood space."""
        if self.ood is not None:
            try:
                return self.ood.validate(task)
            except MetaRLError:
                pass  # The message that counts is that of the training space.
        return self.tasks.validate(task)

    @abstractmethod
    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Batch:
        """Return environments with these tasks and random streams, one for each row.

        Args:
            tasks: one for each environment.
            keys: random streams ``(environment, 2)``.
            device: where tensors are to lie.
            dtype: of observations and rewards.
        """

    def use_workers(self, workers: int) -> None:
        """Step environments in so many processes from now on; raises where the engine has no use for them."""
        raise MetaRLError(
            f"--env-workers {workers}: only families of Gymnasium environments (GymnasiumFamily) are stepped in "
            f"processes, {self.name} is not; leave it out."
        )

    def use_engine(self, engine: str) -> None:
        """Step environments by this engine from now on; raises where it is none of the family's."""
        raise MetaRLError(
            f"--engine {engine}: only families of one MuJoCo model (MujocoFamily) have several engines, {self.name} "
            "has not; leave it out."
        )

    def compare_engines(self, tasks: Tasks, keys: Tensor, actions: Tensor) -> EngineComparison:
        """Compare the chosen engine with the usual one on actions ``(step, environment, ...)``.

        Raises:
            MetaRLError: there is no other engine to compare with.
        """
        raise MetaRLError(f"{self.name} is on its usual engine; choose another with --engine.")

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        """Return reference policies by name; ``floor`` and ``optimum`` name two of them."""
        return {}

    def goals(self, tasks: Tasks) -> NDArray[np.float64] | None:
        """Return where paths should lead ``(task, 2)``, or None where observations are no positions in the plane."""
        return None

    def groups(self, tasks: Tasks) -> list[str]:
        """Return for each task what it is one of, where scores are told apart by that; the family unless overridden."""
        return [self.id] * len(tasks)

    def render(self, history: Sequence[Mapping[str, NDArray[Any]]], task: Task) -> NDArray[np.uint8]:
        """Return a picture ``(height, width, 3)`` of the last state; ``history`` holds the episode's states so far."""
        raise MetaRLError(f"{self.id} has no pictures; define render(history, task) in the family.")
