"""The family of cart-poles: lengths, masses and forces vary, and in one variant the direction of the push."""

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.envs.drawing import AGENT, GOAL, INK, MUTED, PALE, PAPER, RULE, Canvas, Frame, History
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Choice, Task, TaskSpace, Uniform

_TIME_STEP = 0.02  # s
_TRACK = 2.4  # m, from the middle to either end
_TILT = 12 * 2 * math.pi / 360  # rad
# Feedback on position, velocity, angle and angular velocity.
_BALANCE = (0.05, 0.05, 1.0, 0.26)
_SWITCH, _SWITCH_AT = (0.1, 0.0, 1.0, 0.05), 0.09
# What a task does not name is as in Gymnasium's CartPole-v1, and so is the default task.
_GYMNASIUM = {
    "half_length": 0.5,  # m, from the hinge to the pole's centre
    "pole_mass": 0.1,  # kg
    "cart_mass": 1.0,  # kg
    "gravity": 9.8,  # m/s²
    "force": 10.0,  # N
    "sign": 1.0,  # -1: action 1 pushes to the left
}


@register_family("metarl/CartPole-v0")
class CartPole(TorchFamily):
    """Balance a pole of hidden dynamics on a cart, with the physics of Gymnasium's CartPole-v1.

    | | |
    |---|---|
    | observation | position (m), velocity (m/s), angle (rad), angular velocity (rad/s), ``(4,)`` |
    | action | push to the left (0) or to the right (1); where ``sign`` is -1 the other way round |
    | reward | 1 a step |
    | start | all four uniform in ± .05 |
    | termination | the cart leaves ± 2.4 m or the pole leans by more than 12 degrees |

    Variants: ``ranges`` varies lengths, masses, gravity and force. It asks for no adaptation, since one linear feedback
    balances all of them (``balance``). ``reversed`` hides which way the push goes; its floor is the best a linear
    feedback can do, right on half of the tasks. A nonlinear one without memory balances those too (``switch``), so a
    score above the floor does not by itself show adaptation. ``ood`` goes on to poles of .1 to 2 m half length and
    forces of 2 to 30 N.
    """

    paper = "Barto, Sutton and Anderson 1983; the physics are those of Gymnasium's CartPole-v1"
    tasks = TaskSpace(
        half_length=Uniform(0.25, 1.0),
        pole_mass=Uniform(0.05, 0.5),
        cart_mass=Uniform(0.5, 2.0),
        gravity=Uniform(5.0, 15.0),
        force=Uniform(5.0, 20.0),
    )
    ood = TaskSpace(**{**tasks.parameters, "half_length": Uniform(0.1, 2.0), "force": Uniform(2.0, 30.0)})
    default_task = {k: v for k, v in _GYMNASIUM.items() if k != "sign"}
    observation_space = Box(
        np.array([-2 * _TRACK, -np.inf, -2 * _TILT, -np.inf], np.float32),
        np.array([2 * _TRACK, np.inf, 2 * _TILT, np.inf], np.float32),
    )
    action_space = Discrete(2)
    horizon = 200
    draws = (4, 0)
    floor = "balance"

    presets = {
        "ranges": {},
        "reversed": {
            "tasks": TaskSpace(half_length=Uniform(0.25, 1.0), force=Uniform(5.0, 20.0), sign=Choice((-1.0, 1.0))),
            "ood": TaskSpace(half_length=Uniform(0.1, 2.0), force=Uniform(2.0, 30.0), sign=Choice((-1.0, 1.0))),
            "default_task": {"half_length": 0.5, "force": 10.0, "sign": 1.0},
            "optimum": "balance, told the sign",
        },
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        motion = 0.1 * u - 0.05
        return {"motion": motion, "push": torch.zeros_like(motion[:, 0])}  # the last push, for the picture

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        of: dict[str, Any] = {**_GYMNASIUM, **task}
        position, velocity, angle, angular_velocity = state["motion"].unbind(-1)
        push = (2 * action - 1).to(position.dtype) * of["sign"] * of["force"]
        mass, moment = of["cart_mass"] + of["pole_mass"], of["pole_mass"] * of["half_length"]
        cos, sin = torch.cos(angle), torch.sin(angle)
        drive = (push + moment * angular_velocity.square() * sin) / mass
        angular_acceleration = (of["gravity"] * sin - cos * drive) / (
            of["half_length"] * (4 / 3 - of["pole_mass"] * cos.square() / mass)
        )
        acceleration = drive - moment * angular_acceleration * cos / mass
        rate = torch.stack([velocity, acceleration, angular_velocity, angular_acceleration], dim=-1)
        motion = state["motion"] + _TIME_STEP * rate
        terminated = (motion[:, 0].abs() > _TRACK) | (motion[:, 2].abs() > _TILT)
        return {"motion": motion, "push": push}, torch.ones_like(position), terminated

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["motion"]

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        reference_policies: dict[str, ReferencePolicy] = {
            "random": RandomPolicy(self.action_space),
            "balance": FunctionPolicy(lambda observation, task, step: (_lean(observation, *_BALANCE) > 0).long()),
            "switch": FunctionPolicy(lambda observation, task, step: _switch(_lean(observation, *_SWITCH)).long()),
        }
        if "sign" in self.tasks.parameters:
            reference_policies["balance, told the sign"] = FunctionPolicy(
                lambda observation, task, step: (_lean(observation, *_BALANCE) * task["sign"][:, None] > 0).long()
            )
        return reference_policies

    def render(self, history: History, task: Task) -> Frame:
        of = {**_GYMNASIUM, **{name: float(value) for name, value in task.items()}}
        length, now, push = 2 * of["half_length"], history[-1]["motion"], float(history[-1]["push"])
        zoom = max(1.0, (length + 0.3) / 2.3)  # so that long poles fit
        canvas = Canvas((-2.75 * zoom, 2.75 * zoom), (-0.75 * zoom, 2.46 * zoom), 480, 280)
        canvas.line([(-_TRACK, -0.3), (_TRACK, -0.3)], MUTED, 2)
        for end in (-_TRACK, _TRACK):
            canvas.line([(end, -0.38), (end, -0.22)], MUTED, 2)
        hinge = (float(now[0]), 0.0)
        allowed = [_tip(hinge[0], 1.08 * length, lean) for lean in np.linspace(-_TILT, _TILT, 9)]
        canvas.polygon([hinge, *allowed], RULE, 0.5)
        earlier = [state["motion"] for state in history[-25:-1:4]]
        for i, (x, _, lean, _) in enumerate(earlier):
            canvas.line([(x, 0), _tip(x, length, lean)], PALE, 4, alpha=(i + 1) / len(earlier))
        half, width = 0.32 * math.sqrt(of["cart_mass"]), 5 + 6 * math.sqrt(of["pole_mass"] / 0.5)
        canvas.rectangle((hinge[0] - half, -0.22), (hinge[0] + half, 0.08), INK, None, 4)
        for side in (-0.6, 0.6):
            canvas.disc((hinge[0] + side * half, -0.22), 6 / zoom, INK, PAPER)
        canvas.line([hinge, _tip(hinge[0], length, now[2])], AGENT, width)
        canvas.disc(hinge, 4, PAPER)
        if push:
            canvas.arrow((hinge[0], -0.52), (hinge[0] + push / 14, -0.52), GOAL, 3)
            behind = (hinge[0] - math.copysign(0.08, push), -0.52)
            canvas.text(behind, f"{abs(push):.0f} N", GOAL, 12, "rm" if push > 0 else "lm")
        canvas.caption(f"step {len(history) - 1}")
        return canvas.array()


def _lean(observation: Tensor, *weights: float) -> Tensor:
    """Weigh position, velocity, angle and angular velocity; where the sum is positive, push to the right."""
    return observation @ observation.new_tensor(weights)


def _switch(lean: Tensor) -> Tensor:
    """Return whether to push to the right: with the lean while it is small, and against it beyond.

    With the sign right this is balancing. With it wrong both sides drive the lean to the limit between them and hold it
    there: balance again, with the cart standing off the middle.
    """
    return (lean > 0) ^ (lean.abs() > _SWITCH_AT)


def _tip(x: float, length: float, lean: float) -> tuple[float, float]:
    return x + length * math.sin(lean), length * math.cos(lean)
