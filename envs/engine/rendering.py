"""Pictures of MuJoCo models, drawn without a window."""

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.envs.drawing import AGENT, GOAL, PALE, Colour, Frame, History, annotate, blend
from metarl.envs.engine.materials import HEIGHT, WIDTH, apply_materials, rgba
from metarl.envs.engine.opengl import open_graphics
from metarl.envs.engine.overlays import Arrow, Camera, Disc, Overlay, Point, Trail
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.tasks import Task, Tasks

_MOST_OVERLAYS = 400  # geoms of a picture
_TRAIL = blend(PALE, AGENT, 0.5)


def draw_picture(family: MujocoDeclaration, history: History, task: Task) -> Frame:
    """Draw the last state of an episode, with the family's overlays and caption, ``(height, width, 3)``."""
    return annotate(RENDERERS.draw(family, history, task), family.caption(history, task))


class RendererPool:
    """The renderers of a process: one for each variant of a family, and at most ``capacity`` at a time.

    Each holds an OpenGL context with its textures and buffers; the one that was not used for longest is freed first.
    """

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self.renderers: OrderedDict[tuple[type[MujocoDeclaration], str], Renderer] = OrderedDict()
        self._lock = threading.Lock()
        self._process: int | None = None  # the one that has opened OpenGL

    def draw(self, family: MujocoDeclaration, history: History, task: Task) -> Frame:
        """Draw the last state of an episode, without words; any thread may call it."""
        with self._lock:
            return self._renderer(family).draw(family, history, task)

    def close(self) -> None:
        """Free all renderers; the next picture makes a new one."""
        with self._lock:
            while self.renderers and self._process == os.getpid():
                self.renderers.popitem()[1].close()

    def _renderer(self, family: MujocoDeclaration) -> "Renderer":
        if self._process not in (None, os.getpid()):
            # The threads of a driver do not survive a fork, and who waits for them waits for ever.
            raise MetaRLError(
                f"{family.name}: this process was forked from one that had drawn pictures, whose OpenGL it cannot use. "
                "Start it with another method, as in AsyncVectorEnv(..., context='spawn'), or draw in it only."
            )
        key = type(family), family.variant
        if key not in self.renderers:
            while len(self.renderers) >= self.capacity:
                self.renderers.popitem(last=False)[1].close()
            self.renderers[key] = Renderer(family)
            if self._process is None:
                self._process = os.getpid()
                atexit.register(self.close)  # now, so that it is called before mujoco closes its display
        self.renderers.move_to_end(key)
        return self.renderers[key]


RENDERERS = RendererPool()


class Renderer:
    """A model with the materials of pictures, a scene, and an OpenGL context of its own.

    The context is current only while it draws: any thread may draw, and other contexts are left as they were.
    """

    def __init__(self, family: MujocoDeclaration) -> None:
        spec = family.spec()
        apply_materials(spec, family.camera)
        spec.compiler.settotalmass = -1
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + _MOST_OVERLAYS + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE.value] = True
        self._options = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, WIDTH, HEIGHT)
        self._context, self._drawing = open_graphics(self._model, WIDTH, HEIGHT)
        self._update_scene(family.camera)
        self._pixels()  # a few pixels of a driver's first picture differ from those of all later ones

    def draw(self, family: MujocoDeclaration, history: History, task: Task) -> Frame:
        """Draw the last state of an episode with the task's overlays and without words."""
        self._data.qpos[:], self._data.qvel[:] = history[-1]["qpos"], history[-1]["qvel"]
        followed = self._update_scene(family.camera)
        self._tilt(family.physics(Tasks.stack([task]).values).get("opt.gravity"))
        self._add_overlays(family.overlays(history, task), family.camera, followed)
        return self._pixels()

    def close(self) -> None:
        """Free what the graphics library holds."""
        with self._context.as_current():
            self._drawing.free()
        self._context.free()

    def _update_scene(self, view: Camera) -> NDArray[Any] | None:
        """Put everything into the scene, and return the place of the body that the camera follows."""
        mujoco.mj_forward(self._model, self._data)
        followed = None if view.follows is None else self._data.body(view.follows).xpos
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
        camera.lookat[:] = view.centre if followed is None else (followed[0], followed[1], view.centre[2])
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, self._data, self._options, None, camera, everything, self._scene)
        return followed

    def _pixels(self) -> Frame:
        pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        with self._context.as_current():
            mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
            mujoco.mjr_readPixels(pixels, None, self._rectangle, self._drawing)
        return pixels[::-1].copy()  # OpenGL's rows go upwards

    def _tilt(self, gravity: NDArray[np.float64] | None) -> None:
        """Turn the camera about its line of sight, so that things fall downwards in the picture.

        Args:
            gravity: the task's own, ``(1, 3)``; ``None`` where it sets none.
        """
        if gravity is None or not gravity.any():
            return
        for camera in self._scene.camera:
            forward = np.array(camera.forward, dtype=np.float64)
            up = -gravity[0] - forward * (-gravity[0] @ forward)
            camera.up[:] = up / np.linalg.norm(up)

    def _add_overlays(self, overlays: Sequence[Overlay], camera: Camera, followed: NDArray[Any] | None) -> None:
        thin = 0.006 * camera.distance
        here = np.zeros(2) if followed is None else followed[:2]
        for overlay in overlays:
            if isinstance(overlay, Disc):
                size, centre = [overlay.radius, 0, thin / 2], (*overlay.centre, thin / 2)
                self._add(mujoco.mjtGeom.mjGEOM_CYLINDER, size, centre, GOAL)
            elif isinstance(overlay, Arrow):
                near, far = (
                    tuple(
                        float(at) + share * camera.distance * d for at, d in zip(here, overlay.direction, strict=True)
                    )
                    for share in (0.2, 0.48)
                )
                self._connect(mujoco.mjtGeom.mjGEOM_ARROW, 3 * thin, near, far, 2 * thin, GOAL)  # type: ignore[arg-type]
            elif isinstance(overlay, Trail):
                for start, end in segments(overlay.points):
                    self._connect(mujoco.mjtGeom.mjGEOM_CAPSULE, thin, start, end, 0, _TRAIL)
            else:
                self._paint(overlay.body, overlay.colour)

    def _paint(self, name: str, colour: Colour) -> None:
        body, kind = self._model.body(name).id, mujoco.mjtObj.mjOBJ_GEOM.value
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.objtype == kind and self._model.geom_bodyid[geom.objid] == body:
                geom.rgba[:] = rgba(colour)

    def _add(self, kind: Any, size: Any, centre: Any, colour: Colour) -> Any:
        self._scene.ngeom += 1
        geom = self._scene.geoms[self._scene.ngeom - 1]
        mujoco.mjv_initGeom(geom, kind, np.asarray(size), np.asarray(centre), np.eye(3).ravel(), rgba(colour))
        return geom

    def _connect(self, kind: Any, width: float, start: Point, end: Point, height: float, colour: Colour) -> None:
        geom = self._add(kind, np.zeros(3), np.zeros(3), colour)
        mujoco.mjv_connector(geom, kind, width, (*start, height), (*end, height))


def segments(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Return the ends of a line's segments, joining several where there would be too many for a picture."""
    every = max(1, -(-len(points) // (_MOST_OVERLAYS // 2)))
    kept = [*points[::every], points[-1]] if points else []
    return [(a, b) for a, b in pairwise(kept) if a != b]
