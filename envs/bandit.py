"""The family of Bernoulli bandits: k arms, each of which pays 1 with a probability of its own."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.envs.bandit_policies import Gittins, Greedy, Thompson
from metarl.envs.drawing import AGENT, FAINT, GOAL, INK, MUTED, PALE, PAPER, RULE, SUCCESS, Canvas, Frame, History
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, RandomPolicy, ReferencePolicy
from metarl.tasks import Fresh, Task, TaskSpace, Uniform


def _arms(k: int) -> dict[str, Any]:
    return {
        "tasks": TaskSpace(p=Uniform(0, 1, shape=(k,))),
        "action_space": Discrete(k),
        # Evenly spread over (0, 1), in no order.
        "default_task": {"p": tuple((0.6180339887 * (i + 1)) % 1 for i in range(k))},
    }


@register_family("metarl/BernoulliBandit-v0")
class BernoulliBandit(TorchFamily):
    """Pull arms of hidden worth; a pull is an episode of one step, and a trial is n pulls.

    | | |
    |---|---|
    | observation | always 0, ``(1,)`` |
    | action | the arm to pull, 0 to k - 1 |
    | reward | 1 with the arm's probability, else 0 |
    | termination | after every pull |

    Variants: ``k5``, ``k10`` and ``k50`` arms, as in the RL² paper, which has trials of n = 10, 100 and 500 pulls. The
    probabilities fill their whole range, so nothing is out of distribution.
    """

    paper = "Duan et al. 2016, RL²: fast reinforcement learning via slow reinforcement learning, section 3.1"
    split = Fresh(test=1000)
    observation_space = Box(0.0, 1.0, (1,), np.float32)
    horizon = 1
    episodes_per_trial = 100
    draws = (0, 1)
    floor, optimum = "random", "best arm"  # whoever knows nothing of the arms earns 1/2 a pull
    exact_optimum = True

    presets = {"k5": _arms(5), "k10": _arms(10), "k50": _arms(50)}

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        nothing = torch.zeros_like(task["p"][:, 0])
        return {"arm": nothing.long() - 1, "reward": nothing}  # of the last pull, for the picture

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        p = task["p"].gather(1, action[:, None])
        reward = (u < p).to(p.dtype)[:, 0]
        return {"arm": action, "reward": reward}, reward, torch.ones_like(action, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return torch.zeros_like(state["reward"])[:, None]

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        (k,) = self.tasks.parameters["p"].shape
        return {
            "random": RandomPolicy(self.action_space),
            "greedy": Greedy(k),
            "thompson": Thompson(k),
            "gittins": Gittins(k, self.episodes_per_trial),
            "best arm": FunctionPolicy(lambda observation, task, step: task["p"].argmax(-1, keepdim=True)),
        }

    def render(self, history: History, task: Task) -> Frame:
        p, arm, paid = task["p"], int(history[-1]["arm"]), bool(history[-1]["reward"])
        k, best = len(p), int(p.argmax())
        canvas = Canvas((-0.6 - 0.07 * k, k - 0.4 + 0.04 * k), (-0.14, 1.3), 480, 320)
        for level in (0.0, 0.5, 1.0):
            canvas.line([(-0.6, level), (k - 0.4, level)], FAINT if level == 0 else RULE, 1)
            canvas.text((-0.6 - 0.015 * k, level), f"{level:g}", anchor="rm", size=12)
        for i in range(k):
            canvas.rectangle((i - 0.36, 0), (i + 0.36, p[i]), AGENT if i == arm else PALE)
            if k <= 10:
                canvas.text((i, -0.06), str(i), INK if i == arm else MUTED, 12)
        tip = p[best] + (0.14 if best == arm else 0.02)
        canvas.arrow((best, tip + 0.11), (best, tip), GOAL, 2.5)
        if arm >= 0:
            canvas.disc((arm, p[arm] + 0.07), 9, SUCCESS if paid else PAPER, SUCCESS if paid else FAINT)
            canvas.text((arm, p[arm] + 0.07), str(int(paid)), PAPER if paid else MUTED, 12)
        canvas.caption("no pull yet" if arm < 0 else f"arm {arm} pays {int(paid)}")
        return canvas.array()
