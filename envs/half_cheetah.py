"""Families of a cheetah that runs in a vertical plane: how fast, or in which direction, is hidden."""

from collections.abc import Sequence

from metarl.envs.drawing import History
from metarl.envs.engine.arrays import Array, join
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Arrow, Camera, Overlay
from metarl.envs.engine.physics import Data, TaskArrays
from metarl.family import register_family
from metarl.tasks import Choice, Closed, Disjoint, Task, TaskSpace, Uniform

_TORSO = "torso"


class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5; a subclass defines ``pay``, the reward of a velocity."""

    asset = "half_cheetah.xml"
    draws = (18, 0)
    camera = Camera(distance=3.2, elevation=-12.0, follows=_TORSO, centre=(0.0, 0.0, 0.5), tile=0.5)
    horizon = 200
    control_cost: float = 0.05  # cost of a control step for each unit of ‖action‖²
    sees_torso: bool = True  # whether the observation ends with the torso's place in the world, in m (3)

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        return self.around_start(u, 0.1, 0.1, normal=True)

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("xpos",) if self.sees_torso else ()

    def observe(self, data: Data, task: TaskArrays) -> Array:
        if self.sees_torso:
            return join(data["qpos"][:, 1:], data["qvel"], data["xpos"][:, self.body(_TORSO)])
        return join(data["qpos"][:, 1:], data["qvel"])

    def outcome(
        self, before: Data, data: Data, action: Array, task: TaskArrays
    ) -> tuple[Array, None, dict[str, Array]]:
        velocity = (data["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt
        reward = self.pay(velocity, task) - self.control_cost * (action**2).sum(1)
        return reward, None, {"velocity": velocity}

    def pay(self, velocity: Array, task: TaskArrays) -> Array:
        """Return the reward ``(environment,)`` of a velocity in m/s, before the cost of the controls."""
        return velocity

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}\n{self.speed(history):.2f} m/s"


class ForwardCheetah(HalfCheetah):
    """A cheetah with the observation and reward of HalfCheetah-v5: it runs forward as fast as it can."""

    sees_torso = False
    control_cost = 0.1


@register_family("metarl/HalfCheetahVel-v0")
class HalfCheetahVel(HalfCheetah):
    r"""Run forward at a hidden velocity.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9), place of the torso (3): ``(20,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | -\|velocity - the task's\| - .05‖action‖² |
    | termination | never |

    The velocity is the root's displacement over a control step of .05 s. Variants: ``pearl``, ``varibad``, ``promp``
    (0 to 3 m/s, 200 steps; the last without the torso's place) and ``maml`` (0 to 2 m/s, 100 steps). PEARL's code draws
    its 130 tasks once, with a fixed seed, so that all its published seeds share them, as ours do. ``ood`` is faster, by
    up to 1 m/s.
    """

    paper = "Finn et al. 2017, section 5.3; Rakelly et al. 2019; the physics are those of Gymnasium's HalfCheetah-v5"
    tasks = TaskSpace(velocity=Uniform(0.0, 3.0))
    ood = TaskSpace(velocity=Uniform(3.0, 4.0))
    default_task = {"velocity": 1.5}

    presets = {
        "pearl": {"split": Disjoint(test=30, total=130)},
        "varibad": {},
        "promp": {"sees_torso": False},
        "maml": {
            "tasks": TaskSpace(velocity=Uniform(0.0, 2.0)),
            "ood": TaskSpace(velocity=Uniform(2.0, 3.0)),
            "default_task": {"velocity": 1.0},
            "horizon": 100,
        },
    }

    def pay(self, velocity: Array, task: TaskArrays) -> Array:
        return -abs(velocity - task["velocity"])

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}, to be {task['velocity']:.2f}"


@register_family("metarl/HalfCheetahDir-v0")
class HalfCheetahDir(HalfCheetah):
    """Run forward or backward; the direction is hidden.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9), place of the torso (3): ``(20,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | direction · velocity - .05‖action‖² |
    | termination | never |

    Variants: ``pearl``, ``varibad``, ``promp`` (200 steps; the last without the torso's place) and ``maml`` (100
    steps). There are two tasks, so train and test are the same, and no others: there is no ``ood``.
    """

    paper = HalfCheetahVel.paper
    tasks = TaskSpace(direction=Choice((-1.0, 1.0)))
    split = Closed()
    default_task = {"direction": 1.0}

    presets = {
        "pearl": {},
        "varibad": {},
        "promp": {"sees_torso": False},
        "maml": {"horizon": 100},
    }

    def pay(self, velocity: Array, task: TaskArrays) -> Array:
        return task["direction"] * velocity

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return (Arrow((float(task["direction"]), 0.0)),)
