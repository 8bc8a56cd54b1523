"""The baselines between which adaptation lies: a policy that never observes its task, and one that does."""

from typing import Any, ClassVar

from metarl.agents.baselines.sb3 import SB3Agent
from metarl.agents.baselines.sb3_config import SB3Config
from metarl.family import TaskFamily, make_family
from metarl.family.views.observed import with_task


class MultiTask(SB3Agent):
    """Trains one policy for all tasks, which are hidden from it: what can be reached without adapting."""

    name: ClassVar[str] = "multitask"


class Oracle(SB3Agent):
    """Trains one policy that observes its task: what adapting can at best reach, where no optimum is known."""

    name: ClassVar[str] = "oracle"

    def __init__(
        self, family: str | TaskFamily, config: SB3Config | None = None, *, variant: str | None = None, **options: Any
    ) -> None:
        super().__init__(with_task(make_family(family, variant)), config, **options)
