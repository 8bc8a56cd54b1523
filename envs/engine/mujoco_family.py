"""Families that live in one MuJoCo model: their declaration, stepped and drawn by MuJoCo."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.overlays import History
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.rendering import picture
from metarl.tasks import Task, Tasks


class MujocoFamily(MujocoDeclaration):
    """A family that lives in one MuJoCo model; ``MujocoDeclaration`` says what a subclass defines."""

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MujocoBatch:
        """Environments stepped by MuJoCo on the CPU's cores, whose tensors lie on ``device``."""
        return MujocoBatch(self, tasks, keys, device, dtype)

    def render(self, history: History, task: Task) -> NDArray[np.uint8]:
        """Draw the last state of a history in MuJoCo's renderer."""
        return picture(self, history, task)
