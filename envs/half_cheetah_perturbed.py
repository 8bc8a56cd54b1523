"""Families of a cheetah that runs forward with a damaged motor, under a load, or on a slope."""

import math
from collections.abc import Sequence

from metarl.envs.drawing import FAINT, History
from metarl.envs.engine.arrays import Array, namespace
from metarl.envs.engine.overlays import Overlay, Tint
from metarl.envs.engine.physics import TaskArrays
from metarl.envs.half_cheetah import ForwardCheetah
from metarl.family import register_family
from metarl.tasks import Choice, LogUniform, Task, TaskSpace, Uniform

_PHYSICS = "the physics are those of Gymnasium's HalfCheetah-v5"
_GRAVITY = 9.81  # m/s²


@register_family("metarl/DamagedLimb-v0")
class DamagedLimb(ForwardCheetah):
    """Run forward while one of the motors is weak; which one, and how weak, is hidden.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9): ``(17,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | velocity - .1‖action‖², as in HalfCheetah-v5 |
    | termination | never |

    A task is the damaged motor and the strength that is left of it, 0 to one half; ``ood``: the motor pulls the wrong
    way, with up to half of its strength.
    """

    paper = f"ours, after Nagabandi et al. 2019; {_PHYSICS}"
    tasks = TaskSpace(motor=Choice(tuple(range(6))), strength=Uniform(0.0, 0.5))
    ood = TaskSpace(motor=Choice(tuple(range(6))), strength=Uniform(-0.5, 0.0))
    default_task = {"motor": 0, "strength": 0.5}

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        gear = self.constant("actuator_gear", task["motor"])
        hit = _one_hot(task["motor"], len(gear))
        return {"actuator_gear": gear * (1 - hit + hit * task["strength"][:, None])[..., None]}

    def overlays(self, history: History, task: Task) -> Sequence[Overlay]:
        return (Tint(self._limb(task), FAINT),)

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}\n{self._limb(task)} at {100 * task['strength']:.0f} %"

    def _limb(self, task: Task) -> str:
        joint = self.model.actuator_trnid[int(task["motor"]), 0]
        return str(self.model.body(self.model.jnt_bodyid[joint]).name)


@register_family("metarl/Payload-v0")
class Payload(ForwardCheetah):
    """Run forward under a hidden load.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9): ``(17,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | velocity - .1‖action‖², as in HalfCheetah-v5 |
    | termination | never |

    The torso's mass and inertia are multiplied by 1 to 2, uniform in the logarithm; ``ood``: by 2 to 3.
    """

    paper = f"ours; {_PHYSICS}"
    tasks = TaskSpace(load=LogUniform(1.0, 2.0))
    ood = TaskSpace(load=LogUniform(2.0, 3.0))
    default_task = {"load": 1.0}

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        load, torso = task["load"], self.body("torso")
        factor = 1 + _one_hot(0 * load + torso, self.model.nbody) * (load - 1)[:, None]
        inertia = self.constant("body_inertia", load) * factor[..., None]
        return {"body_mass": self.constant("body_mass", load) * factor, "body_inertia": inertia}

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}\ntorso {task['load']:.2f} times as heavy"


@register_family("metarl/Slope-v0")
class Slope(ForwardCheetah):
    """Run up or down a hidden slope.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9): ``(17,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | velocity - .1‖action‖², as in HalfCheetah-v5 |
    | termination | never |

    The ground is level and gravity is tilted against it by the task's angle of at most .2 rad: where it is positive the
    cheetah runs uphill. ``ood``: .2 to .35 rad, either way.
    """

    paper = f"ours; {_PHYSICS}"
    tasks = TaskSpace(angle=Uniform(-0.2, 0.2))
    ood = TaskSpace(angle=Uniform(-0.35, 0.35))
    default_task = {"angle": 0.0}

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        xp, angle = namespace(task["angle"]), task["angle"]
        return {"opt.gravity": -_GRAVITY * xp.stack([xp.sin(angle), 0 * angle, xp.cos(angle)], axis=1)}

    def caption(self, history: History, task: Task) -> str:
        slope = f"{abs(math.degrees(task['angle'])):.0f}° {'up' if task['angle'] >= 0 else 'down'}hill"
        return f"{super().caption(history, task)}\n{slope}"


def _one_hot(index: Array, n: int) -> Array:
    """Return ``(environment, n)``: 1 where the column is the row's index, else 0."""
    xp = namespace(index)
    columns = xp.arange(n, dtype=index.dtype, device=index.device)
    return xp.astype(columns == index[:, None], index.dtype)
