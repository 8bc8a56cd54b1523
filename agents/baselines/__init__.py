"""Baselines: what adaptation is measured against."""

from metarl.agents.baselines.finetune import FineTune

__all__ = ["FineTune"]
