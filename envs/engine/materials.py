"""The appearance of a MuJoCo model in pictures: one palette for all models, in place of what their files say."""

from typing import Any

import mujoco
import numpy as np

from metarl.envs.drawing import AGENT, FAINT, PANEL, PAPER, RULE, Colour, blend
from metarl.envs.engine.overlays import Camera

WIDTH, HEIGHT = 480, 360  # pixels
_SKY = blend(PAPER, AGENT, 0.35)
_FLOOR, _BODY = "metarl floor", "metarl body"


def rgba(colour: Colour, alpha: float = 1.0) -> list[float]:
    """Convert a colour of 8 bits a channel to MuJoCo's four numbers in [0, 1]."""
    return [*(part / 255 for part in colour), alpha]


def apply_materials(spec: mujoco.MjSpec, camera: Camera) -> None:
    """Give a model blue bodies on a pale, squared and endless ground under a pale sky, without changing its physics."""
    _add_sky(spec)
    _add_materials(spec, camera)
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
            # A plane of no size goes on to the horizon.
            geom.material, geom.rgba, geom.size = _FLOOR, rgba(PAPER), [0, 0, 1]
        elif geom.rgba[3] > 0:
            geom.material, geom.rgba = _BODY, rgba(FAINT if geom.parent == spec.worldbody else AGENT)
    _add_light(spec, camera)
    # A buffer as large as the picture; shadows and edges as fine as a CPU draws them quickly.
    spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4


def _add_sky(spec: mujoco.MjSpec) -> None:
    kind = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    skies = [texture for texture in spec.textures if texture.type == kind]
    sky = skies[0] if skies else spec.add_texture(name="metarl sky", type=kind, width=64, height=384)
    sky.builtin, sky.mark = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, mujoco.mjtMark.mjMARK_NONE
    sky.rgb1, sky.rgb2 = rgba(_SKY)[:3], rgba(PAPER)[:3]
    spec.visual.rgba.haze = rgba(PAPER)


def _add_materials(spec: mujoco.MjSpec, camera: Camera) -> None:
    squares = spec.add_texture(name=_FLOOR, type=mujoco.mjtTexture.mjTEXTURE_2D, width=256, height=256)
    squares.builtin = mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    squares.rgb1, squares.rgb2 = rgba(PANEL)[:3], rgba(RULE)[:3]
    floor: Any = spec.add_material(name=_FLOOR)
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = _FLOOR
    # One texture is two squares wide.
    floor.texuniform, floor.texrepeat, floor.reflectance = True, [0.5 / camera.tile] * 2, 0.0
    floor.specular, floor.shininess = 0.0, 0.0
    body = spec.add_material(name=_BODY)
    body.specular, body.shininess = 0.3, 0.4


def _add_light(spec: mujoco.MjSpec, camera: Camera) -> None:
    """Replace a model's lights by one from above the viewer's left shoulder that moves with the camera."""
    for light in spec.lights:
        light.active = False
    above, followed = np.array([-0.3, -0.4, 1.2]) * camera.distance, spec.worldbody
    if camera.follows is not None:
        followed = spec.body(camera.follows)
    followed.add_light(
        pos=above if camera.follows is not None else above + camera.centre,
        dir=-above,
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=[0.5, 0.5, 0.5],
        specular=[0.2, 0.2, 0.2],
        castshadow=True,
    )
    spec.stat.extent = camera.distance  # the size of what has shadows, and of what is near and far
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.15, 0.15, 0.15]
    spec.visual.headlight.specular = [0, 0, 0]
