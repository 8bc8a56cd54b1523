"""The family of point navigation: reach a hidden goal in the plane."""

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.drawing import GOAL, Frame, History, plane, travel
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, ReferencePolicy
from metarl.tasks import Choice, Closed, Disjoint, Task, Tasks, TaskSpace, Uniform

_CORNERS = ((-2.0, -2.0), (-2.0, 2.0), (2.0, -2.0), (2.0, 2.0))


def _square(limit: float) -> Box:
    return Box(-limit, limit, (2,), np.float32)


@register_family("metarl/PointNavigation-v0")
class PointNavigation(TorchFamily):
    """Move a point in the plane to a hidden goal, of which only the rewards tell.

    | | |
    |---|---|
    | observation | position, ``(2,)`` |
    | action | displacement, clipped to ± .1 (promp ± .2) an axis |
    | reward | minus the distance to the goal after the move (promp: progress, only near the right corner) |
    | termination | maml: both coordinates within .01 of the goal; the others never |

    Variants: ``maml``, as pytorch-maml-rl has it; ``promp``, four corners with a sparse reward, as in ProMP;
    ``pearl``, 100 goals cut 80/20 and random starts, as in oyster.
    """

    paper = "Finn et al. 2017, Model-agnostic meta-learning, section 5.3"
    tasks = TaskSpace(goal=Uniform(-0.5, 0.5, shape=(2,)))
    ood = TaskSpace(goal=Uniform(-1.0, 1.0, shape=(2,)))
    default_task = {"goal": (0.3, 0.4)}
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = _square(0.1)
    horizon = 100
    draws = (2, 0)
    floor, optimum = "stand still", "straight to the goal"
    exact_optimum = True

    start_range: float = 0.0  # the start is uniform in ± start_range on each axis
    goal_size: float | None = 0.01  # half the side of the square around the goal that ends the episode
    corners: bool = False  # whether the reward is ProMP's sparse one

    presets = {
        "maml": {},
        "promp": {
            "tasks": TaskSpace(goal=Choice(_CORNERS)),
            "ood": None,
            "split": Closed(),
            "default_task": {"goal": (2.0, 2.0)},
            "action_space": _square(0.2),
            "start_range": 0.2,
            "goal_size": None,
            "corners": True,
            "exact_optimum": False,  # a longer stride across the edge of the start's diamond earns more
        },
        "pearl": {
            "tasks": TaskSpace(goal=Uniform(-1.0, 1.0, shape=(2,))),
            "ood": TaskSpace(goal=Uniform(-1.5, 1.5, shape=(2,))),
            "split": Disjoint(),
            "horizon": 20,
            "start_range": 1.0,
            "goal_size": None,
            "floor": "go to the centre",
        },
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"position": self.start_range * (2 * u - 1)}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        position = state["position"] + action
        offset = position - task["goal"]
        distance = torch.linalg.vector_norm(offset, dim=-1)
        if self.goal_size is None:
            terminated = torch.zeros_like(distance, dtype=torch.bool)
        else:
            terminated = (offset.abs() < self.goal_size).all(-1)
        reward = self._progress(state["position"], position, task["goal"]) if self.corners else -distance
        return {"position": position}, reward, terminated

    def _progress(self, before: Tensor, after: Tensor, goal: Tensor) -> Tensor:
        """Return the progress to the goal, 0 within the start's diamond and where another corner is nearer."""
        progress = torch.linalg.vector_norm(before - goal, dim=-1) - torch.linalg.vector_norm(after - goal, dim=-1)
        nearest = (torch.sign(after) == torch.sign(goal)).all(-1)
        return torch.where((after.abs().sum(-1) >= 0.5) & nearest, progress, 0)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["position"]

    def goals(self, tasks: Tasks) -> NDArray[np.float64]:
        return tasks.values["goal"]

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        reach = float(self.action_space.high[0])
        return {
            "stand still": FunctionPolicy(lambda observation, task, step: torch.zeros_like(observation)),
            "go to the centre": FunctionPolicy(lambda observation, task, step: (-observation / reach).clamp(-1, 1)),
            # Each axis moves on its own, so going as far as the limit lets it on both is optimal.
            "straight to the goal": FunctionPolicy(
                lambda observation, task, step: ((task["goal"][:, None] - observation) / reach).clamp(-1, 1)
            ),
        }

    def render(self, history: History, task: Task) -> Frame:
        way, goal = np.array([state["position"] for state in history]), task["goal"]
        # Half a side: room for every goal of the preset, and for where the point has gone.
        reach, furthest = float(self.action_space.high[0]), float(np.abs(way).max())
        half = max(7 * reach, 1.25 * float(np.abs(goal).max()), 1.1 * furthest)
        canvas = plane(half, 0.25 if half < 1 else 0.5)
        canvas.disc(goal, 11, None, GOAL)
        canvas.disc(goal, 4, GOAL)
        travel(canvas, way)
        canvas.caption(f"step {len(history) - 1}")
        return canvas.array()
