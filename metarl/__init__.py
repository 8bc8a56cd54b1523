"""metarl: task families, agents that learn to adapt to them, and few-shot learners on one meta-learner core.

Everything that is documented is imported from here: ``from metarl import RL2, evaluate, make_family``. Importing
``metarl`` tells Gymnasium the families' ids; what stands on torch is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metarl.core.errors import MetaRLError as MetaRLError
from metarl.core.plugins import register_declared
from metarl.version import __version__ as __version__

if TYPE_CHECKING:  # the same names as in _LAZY, for type checkers and editors
    from metarl.adapt.memory.base import Memory as Memory
    from metarl.adapt.memory.registry import register_memory as register_memory
    from metarl.agents.baselines import FineTune as FineTune
    from metarl.agents.baselines import MultiTask as MultiTask
    from metarl.agents.baselines import Oracle as Oracle
    from metarl.agents.maml import MAML as MAML
    from metarl.agents.pearl import PEARL as PEARL
    from metarl.agents.rl2 import RL2 as RL2
    from metarl.agents.varibad import VariBAD as VariBAD
    from metarl.algorithm.adapted_policy import AdaptedPolicy as AdaptedPolicy
    from metarl.algorithm.algorithm import Algorithm as Algorithm
    from metarl.algorithm.policy_selection import select_policy as select_policy
    from metarl.algorithm.registry import register_agent as register_agent
    from metarl.core.random import to_normal as to_normal
    from metarl.envs.engine.gymnasium import GymnasiumFamily as GymnasiumFamily
    from metarl.envs.engine.mujoco_family import MujocoFamily as MujocoFamily
    from metarl.envs.engine.torch import TorchFamily as TorchFamily
    from metarl.evaluation.agent import evaluate as evaluate
    from metarl.family.base import TaskFamily as TaskFamily
    from metarl.family.checks.check import check_family as check_family
    from metarl.family.listing import families as families
    from metarl.family.reference_policies import FunctionPolicy as FunctionPolicy
    from metarl.family.reference_policies import RandomPolicy as RandomPolicy
    from metarl.family.reference_policies import ReferencePolicy as ReferencePolicy
    from metarl.family.registry import make_family as make_family
    from metarl.family.registry import register_family as register_family
    from metarl.family.views.observed import with_task as with_task
    from metarl.family.views.sb3 import TaskVecEnv as TaskVecEnv
    from metarl.fewshot import FewShot as FewShot
    from metarl.fewshot import FewShotDataset as FewShotDataset
    from metarl.fewshot.learners.registry import register_fewshot as register_fewshot
    from metarl.hub import load_from_hub as load_from_hub
    from metarl.hub import push_to_hub as push_to_hub
    from metarl.plotting.video import grid as grid
    from metarl.plotting.video import save_video as save_video
    from metarl.rollout.logged_episodes import Episode as Episode
    from metarl.tasks import Choice as Choice
    from metarl.tasks import Closed as Closed
    from metarl.tasks import Dirichlet as Dirichlet
    from metarl.tasks import Disjoint as Disjoint
    from metarl.tasks import Fresh as Fresh
    from metarl.tasks import Grid as Grid
    from metarl.tasks import LogUniform as LogUniform
    from metarl.tasks import Normal as Normal
    from metarl.tasks import Ring as Ring
    from metarl.tasks import Tasks as Tasks
    from metarl.tasks import TaskSpace as TaskSpace
    from metarl.tasks import Uniform as Uniform
    from metarl.zoo import load as load

_LAZY = {  # module -> the names that are imported from it
    "adapt.memory.base": "Memory",
    "adapt.memory.registry": "register_memory",
    "agents.baselines": "FineTune MultiTask Oracle",
    "agents.maml": "MAML",
    "agents.pearl": "PEARL",
    "agents.rl2": "RL2",
    "agents.varibad": "VariBAD",
    "algorithm.adapted_policy": "AdaptedPolicy",
    "algorithm.algorithm": "Algorithm",
    "algorithm.policy_selection": "select_policy",
    "algorithm.registry": "register_agent",
    "core.random": "to_normal",
    "envs.engine.gymnasium": "GymnasiumFamily",
    "envs.engine.mujoco_family": "MujocoFamily",
    "envs.engine.torch": "TorchFamily",
    "evaluation.agent": "evaluate",
    "family.base": "TaskFamily",
    "family.checks.check": "check_family",
    "family.listing": "families",
    "family.views.observed": "with_task",
    "family.reference_policies": "FunctionPolicy RandomPolicy ReferencePolicy",
    "family.registry": "make_family register_family",
    "family.views.sb3": "TaskVecEnv",
    "fewshot": "FewShot FewShotDataset",
    "fewshot.learners.registry": "register_fewshot",
    "hub": "load_from_hub push_to_hub",
    "plotting.video": "grid save_video",
    "rollout.logged_episodes": "Episode",
    "tasks": "Choice Closed Dirichlet Disjoint Fresh Grid LogUniform Normal Ring Tasks TaskSpace Uniform",
    "zoo": "load",
}
_MODULES = {name: f"metarl.{module}" for module, names in _LAZY.items() for name in names.split()}
__all__ = ["MetaRLError", "__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


register_declared()
