"""Families of robots whose masses, inertias, frictions and dampings vary, each element on its own."""

from abc import abstractmethod
from typing import Any

import mujoco
import numpy as np

from metarl.envs.ant import Ant
from metarl.envs.drawing import History
from metarl.envs.engine.arrays import Array, join
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Camera
from metarl.envs.engine.physics import Data, TaskArrays
from metarl.envs.half_cheetah import ForwardCheetah
from metarl.family import register_family
from metarl.tasks import Disjoint, LogUniform, Task, TaskSpace

_SPREAD = 3.0  # factors are a base to the power of a uniform number in ± this
_BEYOND = 4.0  # ood
_PEARL = Disjoint(test=10, total=50)


def dynamics_factors(bodies: int, dofs: int, geoms: int, spread: float = _SPREAD) -> TaskSpace:
    """Return a space of factors on every element of the physics, as rand_param_envs draws them.

    A factor is 1.5, for dampings 1.3, to the power of a uniform number in ± ``spread``.
    """
    usual, damping = (1.5**-spread, 1.5**spread), (1.3**-spread, 1.3**spread)
    return TaskSpace(
        body_mass=LogUniform(*usual, shape=(bodies,)),
        body_inertia=LogUniform(*usual, shape=(bodies, 3)),
        dof_damping=LogUniform(*damping, shape=(dofs,)),
        geom_friction=LogUniform(*usual, shape=(geoms, 3)),
    )


def nominal_task(space: TaskSpace) -> dict[str, Any]:
    """Return the task whose factors are all 1: the model as it is."""
    return {name: np.ones(distribution.shape) for name, distribution in space.parameters.items()}


class RandomDynamics(MujocoFamily):
    """A family whose task parameters are factors on the fields of the model that have their names."""

    def physics(self, task: TaskArrays) -> dict[str, Array]:
        return {name: self.constant(name, factor) * factor for name, factor in task.items()}


class PlanarWalker(RandomDynamics):
    """A walker in a vertical plane, with the physics, observation and reward of rand_param_envs."""

    paper = "Rakelly et al. 2019 (rand_param_envs); Zintgraf et al. 2020; the bodies are those of Gymnasium's v5"
    horizon = 200
    camera = Camera(distance=4.0, elevation=-12.0, follows="torso", centre=(0.0, 0.0, 0.8), tile=0.5)

    def edit(self, spec: mujoco.MjSpec) -> None:
        spec.option.timestep = 0.004
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_RK4

    def start(self, task: TaskArrays, u: Array) -> tuple[Array, Array]:
        return self.around_start(u, 0.005, 0.005)

    def observe(self, data: Data, task: TaskArrays) -> Array:
        return join(data["qpos"][:, 1:], data["qvel"].clip(-10, 10))

    def outcome(
        self, before: Data, data: Data, action: Array, task: TaskArrays
    ) -> tuple[Array, Array, dict[str, Array]]:
        velocity = (data["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt
        reward = velocity + 1 - 0.001 * (action**2).sum(1)
        return reward, self.fallen(data["qpos"], data["qvel"]), {"velocity": velocity}

    def caption(self, history: History, task: Task) -> str:
        return f"{super().caption(history, task)}\n{self.speed(history):.2f} m/s"

    @abstractmethod
    def fallen(self, qpos: Array, qvel: Array) -> Array:
        """Return whether the episode ends, ``(environment,)``; positions 1 and 2 are height (m) and angle (rad)."""


@register_family("metarl/Walker2dRandParams-v0")
class Walker2dRandParams(PlanarWalker):
    """Run forward on legs of unknown mass, inertia, friction and damping.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities clipped to ± 10 (9): ``(17,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | velocity + 1 - .001‖action‖² |
    | termination | the torso is lower than .8 m or higher than 2 m, or leans by 1 rad |

    Physics as in rand_param_envs: a time step of .004 s, RK4, gears of 100, frictions of .9 except the left foot's 1.9.
    Variants: ``pearl`` (control steps of .02 s; 40 tasks to train on, 10 to test) and ``varibad`` (.016 s; fresh).
    ``ood`` draws factors from a range wider by a third.
    """

    tasks = dynamics_factors(8, 9, 8)
    ood = dynamics_factors(8, 9, 8, _BEYOND)
    default_task = nominal_task(tasks)
    asset = "walker2d_v5.xml"
    draws = (18, 0)
    presets = {
        "pearl": {"frame_skip": 5, "split": _PEARL},
        "varibad": {"frame_skip": 4},
    }

    def edit(self, spec: mujoco.MjSpec) -> None:
        super().edit(spec)
        spec.geom("foot_geom").friction[0] = 0.9

    def fallen(self, qpos: Array, qvel: Array) -> Array:
        height, angle = qpos[:, 1], qpos[:, 2]
        return (height <= 0.8) | (height >= 2) | (abs(angle) >= 1)


@register_family("metarl/HopperRandParams-v0")
class HopperRandParams(PlanarWalker):
    """Hop forward on a leg of unknown mass, inertia, friction and damping.

    | | |
    |---|---|
    | observation | positions but the first (5), velocities clipped to ± 10 (6): ``(11,)`` |
    | action | torques of the three joints in ± 1 |
    | reward | velocity + 1 - .001‖action‖² |
    | termination | the torso is at .7 m or lower or leans by .2 rad; an angle or a velocity reaches 100 |

    Physics as in rand_param_envs: a time step of .004 s, RK4, gears of 200, frictions of .9 except the foot's 2;
    control steps of .016 s. Variants: ``pearl`` (40 tasks to train on, 10 to test) and ``varibad`` (fresh). ``ood``
    draws factors from a range wider by a third.
    """

    tasks = dynamics_factors(5, 6, 5)
    ood = dynamics_factors(5, 6, 5, _BEYOND)
    default_task = nominal_task(tasks)
    asset = "hopper.xml"
    draws = (12, 0)
    frame_skip = 4
    presets = {"pearl": {"split": _PEARL}, "varibad": {}}

    def fallen(self, qpos: Array, qvel: Array) -> Array:
        height, angle = qpos[:, 1], qpos[:, 2]
        fast = (abs(join(qpos[:, 2:], qvel)) >= 100).any(1)
        return (height <= 0.7) | (abs(angle) >= 0.2) | fast


@register_family("metarl/HalfCheetahRandParams-v0")
class HalfCheetahRandParams(RandomDynamics, ForwardCheetah):
    """Run forward with a body of unknown mass, inertia, friction and damping.

    | | |
    |---|---|
    | observation | positions but the first (8), velocities (9): ``(17,)`` |
    | action | torques of the six joints in ± 1 |
    | reward | velocity - .1‖action‖², as in HalfCheetah-v5 |
    | termination | never |

    Factors as in Walker2dRandParams; ``ood`` draws them from a range wider by a third.
    """

    paper = "ours, after Walker2dRandParams; the physics are those of Gymnasium's HalfCheetah-v5"
    tasks = dynamics_factors(8, 9, 9)
    ood = dynamics_factors(8, 9, 9, _BEYOND)
    default_task = nominal_task(tasks)


@register_family("metarl/AntRandParams-v0")
class AntRandParams(RandomDynamics, Ant):
    """Run forward with a body of unknown mass, inertia, friction and damping.

    | | |
    |---|---|
    | observation | positions but the root's place (13), velocities (14): ``(27,)`` |
    | action | torques of the eight joints in ± 1 |
    | reward | velocity - .5‖action‖² - 5e-4‖contact forces clipped to ± 1‖² + 1, as in Ant-v5 |
    | termination | the root is lower than .2 m or higher than 1 m |

    Factors as in Walker2dRandParams; ``ood`` draws them from a range wider by a third.
    """

    paper = "ours, after Walker2dRandParams; the physics are those of Gymnasium's Ant-v5"
    tasks = dynamics_factors(14, 14, 14)
    ood = dynamics_factors(14, 14, 14, _BEYOND)
    default_task = nominal_task(tasks)
