"""MAML-RL: adaptation by policy-gradient steps."""

from metarl.agents.maml.agent import MAML
from metarl.agents.maml.config import MAMLConfig

__all__ = ["MAML", "MAMLConfig"]
