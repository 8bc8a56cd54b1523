"""Learned optimisers: a rule that is meta-trained on many small problems, as an optimiser of torch."""

from metarl.learned_optimizer.optimizer import LearnedOptimizer as LearnedOptimizer

__all__ = ["LearnedOptimizer"]
