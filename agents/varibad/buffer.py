"""The last trials, for the belief to be trained on."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from metarl.core.trajectory import Trajectory


class TrialBuffer:
    """Keep the newest ``capacity`` trials, without what was recorded of the policy."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._trials: Trajectory | None = None

    def add(self, trajectory: Trajectory) -> None:
        """Take in new trials, and let go of the oldest."""
        new = replace(trajectory, record={}, extras={})
        every = new if self._trials is None else Trajectory.concatenate([self._trials, new], axis="task")
        self._trials = every.tasks(slice(max(0, every.n_tasks - self.capacity), None))

    def sample(self, n: int, generator: torch.Generator) -> Trajectory:
        """Return ``n`` of the trials, each at most once; all where there are fewer."""
        assert self._trials is not None, "nothing was added yet"
        rows = torch.randperm(self._trials.n_tasks, generator=generator)[:n]
        return self._trials.tasks(rows.to(self._trials.reward.device))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the trials as tensors, for an exact resume."""
        if self._trials is None:
            return {}
        values = {f.name: getattr(self._trials, f.name) for f in fields(Trajectory)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        fields_saved: dict[str, Any] = dict(saved)
        self._trials = Trajectory(**fields_saved) if saved else None
