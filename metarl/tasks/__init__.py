"""Task spaces, batches of tasks, and splits into train, test and out-of-distribution tasks."""

from metarl.tasks.distributions import Choice, Dirichlet, Distribution, Grid, LogUniform, Normal, Ring, Uniform
from metarl.tasks.space import Task, Tasks, TaskSpace
from metarl.tasks.splits import Closed, Disjoint, Fresh, Split, SplitRule

__all__ = [
    "Choice",
    "Closed",
    "Dirichlet",
    "Disjoint",
    "Distribution",
    "Fresh",
    "Grid",
    "LogUniform",
    "Normal",
    "Ring",
    "Split",
    "SplitRule",
    "Task",
    "TaskSpace",
    "Tasks",
    "Uniform",
]
