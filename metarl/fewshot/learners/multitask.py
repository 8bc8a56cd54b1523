"""Many tasks at once: a trunk that all training tasks share, with a head for each, and a new head for a new task."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import meta_gradient
from metarl.core.config import at_least
from metarl.core.errors import MetaRLError
from metarl.core.many_tasks import uncertainty_weighted, without_conflicts
from metarl.core.parallel import TaskParallel
from metarl.core.types import Outputs, Params
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes
from metarl.fewshot.learners.base import HEAD, LOGITS, accuracy, check_labels
from metarl.fewshot.learners.finetuning import FineTuning, FineTuningConfig
from metarl.fewshot.learners.registry import register_fewshot

_WEIGHTS = "tasks."
_LOG_VARIANCE = _WEIGHTS + "log_variance"


@dataclass(frozen=True, kw_only=True)
class SharedTrunkConfig(FineTuningConfig):
    """The settings of multi-task training."""

    groups: int = 8  # tasks that training classes are divided into, in their order; tasks with labels stay as they are
    uncertainty: bool = False  # learn how much each task's loss counts (Kendall et al. 2018)
    pcgrad: bool = False  # project conflicting gradients of the trunk (Yu et al. 2020); a backward pass for each task
    limits: ClassVar = {"groups": at_least(1)}


@register_fewshot("multitask")
class SharedTrunk(FineTuning):
    """Multi-task learning: one trunk and a linear head for each training task; a new task gets a new head.

    The classes of each training task are told apart among themselves alone (Caruana 1997). Tasks that have labels of
    their own are those of the data set; of classes, as many to a group, each group is a task. A support is fitted as
    ``finetune-linear`` does, so that both differ in their training alone.

    Args:
        backbone: the trunk.
        way: classes of a support.
        train_classes: those of all training tasks together.
        config: ``groups`` is the number of training tasks.
    """

    training_only: ClassVar[tuple[str, ...]] = (HEAD, _WEIGHTS)
    config_class = SharedTrunkConfig
    presets: ClassVar = {"short": SharedTrunkConfig(iterations=3600)}
    config: SharedTrunkConfig

    def __init__(self, backbone: Backbone, way: int, train_classes: int, config: SharedTrunkConfig) -> None:
        super().__init__(backbone, way, train_classes, config)
        self.tasks = config.groups
        if train_classes < 2 * self.tasks:
            raise MetaRLError(
                f"{self.tasks} tasks of {train_classes} training classes: each needs two; lower --config.groups to "
                f"{train_classes // 2}."
            )
        self.task_of = torch.arange(train_classes) * self.tasks // train_classes  # of each class

    @classmethod
    def make(cls, config: SharedTrunkConfig, data: DataSpec, way: int, backbone: Backbone) -> Self:  # type: ignore[override]  # a config of its own
        config = replace(config, groups=data.tasks or config.groups)
        return cls(backbone, way, data.classes * max(1, data.tasks), config)

    def init(self, generator: torch.Generator) -> Params:
        made = super().init(generator)
        return {**made, _LOG_VARIANCE: torch.zeros(self.tasks)} if self.config.uncertainty else made

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the mean over the tasks of a batch's samples of their losses, weighted if asked, ``(task,)``."""
        terms, named = self._terms(params, episodes)
        return terms.sum(1), named

    def gradient(
        self, params: Params, episodes: Episodes, chunk: int | None = None, parallel: TaskParallel | None = None
    ) -> tuple[Params, dict[str, float]]:
        """Return the gradient of the loss; with ``pcgrad`` the trunk's is of the tasks' gradients without conflicts."""
        if not self.config.pcgrad:
            return super().gradient(params, episodes, chunk, parallel)
        found, named, targets = list[Params](), dict[str, float](), self._targets(episodes)
        for task in self.task_of[targets.cpu()].unique().tolist():

            def objective(params: Params, rows: slice, task: int = task) -> tuple[Tensor, Outputs]:
                terms, logged = self._terms(params, episodes.rows(rows))
                return terms[:, task], {**logged, "objective": terms.sum(1)}

            gradient, named = meta_gradient(objective, params, len(targets), chunk, parallel)
            found.append(gradient)
        total = {name: torch.stack([each[name] for each in found]).sum(0) for name in params}
        trunk = {name: value for name, value in params.items() if name.startswith(BACKBONE)}
        flat = torch.stack([torch.cat([each[name].flatten() for name in trunk]) for each in found])
        # Drawn of what is in the batch, for a learner has no generator, and its training goes on as it would have.
        order = torch.Generator().manual_seed(int(targets.sum()))
        parts = without_conflicts(flat, order).split([value.numel() for value in trunk.values()])
        shared = {name: part.view_as(trunk[name]) for name, part in zip(trunk, parts, strict=True)}
        return {**total, **shared}, named

    def _targets(self, episodes: Episodes) -> Tensor:
        """Return the class of each sample among those of all training tasks, ``(task, sample)``."""
        if episodes.classes is None:
            raise MetaRLError("SharedTrunk trains on which class a sample is of; these episodes have no classes.")
        which = torch.cat([part.targets for part in episodes[:2]], 1)
        classes = episodes.classes
        if episodes.tasks is not None:  # the same classes in all tasks, but of each its own head
            classes = classes + episodes.tasks[:, None] * (self.train_classes // self.tasks)
        check_labels(classes, self.train_classes, "train_classes")
        return classes.gather(1, which)

    def _terms(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the share of each training task in the loss, ``(task, training task)``, and what is logged."""
        targets, task_of = self._targets(episodes), self.task_of.to(episodes.query.targets.device)
        inputs = torch.cat([part.inputs for part in episodes[:2]], 1)
        logits, mine = self._logits(params, self.backbone(params, inputs, BACKBONE)), task_of[targets]
        logits = logits.masked_fill(task_of != mine[..., None], torch.finfo(logits.dtype).min)
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        member = functional.one_hot(mine, self.tasks).to(losses.dtype)  # (task, sample, training task)
        counts = member.sum(1)
        terms = (losses[..., None] * member).sum(1) / counts.clamp(min=1)
        if self.config.uncertainty:
            terms = uncertainty_weighted(terms, params[_LOG_VARIANCE])
        there = (counts > 0).to(terms.dtype)
        named = {"loss": losses.mean(1), "accuracy": accuracy({LOGITS: logits}, targets)}
        return terms * there / there.sum(1, keepdim=True), named
