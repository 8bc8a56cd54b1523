"""MAML-RL: adaptation by policy-gradient steps."""

from metarl.agents.maml.agent import MAML

__all__ = ["MAML"]
