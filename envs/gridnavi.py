"""The family GridNavi: find the goal's cell, then go there in every episode."""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.types import Outputs, Params, Transition
from metarl.envs.drawing import AGENT, FAINT, GOAL, PANEL, PAPER, RULE, Canvas, Frame, History
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Choice, Closed, Task, Tasks, TaskSpace

_SIZE = 5
_STAY, _UP, _RIGHT, _DOWN, _LEFT = range(5)
# No goal lies in the 2 x 2 corner of the start.
GOALS = tuple((float(x), float(y)) for x in range(_SIZE) for y in range(_SIZE) if x > 1 or y > 1)
# From step 2 on a new cell at every step, and none of the corner: no first episode can earn more.
_SWEEP = (*(_RIGHT,) * 4, *(_UP, _LEFT, _LEFT), *(_UP, _RIGHT, _RIGHT), *(_UP, _LEFT, _LEFT), _UP, _RIGHT)


@register_family("metarl/GridNavi-v0")
class GridNavi(TorchFamily):
    """Walk on five by five cells to the hidden one that is rewarded.

    | | |
    |---|---|
    | observation | cell (x, y), ``(2,)`` |
    | action | 0 stay, 1 up (y + 1), 2 right (x + 1), 3 down, 4 left; the walls hold |
    | reward | 1 on the goal after the move, -.1 elsewhere |
    | termination | never; the goal does not hold the walker, staying does |

    Variant: ``varibad``, as in varibad: start at (0, 0), 21 goals, trained and tested on all of them, four episodes a
    trial.
    """

    paper = "Zintgraf et al. 2020, VariBAD, section 5.1"
    tasks = TaskSpace(goal=Choice(GOALS))
    split = Closed()
    default_task = {"goal": (3.0, 4.0)}
    observation_space = Box(0.0, _SIZE - 1.0, (2,), np.float32)
    action_space = Discrete(5)
    horizon = 15
    episodes_per_trial = 4
    floor, optimum = "sweep", "straight to the goal"
    exact_optimum = True

    presets = {"varibad": {}}

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"cell": torch.zeros_like(task["goal"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        x_move = (action == _RIGHT).long() - (action == _LEFT).long()
        y_move = (action == _UP).long() - (action == _DOWN).long()
        cell = (state["cell"] + torch.stack([x_move, y_move], dim=-1)).clamp(0, _SIZE - 1)
        at_goal = (cell == task["goal"]).all(-1)
        reward = torch.where(at_goal, torch.ones_like(cell[:, 0]), -0.1)
        return {"cell": cell}, reward, torch.zeros_like(at_goal)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["cell"]

    def goals(self, tasks: Tasks) -> NDArray[np.float64]:
        return tasks.values["goal"]

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "random": RandomPolicy(self.action_space),
            "sweep": GridSweep(),
            "straight to the goal": FunctionPolicy(
                lambda observation, task, step: _straight(observation, task["goal"][:, None])
            ),
        }

    def render(self, history: History, task: Task) -> Frame:
        canvas = Canvas((-0.7, 4.7), (-0.65, 5.0), height=418)
        for x in range(_SIZE):
            for y in range(_SIZE):
                start = x < 2 and y < 2
                corner = np.array([x - 0.46, y - 0.46])
                canvas.rectangle(corner, corner + 0.92, PANEL if start else PAPER, RULE, 5)
        goal = np.asarray(task["goal"])
        canvas.rectangle(goal - 0.46, goal + 0.46, GOAL, None, 5)
        canvas.disc((0, 0), 6, None, FAINT)
        canvas.trail([state["cell"] for state in history], 4)
        canvas.disc(history[-1]["cell"], 14, AGENT, PAPER)
        canvas.caption(f"step {len(history) - 1}")
        return canvas.array()


class GridSweep(ReferencePolicy):
    """Visits cell after cell until it is rewarded, then stays; it begins anew in every episode.

    It remembers nothing of earlier episodes, and no policy can earn more in a first one: 4.00 on average.
    """

    def begin_episode(self, params: Params, state: dict[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        step = torch.zeros_like(state["step"])
        return {"step": step, "found": step.bool()}

    def act(
        self, params: Params, state: dict[str, Tensor], observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        way = torch.tensor(_SWEEP, device=observation.device)[state["step"]]
        return torch.where(state["found"], _STAY, way)[:, None], {}

    def observe(self, params: Params, state: dict[str, Tensor], transition: Transition) -> dict[str, Tensor]:
        return {"step": state["step"] + 1, "found": state["found"] | (transition.reward[:, 0] > 0)}


def _straight(observation: Tensor, goal: Tensor) -> Tensor:
    """Return the next action of a shortest way to the goal, sideways first."""
    x, y = (goal - observation).unbind(-1)
    sideways = torch.where(x > 0, _RIGHT, _LEFT)
    upwards = torch.where(y > 0, _UP, _DOWN)
    return torch.where(x != 0, sideways, torch.where(y != 0, upwards, _STAY))
