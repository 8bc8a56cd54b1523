"""Pictures of Meta-World, in a graphics context that needs no screen."""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl.envs.engine.opengl import open_graphics

_CAMERA = "corner"  # the model's, which stands on its head
_WIDTH, _HEIGHT = 480, 360


class Picture:
    """A graphics context for one of metaworld's environments, whose model it keeps."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model, self._scene = model, mujoco.MjvScene(model, maxgeom=1000)
        self._options, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._camera.fixedcamid = model.camera(_CAMERA).id
        self._context, self._drawing = open_graphics(model, _WIDTH, _HEIGHT)

    def draw(self, data: Any) -> NDArray[np.uint8]:
        """Return the picture ``(height, width, 3)`` of a state."""
        everything, whole = mujoco.mjtCatBit.mjCAT_ALL.value, mujoco.MjrRect(0, 0, _WIDTH, _HEIGHT)
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, everything, self._scene)
        pixels = np.empty((_HEIGHT, _WIDTH, 3), np.uint8)
        with self._context.as_current():
            mujoco.mjr_render(whole, self._scene, self._drawing)
            mujoco.mjr_readPixels(pixels, None, whole, self._drawing)
        return pixels[:, ::-1].copy()  # OpenGL's rows go upwards, which turns one half of the picture back

    def close(self) -> None:
        """Free what the graphics library holds."""
        with self._context.as_current():
            self._drawing.free()
        self._context.free()
