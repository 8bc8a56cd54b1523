"""PEARL: off-policy meta-RL by inference of a latent task (Rakelly et al. 2019)."""

from metarl.agents.pearl.agent import PEARL
from metarl.agents.pearl.config import PEARLConfig

__all__ = ["PEARL", "PEARLConfig"]
