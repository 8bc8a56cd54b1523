"""Families of arms that reach for, or push a cylinder to, a hidden place."""

from abc import abstractmethod
from collections.abc import Sequence

from metarl.envs.drawing import GOAL, SUCCESS, History
from metarl.envs.engine.arrays import Array, join, namespace
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Camera, Overlay, Tint
from metarl.envs.engine.physics import Data, TaskArrays
from metarl.family import register_family
from metarl.tasks import Ring, Task, TaskSpace, Uniform

_CANDIDATES = 16  # places for the cylinder, of which the first that is far enough is taken
_CLEARANCE = 0.17  # m between the cylinder and the goal at the start


class Arm(MujocoFamily):
    """An arm with a goal that the task moves, and that is part of the model's positions but not observed."""

    horizon = 200

    def outcome(
        self, before: Data, data: Data, action: Array, task: TaskArrays
    ) -> tuple[Array, None, dict[str, Array]]:
        reward, distance = self.pay(data, action)
        return reward, None, {"distance": distance}

    @abstractmethod
    def pay(self, data: Data, action: Array) -> tuple[Array, Array]:
        """Return the reward and the distance to the goal in m, ``(environment,)`` each."""

    def between(self, data: Data, one: str, other: str) -> Array:
        """Return the distance of two bodies in m, ``(environment,)``."""
        return ((data["xpos"][:, self.body(one)] - data["xpos"][:, self.body(other)]) ** 2).sum(1) ** 0.5


@register_family("metarl/Reacher-v0")
class Reacher(Arm):
    """Reach for a hidden goal.

    | | |
    |---|---|
    | observation | cosines and sines of the two joints' angles, their velocities: ``(6,)`` |
    | action | torques of the two joints in ± 1 |
    | reward | -‖fingertip - goal‖ - ‖action‖², as in Reacher-v5 |
    | termination | never |

    Goals are uniform in a disc of .15 m around the shoulder; ``ood``: further away, up to the .2 m of Reacher-v5, which
    the arm of .21 m just reaches.
    """

    paper = "ours; the physics are those of Gymnasium's Reacher-v5"
    tasks = TaskSpace(goal=Ring(0.0, 0.15))
    ood = TaskSpace(goal=Ring(0.15, 0.2))
    default_task = {"goal": (0.1, 0.1)}
    asset = "reacher.xml"
    draws = (4, 0)
    camera = Camera(distance=0.9, elevation=-70.0, centre=(0.0, 0.0, 0.0), tile=0.1)
    frame_skip = 2
    reads = ("xpos",)

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        centred = 2 * u - 1
        goal = task["goal"]
        return join(0.1 * centred[:, :2], goal), join(0.005 * centred[:, 2:], 0 * goal)

    def observe(self, data: Data, task: TaskArrays) -> Array:
        xp, angles = namespace(data["qpos"]), data["qpos"][:, :2]
        return join(xp.cos(angles), xp.sin(angles), data["qvel"][:, :2])

    def pay(self, data: Data, action: Array) -> tuple[Array, Array]:
        distance = self.between(data, "fingertip", "target")
        return -distance - (action**2).sum(1), distance

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return Tint("target", GOAL), Tint("fingertip", SUCCESS)


@register_family("metarl/Pusher-v0")
class Pusher(Arm):
    """Push a cylinder to a hidden goal.

    | | |
    |---|---|
    | observation | angles (7) and velocities (7) of the joints, places of the tip and the cylinder (6): ``(20,)`` |
    | action | torques of the seven joints in ± 2 |
    | reward | -‖cylinder - goal‖ - .5‖cylinder - tip‖ - .1‖action‖², as in Pusher-v5 |
    | termination | never |

    A task is where the goal is on the table, from the place that it has in Pusher-v5, by up to .1 m along either axis;
    ``ood``: by up to .2 m. The cylinder starts as there, at least .17 m from the goal.
    """

    paper = "ours; the physics are those of Gymnasium's Pusher-v5"
    tasks = TaskSpace(goal=Uniform(-0.1, 0.1, shape=(2,)))
    ood = TaskSpace(goal=Uniform(-0.2, 0.2, shape=(2,)))
    default_task = {"goal": (0.0, 0.0)}
    asset = "pusher_v5.xml"
    camera = Camera(distance=2.3, elevation=-40.0, azimuth=140.0, centre=(0.25, -0.15, -0.25), tile=0.25)
    draws = (7 + 2 * _CANDIDATES, 0)
    reads = ("xpos",)

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        xp, goal = namespace(u), task["goal"]
        low, high = (xp.asarray(end, dtype=u.dtype, device=u.device) for end in ([-0.3, -0.2], [0.0, 0.2]))
        places = low + (high - low) * u[:, 7:].reshape(len(u), _CANDIDATES, 2)
        corner = xp.where(goal > (low + high) / 2, low, high)  # far from any goal
        places = xp.concat([places, corner[:, None]], axis=1)
        far = ((places - goal[:, None]) ** 2).sum(2) > _CLEARANCE**2
        first = xp.argmax(xp.astype(far, xp.int64), axis=1)
        cylinder = places[xp.arange(len(u), device=u.device), first]
        return join(0 * u[:, :7], cylinder, goal), join(0.005 * (2 * u[:, :7] - 1), 0 * u[:, :4])

    def observe(self, data: Data, task: TaskArrays) -> Array:
        places = (data["xpos"][:, self.body(name)] for name in ("tips_arm", "object"))
        return join(data["qpos"][:, :7], data["qvel"][:, :7], *places)

    def pay(self, data: Data, action: Array) -> tuple[Array, Array]:
        distance, reach = self.between(data, "object", "goal"), self.between(data, "object", "tips_arm")
        return -distance - 0.5 * reach - 0.1 * (action**2).sum(1), distance

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return Tint("goal", GOAL), Tint("object", SUCCESS)
