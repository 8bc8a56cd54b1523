"""Pictures of a MuJoCo model, drawn off the screen."""

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
from metarl.envs.drawing import AGENT, GOAL, PALE, Colour, annotate, blend
from metarl.envs.engine.materials import HEIGHT, WIDTH, dress, rgba
from metarl.envs.engine.opengl import open_graphics
from metarl.envs.engine.overlays import Heading, History, Mark, Place, Spot, Tint, View, Way
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.tasks import Task, Tasks

_MOST_STUDIOS = 4  # kept at a time: each holds a context, its textures and its buffers
_MOST_MARKS = 400
_TRAIL = blend(PALE, AGENT, 0.5)
_GEOM = mujoco.mjtObj.mjOBJ_GEOM.value

_studios: "OrderedDict[tuple[type[MujocoDeclaration], str], Studio]" = OrderedDict()
_lock = threading.Lock()
_process: int | None = None  # the one that has opened OpenGL


def picture(family: MujocoDeclaration, history: History, task: Task) -> NDArray[np.uint8]:
    """The last state of ``history``, with the family's marks and caption."""
    with _lock:
        drawn = _studio(family).draw(family, history, task)
    return annotate(drawn, family.caption(history, task))


def close() -> None:
    """Free all that pictures have taken; the next picture takes it anew."""
    with _lock:
        while _studios and _process == os.getpid():
            _studios.popitem()[1].close()


def _studio(family: MujocoDeclaration) -> "Studio":
    """The studio of a variant, of which a process keeps a few."""
    global _process
    if _process not in (None, os.getpid()):
        # The threads of a driver do not survive a fork, and who waits for them waits for ever.
        raise MetaRLError(
            f"{family.name}: this process was forked from one that had drawn pictures, whose OpenGL it cannot use. "
            "Start it with another method, as in AsyncVectorEnv(..., context='spawn'), or draw in it only."
        )
    key = type(family), family.variant
    if key not in _studios:
        while len(_studios) >= _MOST_STUDIOS:
            _studios.popitem(last=False)[1].close()
        _studios[key] = Studio(family)
        if _process is None:
            _process = os.getpid()
            atexit.register(close)  # now, so that it is called before mujoco closes its display
    _studios.move_to_end(key)
    return _studios[key]


class Studio:
    """A model in its pictures' looks, a scene, and an OpenGL context of its own.

    The context is current only while it draws: any thread may draw, and others' contexts are left as they were.
    """

    def __init__(self, family: MujocoDeclaration) -> None:
        spec = family.spec()
        dress(spec, family.view)
        spec.compiler.settotalmass = -1
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + _MOST_MARKS + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE.value] = True
        self._options = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, WIDTH, HEIGHT)
        self._context, self._drawing = open_graphics(self._model, WIDTH, HEIGHT)
        self._place(family.view)
        self._pixels()  # a few pixels of a driver's first picture differ from those of all later ones

    def draw(self, family: MujocoDeclaration, history: History, task: Task) -> NDArray[np.uint8]:
        """The last state, with marks and without words."""
        self._data.qpos[:], self._data.qvel[:] = history[-1]["qpos"], history[-1]["qvel"]
        followed = self._place(family.view)
        _tilt(self._scene, _gravity(family, task))
        self._mark(family.marks(history, task), family.view, followed)
        return self._pixels()

    def _place(self, view: View) -> NDArray[Any] | None:
        """Put everything in the scene, and return where the body is that the camera follows."""
        mujoco.mj_forward(self._model, self._data)
        followed = None if view.follows is None else self._data.body(view.follows).xpos
        everything, camera = mujoco.mjtCatBit.mjCAT_ALL.value, _camera(view, followed)
        mujoco.mjv_updateScene(self._model, self._data, self._options, None, camera, everything, self._scene)
        return followed

    def _pixels(self) -> NDArray[np.uint8]:
        pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        with self._context.as_current():
            mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
            mujoco.mjr_readPixels(pixels, None, self._rectangle, self._drawing)
        return pixels[::-1].copy()  # OpenGL's rows go upwards

    def close(self) -> None:
        """Free what the graphics library holds."""
        with self._context.as_current():
            self._drawing.free()
        self._context.free()

    def _mark(self, marks: Sequence[Mark], view: View, followed: NDArray[Any] | None) -> None:
        thin = 0.006 * view.distance
        here = (0.0, 0.0) if followed is None else (float(followed[0]), float(followed[1]))
        for mark in marks:
            if isinstance(mark, Spot):
                self._add(mujoco.mjtGeom.mjGEOM_CYLINDER, [mark.radius, 0, thin / 2], (*mark.at, thin / 2), GOAL)
            elif isinstance(mark, Heading):
                near, far = (
                    tuple(at + share * view.distance * part for at, part in zip(here, mark.towards, strict=True))
                    for share in (0.2, 0.48)
                )
                self._connect(mujoco.mjtGeom.mjGEOM_ARROW, 3 * thin, near, far, 2 * thin, GOAL)  # type: ignore[arg-type]
            elif isinstance(mark, Way):
                for start, end in _pairs(mark.points):
                    self._connect(mujoco.mjtGeom.mjGEOM_CAPSULE, thin, start, end, 0, _TRAIL)
            else:
                self._paint(mark)

    def _paint(self, tint: Tint) -> None:
        body = self._model.body(tint.body).id
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.objtype == _GEOM and self._model.geom_bodyid[geom.objid] == body:
                geom.rgba[:] = rgba(tint.colour)

    def _new(self) -> Any:
        self._scene.ngeom += 1
        return self._scene.geoms[self._scene.ngeom - 1]

    def _add(self, kind: Any, size: list[float], at: tuple[float, float, float], colour: Colour) -> None:
        mujoco.mjv_initGeom(self._new(), kind, size, at, np.eye(3).ravel(), rgba(colour))

    def _connect(self, kind: Any, width: float, start: Place, end: Place, height: float, colour: Colour) -> None:
        geom = self._new()
        mujoco.mjv_initGeom(geom, kind, np.zeros(3), np.zeros(3), np.eye(3).ravel(), rgba(colour))
        mujoco.mjv_connector(geom, kind, width, (*start, height), (*end, height))


def _camera(view: View, followed: NDArray[Any] | None) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
    camera.lookat[:] = view.centre if followed is None else (followed[0], followed[1], view.centre[2])
    camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
    return camera


def _gravity(family: MujocoDeclaration, task: Task) -> NDArray[np.float64] | None:
    """The task's gravity, if it sets one."""
    fields = family.physics(Tasks.stack([task]).values)
    return np.asarray(fields["opt.gravity"][0]) if "opt.gravity" in fields else None


def _tilt(scene: mujoco.MjvScene, gravity: NDArray[np.float64] | None) -> None:
    """Turn the camera about its line of sight, so that things fall downwards in the picture."""
    if gravity is None or not gravity.any():
        return
    for camera in scene.camera:
        forward = np.array(camera.forward, dtype=np.float64)
        up = -gravity - forward * (-gravity @ forward)
        camera.up[:] = up / np.linalg.norm(up)


def _pairs(points: Sequence[Place]) -> list[tuple[Place, Place]]:
    """Ends of the pieces of a line, of which there are not too many."""
    every = max(1, -(-len(points) // (_MOST_MARKS // 2)))
    kept = [*points[::every], points[-1]] if points else []
    return [(a, b) for a, b in pairwise(kept) if a != b]
