"""Baselines: what adaptation is measured against."""

from metarl.agents.baselines.finetune import FineTune
from metarl.agents.baselines.multitask import MultiTask, Oracle

__all__ = ["FineTune", "MultiTask", "Oracle"]
