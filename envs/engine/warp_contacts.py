"""Contacts of capsules with a plane, on mujoco-warp, with the directions of friction that MuJoCo gives them.

MuJoCo lays the first direction along the capsule. mujoco-warp 4.0 does so only where the capsule is at less than 60° to
the plane (google-deepmind/mujoco issue 2774). A pyramid of friction is not round, so its directions matter.
"""

from typing import Any

import warp as wp
from mujoco_warp import GeomType

_PLANE, _CAPSULE = int(GeomType.PLANE), int(GeomType.CAPSULE)
_LEAST = 1e-6  # of the capsule's axis along the plane: below it is upright, and has no direction


def align_with_capsules(model: Any, data: Any) -> None:
    """Turn the frames of such contacts; mujoco-warp calls this whenever it has found contacts."""
    contact = data.contact
    inputs = [model.geom_type, data.geom_xmat, data.nacon, contact.worldid, contact.geom]
    wp.launch(_align, dim=data.naconmax, inputs=inputs, outputs=[contact.frame])


@wp.kernel(enable_backward=False)  # type: ignore[untyped-decorator]
def _align(
    geom_type: wp.array[int],
    geom_xmat: wp.array2d[wp.mat33],
    count: wp.array[int],
    world: wp.array[int],
    geoms: wp.array[wp.vec2i],
    frame: wp.array[wp.mat33],
) -> None:
    i = wp.tid()
    if i >= count[0]:
        return
    plane, capsule = geoms[i][0], geoms[i][1]
    if plane < 0 or capsule < 0:
        return
    if geom_type[plane] != _PLANE or geom_type[capsule] != _CAPSULE:
        return
    turned = geom_xmat[world[i], capsule]
    axis = wp.vec3(turned[0, 2], turned[1, 2], turned[2, 2])
    normal = wp.vec3(frame[i][0, 0], frame[i][0, 1], frame[i][0, 2])
    along = axis - normal * wp.dot(normal, axis)
    if wp.length(along) < _LEAST:
        return
    first = wp.normalize(along)
    second = wp.cross(normal, first)
    frame[i] = wp.matrix_from_rows(normal, first, second)
