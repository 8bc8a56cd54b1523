"""The family of the sparse semicircle: a hidden goal on an arc, rewarded only from close by."""

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.types import Outputs, Params, Transition
from metarl.envs.drawing import GOAL, MUTED, Frame, History, plane, travel
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, ReferencePolicy
from metarl.tasks import Disjoint, Fresh, Grid, Task, Tasks, TaskSpace, Uniform

_GOAL_RADIUS = 0.2  # the sparse reward is paid within it
_REACH = 0.1  # displacement a step and axis


def goal_at(angle: Tensor) -> Tensor:
    """Return the goal ``(environment, 2)`` on the unit circle at angles ``(environment,)`` in rad."""
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


@register_family("metarl/SparseSemicircle-v0")
class SparseSemicircle(TorchFamily):
    """Move a point from the centre of a half circle to a hidden goal on its arc, rewarded only from close by.

    | | |
    |---|---|
    | observation | position, ``(2,)`` |
    | action | displacement, clipped to ± .1 an axis |
    | reward | 1 - d where the goal is at most .2 away, else 0; d is the distance after the move |
    | extras | ``dense_reward``, -d: what PEARL learns from; ``success``, whether the goal is at most .2 away |
    | termination | never |

    Variants: ``pearl``, as oyster has it: 100 angles cut 80/20, 20 steps; ``varibad``, as varibad has it: angles drawn
    uniformly, 100 steps, three episodes a trial. ``ood`` is the other half of the circle.
    """

    paper = "Rakelly et al. 2019, PEARL, section 6.3"
    tasks = TaskSpace(angle=Grid(0, np.pi, 100))
    ood = TaskSpace(angle=Uniform(np.pi, 2 * np.pi))
    split = Disjoint(val_space=TaskSpace(angle=Uniform(0, np.pi)))  # val lies between the 100 angles, held out of both
    default_task = {"angle": 20 * np.pi / 99}
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-_REACH, _REACH, (2,), np.float32)
    horizon = 20
    episodes_per_trial = 20
    floor, optimum = "best sweep", "straight to the goal"
    exact_optimum = True

    sweep: tuple[float, float] = (0.83, 0.8)  # radius and first angle: the best of a search, for 20 steps

    presets = {
        "pearl": {},
        "varibad": {
            "paper": "Zintgraf et al. 2021, VariBAD (journal version), sparse 2D navigation",
            "tasks": TaskSpace(angle=Uniform(0, np.pi)),
            "split": Fresh(),
            "default_task": {"angle": 0.2 * np.pi},
            "horizon": 100,
            "episodes_per_trial": 3,
            "sweep": (0.88, 0.17),
        },
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        angle = task["angle"]
        return {"position": angle.new_zeros(len(angle), 2)}

    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        position = state["position"] + action
        distance = torch.linalg.vector_norm(position - goal_at(task["angle"]), dim=-1)
        found = distance <= _GOAL_RADIUS
        reward = torch.where(found, 1 - distance, 0)
        terminated = torch.zeros_like(distance, dtype=torch.bool)
        return (
            {"position": position},
            reward,
            terminated,
            {"dense_reward": -distance, "success": found.to(distance.dtype)},
        )

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["position"]

    def goals(self, tasks: Tasks) -> NDArray[np.float64]:
        return goal_at(torch.from_numpy(tasks.values["angle"])).numpy()

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "sweep": ArcSweep(0.9, 0.1, self.horizon),  # the same in every variant
            "best sweep": ArcSweep(*self.sweep, self.horizon),
            # Each axis moves on its own, so going as far as the limit lets it on both is optimal.
            "straight to the goal": FunctionPolicy(
                lambda observation, task, step: _towards(goal_at(task["angle"])[:, None], observation)
            ),
        }

    def render(self, history: History, task: Task) -> Frame:
        canvas = plane(1.35, 0.5)
        goal = np.array([np.cos(task["angle"]), np.sin(task["angle"])])
        half = np.linspace(0, np.pi, 60) + np.pi * float(goal[1] < 0)
        canvas.line(np.stack([np.cos(half), np.sin(half)], -1), MUTED, 1.5)
        canvas.disc(goal, _GOAL_RADIUS * 400 / 2.7, GOAL, alpha=0.25)
        canvas.disc(goal, 4, GOAL)
        travel(canvas, np.array([state["position"] for state in history]))
        canvas.caption(f"step {len(history) - 1}")
        return canvas.array()


class ArcSweep(ReferencePolicy):
    """Walks along the arc until it is rewarded, then goes to the goal; it begins anew in every episode.

    It remembers nothing of earlier episodes. It knows the arc, so one reward (its distance to the goal) leaves two
    places, of which it tries the one ahead first.
    """

    def __init__(self, radius: float, first_angle: float, horizon: int) -> None:
        self._way = torch.tensor(_sweep(radius, first_angle, horizon))

    def begin_episode(self, params: Params, state: dict[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        step = torch.zeros_like(state["step"])
        nowhere = torch.zeros(*step.shape, 2, device=step.device)
        return {"step": step, "found": step.bool(), "goal": nowhere, "other": nowhere}

    def act(
        self, params: Params, state: dict[str, Tensor], observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        sweeping = self._way.to(observation)[state["step"]]
        target = torch.where(state["found"][:, None], state["goal"], sweeping)
        return _towards(target[:, None], observation), {}

    def observe(self, params: Params, state: dict[str, Tensor], transition: Transition) -> dict[str, Tensor]:
        position, reward = transition.next_observation[:, 0], transition.reward[:, 0]
        radius = torch.linalg.vector_norm(position, dim=-1)
        cosine = (1 + radius**2 - (1 - reward) ** 2) / (2 * radius)
        ahead, aside = torch.atan2(position[:, 1], position[:, 0]), torch.arccos(cosine.clamp(-1, 1))
        contact = (reward > 0) & ~state["found"]
        goal = torch.where(contact[:, None], goal_at(ahead + aside), state["goal"])
        other = torch.where(contact[:, None], goal_at(ahead - aside), state["other"])
        expected = 1 - torch.linalg.vector_norm(position - goal, dim=-1)
        wrong = state["found"] & ((expected - reward).abs() > 0.02)
        goal, other = torch.where(wrong[:, None], other, goal), torch.where(wrong[:, None], goal, other)
        return {"step": state["step"] + 1, "found": state["found"] | contact, "goal": goal, "other": other}


def _towards(target: Tensor, position: Tensor) -> Tensor:
    return ((target - position) / _REACH).clamp(-1, 1)


def _sweep(radius: float, first_angle: float, horizon: int) -> NDArray[np.float32]:
    """Return positions ``(horizon, 2)``: to the first angle, then along the circle as fast as the limit allows."""
    position, angle, way = np.zeros(2), first_angle, []
    advances = np.linspace(0, 0.2, 2001)  # candidates, radians a step
    for _ in range(horizon):
        target = radius * np.array([np.cos(angle), np.sin(angle)])
        if np.abs(target - position).max() < 1e-9:
            ahead = radius * np.stack([np.cos(angle + advances), np.sin(angle + advances)], -1)
            within = np.abs(ahead - position).max(-1) <= _REACH
            angle = min(angle + float(advances[within].max()), np.pi - 0.1)
            target = radius * np.array([np.cos(angle), np.sin(angle)])
        position = position + np.clip(target - position, -_REACH, _REACH)
        way.append(position)
    return np.array(way, dtype=np.float32)
