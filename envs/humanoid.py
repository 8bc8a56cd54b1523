"""The family of a humanoid that walks in a hidden direction."""

import math
from collections.abc import Sequence

from metarl.envs.drawing import History
from metarl.envs.engine.arrays import Array, along, join
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Camera, Overlay, direction_overlays
from metarl.envs.engine.physics import Data, TaskArrays
from metarl.family import register_family
from metarl.tasks import Disjoint, Task, TaskSpace, Uniform


@register_family("metarl/HumanoidDir-v0")
class HumanoidDir(MujocoFamily):
    """Walk in a hidden direction of the plane.

    | | |
    |---|---|
    | observation | positions but the root's place (22), velocities (23), fields of the bodies (331): ``(376,)`` |
    | action | controls of the 17 joints in ± .4 |
    | reward | displacement along the direction / .012 s - .1‖action‖² - min(5e-7‖contact forces‖², 10) + 5 |
    | termination | the root is lower than 1 m or higher than 2 m |

    The bodies' fields are inertias and velocities about their common centre, the actuators' forces, and contact
    forces, which are computed after every control step; in much published work they were zero. As in PEARL's code, the
    displacement of the centre of mass over a control step (.015 s) is divided by the physics' time step (.003 s) and
    multiplied by .25.

    Variants: ``pearl`` (100 directions to train on, 30 to test), ``promp`` and ``varibad`` (fresh), and ``half``, ours:
    trained on the left half of the plane, with ``ood`` the right half.
    """

    paper = "Rothfuss et al. 2019; Rakelly et al. 2019; the physics are those of Gymnasium's Humanoid-v5"
    tasks = TaskSpace(angle=Uniform(0.0, 2 * math.pi))
    default_task = {"angle": 0.0}
    asset = "humanoid.xml"
    draws = (47, 0)
    camera = Camera(distance=3.7, elevation=-25.0, follows="torso", centre=(0.0, 0.0, 0.8))
    horizon = 200
    contact_forces = True
    reads = ("cinert", "cvel", "qfrc_actuator")
    remembers = ("xipos",)
    presets = {
        "pearl": {"split": Disjoint(test=30, total=130)},
        "promp": {},
        "varibad": {},
        "half": {"tasks": TaskSpace(angle=Uniform(0.0, math.pi)), "ood": tasks},
    }

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        return self.around_start(u, 0.01, 0.01)

    def observe(self, data: Data, task: TaskArrays) -> Array:
        bodies = (data[name] for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext"))
        return join(data["qpos"][:, 2:], data["qvel"], *bodies)

    def outcome(
        self, before: Data, data: Data, action: Array, task: TaskArrays
    ) -> tuple[Array, Array, dict[str, Array]]:
        mass = self.constant("body_mass", action)
        moved = ((mass / mass.sum())[:, None] * (data["xipos"] - before["xipos"])[..., :2]).sum(1)
        impact = (5e-7 * (data["cfrc_ext"] ** 2).sum((1, 2))).clip(max=10)
        reward = 0.25 * along(moved, task["angle"]) / self.model.opt.timestep - 0.1 * (action**2).sum(1) - impact + 5
        height = data["qpos"][:, 2]
        return reward, (height < 1) | (height > 2), {"velocity": moved / self.dt}

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return direction_overlays(history, task["angle"])
