"""metarl: task families, agents that learn to adapt to them, and few-shot learners on one meta-learner core.

Importing it tells Gymnasium the families' ids; what stands on torch is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metarl.core.errors import MetaRLError
from metarl.core.plugins import register_declared

if TYPE_CHECKING:
    from metarl.family.base import TaskFamily
    from metarl.family.checks.check import check_family
    from metarl.family.listing import families
    from metarl.family.observed import with_task
    from metarl.family.registry import make_family, register_family
    from metarl.family.views.sb3 import TaskVecEnv
    from metarl.plotting.video import grid, save_video
    from metarl.rollout.logged_episodes import Episode
    from metarl.tasks.space import Tasks, TaskSpace

__version__ = "0.1.0"
__all__ = [
    "Episode",
    "MetaRLError",
    "TaskFamily",
    "TaskSpace",
    "TaskVecEnv",
    "Tasks",
    "__version__",
    "check_family",
    "families",
    "grid",
    "make_family",
    "register_family",
    "save_video",
    "with_task",
]

_LAZY = {
    "Episode": "metarl.rollout.logged_episodes",
    "TaskFamily": "metarl.family.base",
    "TaskSpace": "metarl.tasks.space",
    "TaskVecEnv": "metarl.family.views.sb3",
    "Tasks": "metarl.tasks.space",
    "check_family": "metarl.family.checks.check",
    "families": "metarl.family.listing",
    "grid": "metarl.plotting.video",
    "make_family": "metarl.family.registry",
    "register_family": "metarl.family.registry",
    "save_video": "metarl.plotting.video",
    "with_task": "metarl.family.observed",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


register_declared()
