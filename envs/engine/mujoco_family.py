"""Families that live in one MuJoCo model: their declaration, stepped and drawn by MuJoCo."""

import torch
from torch import Tensor

from metarl.envs.drawing import Frame, History
from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.rendering import draw_picture
from metarl.tasks import Task, Tasks


class MujocoFamily(MujocoDeclaration):
    """A family of tasks in one MuJoCo model: the base class of families that people write.

    ``MujocoDeclaration``, which the engine and the renderer read, says what a subclass defines; this class joins them.
    """

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MujocoBatch:
        """Make environments that MuJoCo steps on the CPU's cores and whose tensors lie on ``device``."""
        return MujocoBatch(self, tasks, keys, device, dtype)

    def render(self, history: History, task: Task) -> Frame:
        """Draw the last state of an episode with MuJoCo's renderer."""
        return draw_picture(self, history, task)
