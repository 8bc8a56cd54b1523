"""An OpenGL context to draw in without a window, from whichever library this machine has."""

import ctypes.util
import importlib
import os
import sys
from typing import Any

import mujoco

from metarl.core.errors import NoGraphicsError

_OFF = ("disable", "disabled", "off", "false", "0")
_REMEDY = (
    "Without a screen MuJoCo draws with EGL or OSMesa: install one (Debian and Ubuntu: apt install libegl1, or "
    "libosmesa6) and set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts. Without pictures: render_mode=None."
)


def backends() -> list[str]:
    """Return the OpenGL backends to try in turn.

    MUJOCO_GL decides where it is set; else EGL, which needs no screen, comes before a hidden window on the screen.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in _OFF:
        return []
    if not sys.platform.startswith("linux"):
        return ["native"]
    if chosen:
        return [chosen if chosen in ("egl", "osmesa") else "glfw"]
    # PyOpenGL serves a process through one library, so that a second of the two cannot be tried after the first.
    only_osmesa = not ctypes.util.find_library("EGL") and ctypes.util.find_library("OSMesa")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ["osmesa" if only_osmesa else "egl", *(["glfw"] if screen else [])]


def open_graphics(model: mujoco.MjModel, width: int, height: int) -> tuple[Any, mujoco.MjrContext]:
    """Open a context of a size in pixels, and in it MuJoCo's drawing context of a model.

    Raises:
        NoGraphicsError: no backend works; it names those that were tried, and the remedy.
    """
    tried = []
    for backend in backends():
        try:
            context = _context_class(backend)(width, height)
            with context.as_current():
                drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
                mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, drawing)
            return context, drawing
        except Exception as error:  # a driver that is missing or broken may raise anything
            tried.append(f"{backend}: {' '.join(str(error).split())[:200] or type(error).__name__}")
    setting = os.environ.get("MUJOCO_GL")
    given = "MUJOCO_GL is not set" if setting is None else f"MUJOCO_GL={setting}"
    raise NoGraphicsError(f"No OpenGL to draw with ({given}; tried {', '.join(tried) or 'nothing'}). {_REMEDY}")


def _context_class(backend: str) -> Any:
    # Not mujoco.GLContext on Linux: that is settled when mujoco is imported, and without MUJOCO_GL it needs a screen.
    return importlib.import_module(f"mujoco.{'gl_context' if backend == 'native' else backend}").GLContext
