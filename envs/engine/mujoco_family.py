"""Families that live in one MuJoCo model: their declaration, stepped and drawn by MuJoCo."""

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError, did_you_mean, shown
from metarl.envs.drawing import Frame, History
from metarl.envs.engine.mujoco import MujocoBatch
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.envs.engine.rendering import draw_picture
from metarl.family.base import EngineComparison
from metarl.rollout.batch import Batch
from metarl.tasks import Task, Tasks

_ENGINES: Sequence[str] = (_MUJOCO := "mujoco", _WARP := "warp")


class MujocoFamily(MujocoDeclaration):
    """A family of tasks in one MuJoCo model: the base class of families that people write.

    ``MujocoDeclaration``, which the engine and the renderer read, says what a subclass defines; this class joins them.
    """

    engine = _MUJOCO

    def use_engine(self, engine: str) -> None:
        if engine not in _ENGINES:
            near = did_you_mean(engine, _ENGINES)
            raise MetaRLError(f"{self.name} has no engine {shown(engine)}; choose {' or '.join(_ENGINES)}.{near}")
        promises: tuple[str, ...] = ()
        if engine == _WARP:
            try:
                from metarl.envs.engine.warp import NOT_PROMISED  # not before: it takes seconds, and is an extra
            except ImportError as error:
                raise MetaRLError(
                    f"--engine warp needs mujoco-warp and warp-lang ({error}): pip install 'metarl-suite[warp]'."
                ) from error
            promises = NOT_PROMISED
        self.engine, self.exact, self.not_promised = engine, engine == _MUJOCO, promises

    def batch(
        self, tasks: Tasks, keys: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Batch:
        """Make environments whose tensors lie on ``device``.

        MuJoCo steps them on the CPU's cores, or mujoco-warp on the device, as ``use_engine`` has said.
        """
        if self.engine == _WARP:
            from metarl.envs.engine.warp import WarpBatch

            return WarpBatch(self, tasks, keys, device, dtype)
        return MujocoBatch(self, tasks, keys, device, dtype)

    def compare_engines(self, tasks: Tasks, keys: Tensor, actions: Tensor) -> EngineComparison:
        if self.engine != _WARP:
            return super().compare_engines(tasks, keys, actions)
        from metarl.envs.engine.warp_comparison import compare_with_mujoco

        return compare_with_mujoco(self, tasks, keys, actions)

    def render(self, history: History, task: Task) -> Frame:
        """Draw the last state of an episode with MuJoCo's renderer."""
        return draw_picture(self, history, task)
