"""The two ends between which adaptation lies: a policy that is never told its task, and one that is."""

from typing import Any, ClassVar

from metarl.agents.baselines.sb3 import SB3Agent
from metarl.agents.baselines.sb3_config import SB3Config
from metarl.family import TaskFamily, make_family
from metarl.family.observed import with_task


class MultiTask(SB3Agent):
    """One policy for all tasks, its task hidden: what can be had without adapting."""

    name: ClassVar[str] = "multitask"


class Oracle(SB3Agent):
    """One policy that observes its task (``with_task``): where no optimum is known, what adapting can at best reach."""

    name: ClassVar[str] = "oracle"

    def __init__(
        self, family: str | TaskFamily, config: SB3Config | None = None, *, variant: str | None = None, **options: Any
    ) -> None:
        super().__init__(with_task(make_family(family, variant)), config, **options)
