"""VariBAD: adaptation by a belief that a memory infers."""

from metarl.agents.varibad.agent import VariBAD
from metarl.agents.varibad.config import VariBADConfig

__all__ = ["VariBAD", "VariBADConfig"]
