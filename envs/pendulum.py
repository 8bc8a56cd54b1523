"""A pendulum of varied make, whose motor may turn the wrong way or whose target may not be at the top."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.drawing import AGENT, GOAL, INK, PALE, RULE, Canvas
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Choice, Task, TaskSpace, Uniform

_TIME_STEP = 0.05  # s
_MAX_SPEED, _MAX_TORQUE = 8.0, 2.0  # rad/s, N m
# What a task does not name is as in Gymnasium's Pendulum-v1, and so is the default task.
_GYMNASIUM = {
    "mass": 1.0,  # kg
    "length": 1.0,  # m
    "gravity": 10.0,  # m/s²
    "sign": 1.0,  # -1: a positive torque turns clockwise
    "target": 0.0,  # rad, anticlockwise from the top
}
_CATCH = 0.5  # rad from the target, where a linear feedback takes over from pumping


@register_family("metarl/Pendulum-v0")
class Pendulum(TorchFamily):
    """Swing a pendulum up and hold it there, with Gymnasium's physics.

    | | |
    |---|---|
    | observation | cosine and sine of the angle from the top, angular velocity in ± 8 rad/s, ``(3,)`` |
    | action | torque in ± 2 N m, ``(1,)``; where ``sign`` is -1 it turns the other way |
    | reward | -(angle from the target² + .1 velocity² + .001 torque²) before the step |
    | termination | never |

    Variants: ``ranges`` varies mass, length and gravity. ``reversed`` varies gravity and hides which way the motor
    turns. ``target`` hides the angle at which the pendulum is to be held, under a gravity so weak that the motor can
    hold it anywhere. The start is uniform over all angles, with a velocity in ± 1 rad/s, as in Gymnasium.
    """

    paper = "the physics and the reward are those of Gymnasium's Pendulum-v1"
    tasks = TaskSpace(mass=Uniform(0.75, 1.25), length=Uniform(0.75, 1.25), gravity=Uniform(8.0, 12.0))
    ood = TaskSpace(mass=Uniform(0.5, 1.5), length=Uniform(0.5, 1.5), gravity=Uniform(5.0, 15.0))
    default_task: ClassVar[Mapping[str, Any]] = {"mass": 1.0, "length": 1.0, "gravity": 10.0}
    observation_space = Box(np.array([-1, -1, -_MAX_SPEED], np.float32), np.array([1, 1, _MAX_SPEED], np.float32))
    action_space = Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32)
    horizon = 200
    draws = (2, 0)
    floor, optimum = "swing up as by default", "swing up"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ranges": {"optimum": None},  # one feedback serves all of them: there is nothing to adapt to
        "reversed": {
            "tasks": TaskSpace(gravity=Uniform(8.0, 12.0), sign=Choice((-1.0, 1.0))),
            "ood": TaskSpace(gravity=Uniform(5.0, 15.0), sign=Choice((-1.0, 1.0))),
            "default_task": {"gravity": 10.0, "sign": 1.0},
        },
        "target": {
            "tasks": TaskSpace(gravity=Uniform(1.0, 3.0), target=Uniform(-math.pi, math.pi)),
            "ood": None,
            "default_task": {"gravity": 2.0, "target": 2.0},
            "floor": "come to rest",
        },
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        angle = math.pi * (2 * u[:, 0] - 1)
        return {"angle": angle, "velocity": 2 * u[:, 1] - 1, "torque": torch.zeros_like(angle)}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        of: dict[str, Any] = {**_GYMNASIUM, **task}
        angle, velocity = state["angle"], state["velocity"]
        torque = action[:, 0].clamp(-_MAX_TORQUE, _MAX_TORQUE)
        apart = _wrapped(angle - of["target"])
        cost = apart.square() + 0.1 * velocity.square() + 0.001 * torque.square()
        pull = 3 * of["gravity"] / (2 * of["length"]) * torch.sin(angle)
        push = 3.0 / (of["mass"] * of["length"] ** 2) * of["sign"] * torque
        velocity = (velocity + (pull + push) * _TIME_STEP).clamp(-_MAX_SPEED, _MAX_SPEED)
        after = {"angle": angle + velocity * _TIME_STEP, "velocity": velocity, "torque": torque}
        return after, -cost, torch.zeros_like(cost, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return torch.stack([torch.cos(state["angle"]), torch.sin(state["angle"]), state["velocity"]], -1)

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "random": RandomPolicy(self.action_space),
            "come to rest": FunctionPolicy(lambda observation, task, step: (-observation[..., 2:]).clamp(-1, 1)),
            "swing up as by default": FunctionPolicy(lambda observation, task, step: _swing_up(observation, {})),
            "swing up": FunctionPolicy(lambda observation, task, step: _swing_up(observation, task)),
        }

    def render(self, history: Sequence[Mapping[str, NDArray[Any]]], task: Task) -> NDArray[np.uint8]:
        of = {**_GYMNASIUM, **{name: float(value) for name, value in task.items()}}
        reach = of["length"] * 1.35
        canvas = Canvas((-reach, reach), (-reach, reach), 360, 360)
        canvas.line([(0, 0), _tip(of["length"] * 1.2, of["target"])], RULE, 2)
        canvas.disc(_tip(of["length"] * 1.2, of["target"]), 6, GOAL)
        earlier = [float(state["angle"]) for state in history[-13:-1:3]]
        for i, angle in enumerate(earlier):
            canvas.line([(0, 0), _tip(of["length"], angle)], PALE, 5, alpha=(i + 1) / len(earlier))
        now = history[-1]
        canvas.line([(0, 0), _tip(of["length"], float(now["angle"]))], AGENT, 6 + 6 * math.sqrt(of["mass"]))
        canvas.disc((0, 0), 5, INK)
        canvas.caption(f"step {len(history) - 1}, torque {float(now['torque']):+.1f} N m")
        return canvas.array()


def _wrapped(angle: Tensor) -> Tensor:
    """Map angles to [-π, π)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _tip(length: float, angle: float) -> tuple[float, float]:
    return -length * math.sin(angle), length * math.cos(angle)


def _swing_up(observation: Tensor, task: TaskTensors) -> Tensor:
    """Pump energy until the target is near, then hold there by a linear feedback (Åström and Furuta 2000, section 3).

    Returns actions in [-1, 1] ``(task, 1, 1)``; where the task names nothing they are those for Gymnasium's pendulum.
    """
    of = {name: task[name][:, None] if name in task else torch.tensor(value) for name, value in _GYMNASIUM.items()}
    cos, sin, velocity = observation.unbind(-1)
    moment, weight = of["mass"] * of["length"] ** 2 / 3, of["mass"] * of["gravity"] * of["length"] / 2
    apart = _wrapped(torch.atan2(sin, cos) - of["target"])
    energy = 0.5 * moment * velocity.square() + weight * (cos - torch.cos(of["target"]))
    pump = -4.0 * energy * torch.where(velocity == 0, 1.0, velocity.sign())
    hold = -weight * torch.sin(of["target"] + apart) - moment * (16.0 * apart + 8.0 * velocity)
    can_hold = (weight * torch.sin(of["target"] + apart)).abs() < 0.9 * _MAX_TORQUE
    torque = torch.where((apart.abs() < _CATCH) | (can_hold & (weight < _MAX_TORQUE)), hold, pump)
    return (of["sign"] * torque / _MAX_TORQUE).clamp(-1, 1)[..., None]
