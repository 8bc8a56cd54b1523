"""Families of an ant that runs: in which direction, how fast, or to which place is hidden."""

import math
from collections.abc import Sequence

from metarl.envs.drawing import History
from metarl.envs.engine.arrays import Array, along, join
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Camera, Disc, Overlay, direction_overlays, root_trail
from metarl.envs.engine.physics import Data, TaskArrays
from metarl.family import register_family
from metarl.tasks import Choice, Closed, Disjoint, Ring, Task, TaskSpace, Uniform

_TORSO = "torso"
_CONTACT_COST = 5e-4
_PHYSICS = "the physics are those of Gymnasium's Ant-v5"
_TWO_WAYS = TaskSpace(angle=Choice((0.0, math.pi)))


class Ant(MujocoFamily):
    """Gymnasium's Ant-v5, with the observation, costs and termination as fields; a subclass defines ``pay``.

    Contact forces are computed after every control step; in much published work they were zero, for MuJoCo computes
    them only where it is asked.
    """

    asset = "ant.xml"
    draws = (29, 0)
    camera = Camera(distance=4.5, elevation=-45.0, follows=_TORSO)
    horizon = 200
    contact_forces = True
    remembers = ("xpos",)
    sees_place: bool = False  # whether the observation holds the first two positions: the root's place (2)
    sees_forces: bool = False  # whether it holds the clipped contact forces of the 14 bodies (84)
    sees_torso: bool = False  # whether it holds the torso's rotation matrix (9) and place (3)
    control_cost: float = 0.5  # cost of a control step for each unit of ‖action‖²
    alive: float = 1.0  # reward of every control step
    heights: tuple[float, float] | None = (0.2, 1.0)  # m, of the root; an episode ends outside, None: nowhere

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("xmat",) if self.sees_torso else ()

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        return self.around_start(u, 0.1, 0.1, normal=True)

    def observe(self, data: Data, task: TaskArrays) -> Array:
        seen = [data["qpos"] if self.sees_place else data["qpos"][:, 2:], data["qvel"]]
        if self.sees_forces:
            seen.append(data["cfrc_ext"].clip(-1, 1))
        if self.sees_torso:
            torso = self.body(_TORSO)
            seen += [data["xmat"][:, torso], data["xpos"][:, torso]]
        return join(*seen)

    def outcome(
        self, before: Data, data: Data, action: Array, task: TaskArrays
    ) -> tuple[Array, Array | None, dict[str, Array]]:
        torso = self.body(_TORSO)
        place = data["xpos"][:, torso, :2]
        velocity = (place - before["xpos"][:, torso, :2]) / self.dt
        forces = data["cfrc_ext"].clip(-1, 1)
        cost = self.control_cost * (action**2).sum(1) + _CONTACT_COST * (forces**2).sum((1, 2))
        reward = self.pay(velocity, place, task) - cost + self.alive
        if self.heights is None:
            return reward, None, {"velocity": velocity}
        height = data["qpos"][:, 2]
        return reward, (height < self.heights[0]) | (height > self.heights[1]), {"velocity": velocity}

    def pay(self, velocity: Array, place: Array, task: TaskArrays) -> Array:
        """Return the reward ``(environment,)`` without costs, of velocity (m/s) and place (m) ``(environment, 2)``."""
        return velocity[:, 0]


_MAML = {"sees_forces": True, "sees_torso": True, "control_cost": 0.005, "alive": 0.05}


@register_family("metarl/AntDir-v0")
class AntDir(Ant):
    """Run in a hidden direction of the plane.

    | | |
    |---|---|
    | observation | positions but the root's place (13), velocities (14): ``(27,)`` |
    | action | torques of the eight joints in ± 1 |
    | reward | velocity in the task's direction - .5‖action‖² - 5e-4‖contact forces clipped to ± 1‖² + 1 |
    | termination | the root is lower than .2 m or higher than 1 m |

    In ``promp`` the clipped forces (84) are observed too, ``(111,)``, and the lower limit is 0; in ``maml`` those, the
    torso's rotation matrix and its place (12), ``(123,)``, and the costs and the bonus are .005 and .05 for .5 and 1.

    Variants: ``pearl`` and ``varibad``, any direction (PEARL's configuration file trains and tests on two, so this is
    wider); ``promp`` and ``maml``, forward and backward, with ``ood`` the directions between; ``promp-2d``, any
    direction; ``half``, ours: trained on the left half of the plane, with ``ood`` the right half.
    """

    paper = f"Finn et al. 2017, section 5.3; Rothfuss et al. 2019; Rakelly et al. 2019; {_PHYSICS}"
    tasks = TaskSpace(angle=Uniform(0.0, 2 * math.pi))
    default_task = {"angle": 0.0}

    presets = {
        "pearl": {},
        "varibad": {},
        "promp": {
            "tasks": _TWO_WAYS,
            "ood": tasks,
            "split": Closed(),
            "sees_forces": True,
            "heights": (0.0, 1.0),
        },
        "promp-2d": {"sees_forces": True, "heights": (0.0, 1.0)},
        "maml": {"tasks": _TWO_WAYS, "ood": tasks, "split": Closed(), **_MAML},
        "half": {"tasks": TaskSpace(angle=Uniform(0.0, math.pi)), "ood": tasks},
    }

    def pay(self, velocity: Array, place: Array, task: TaskArrays) -> Array:
        return along(velocity, task["angle"])

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return direction_overlays(history, task["angle"])


@register_family("metarl/AntVel-v0")
class AntVel(Ant):
    r"""Run forward at a hidden velocity.

    | | |
    |---|---|
    | observation | as in AntDir, ``maml``: ``(123,)`` |
    | action | torques of the eight joints in ± 1 |
    | reward | 1 - \|forward velocity - the task's\| - .005‖action‖² - 5e-4‖contact forces clipped to ± 1‖² + .05 |
    | termination | the root is lower than .2 m or higher than 1 m |

    Tasks are 0 to 3 m/s; ``ood`` is faster, by up to 1 m/s.
    """

    paper = f"Finn et al. 2017, section 5.3; {_PHYSICS}"
    tasks = TaskSpace(velocity=Uniform(0.0, 3.0))
    ood = TaskSpace(velocity=Uniform(3.0, 4.0))
    default_task = {"velocity": 1.5}
    presets = {"maml": _MAML}

    def pay(self, velocity: Array, place: Array, task: TaskArrays) -> Array:
        return 1 - abs(velocity[:, 0] - task["velocity"])

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}\n{self.speed(history):.2f} m/s, to be {task['velocity']:.2f}"


@register_family("metarl/AntGoal-v0")
class AntGoal(Ant):
    """Go to a hidden place on the ground.

    | | |
    |---|---|
    | observation | positions (15), velocities (14), contact forces clipped to ± 1 (84): ``(113,)`` |
    | action | torques of the eight joints in ± 1 |
    | reward | -‖torso's place - goal‖₁ - .1‖action‖² - 5e-4‖contact forces clipped to ± 1‖² |
    | termination | never |

    Goals are uniform in a disc of 3 m. Variants: ``pearl`` (150 tasks to train on, 30 to test) and ``promp`` and
    ``varibad`` (fresh). ``ood`` lies outside of the disc, up to 4.5 m away.
    """

    paper = f"Rothfuss et al. 2019; Rakelly et al. 2019; {_PHYSICS}"
    tasks = TaskSpace(goal=Ring(0.0, 3.0))
    ood = TaskSpace(goal=Ring(3.0, 4.5))
    default_task = {"goal": (2.0, 0.0)}
    control_cost = 0.1
    alive = 0.0
    heights = None
    sees_place = sees_forces = True
    camera = Camera(distance=11.5, elevation=-60.0, centre=(0.0, 0.0, 0.0))  # of all goals
    presets = {
        "pearl": {"split": Disjoint(test=30, total=180)},
        "promp": {},
        "varibad": {},
    }

    def pay(self, velocity: Array, place: Array, task: TaskArrays) -> Array:
        return -abs(place - task["goal"]).sum(1)

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return root_trail(history), Disc(tuple(task["goal"]))
