"""The family of random tabular Markov decision processes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.core.random import to_normal
from metarl.envs.drawing import AGENT, FAINT, GOAL, INK, MUTED, PALE, PAPER, RULE, Canvas, Frame, History, blend
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.envs.tabular_policies import PSRL, Planner
from metarl.family import register_family
from metarl.family.reference_policies import RandomPolicy, ReferencePolicy
from metarl.tasks import Dirichlet, Normal, Task, TaskSpace

_STATES, _ACTIONS = 10, 5


@register_family("metarl/TabularMDP-v0")
class TabularMDP(TorchFamily):
    """Act in a process of ten states and five actions with hidden transitions and mean rewards.

    | | |
    |---|---|
    | observation | the state, one-hot, ``(10,)`` |
    | action | one of five |
    | reward | normal with the mean of the state and action and standard deviation 1 |
    | termination | never; an episode is ten steps from state 0 |

    Variant: ``rl2``, as in the RL² paper, which has trials of n = 10, 25, 50, 75 and 100 episodes. Every process can be
    drawn in training, so nothing is out of distribution.
    """

    paper = "Duan et al. 2016, RL²: fast reinforcement learning via slow reinforcement learning, section 3.2"
    tasks = TaskSpace(
        transition=Dirichlet(1.0, (_STATES, _ACTIONS, _STATES)),  # (state, action, next state)
        mean_reward=Normal(1.0, 1.0, (_STATES, _ACTIONS)),
    )
    observation_space = Box(0.0, 1.0, (_STATES,), np.float32)
    action_space = Discrete(_ACTIONS)
    horizon = 10
    episodes_per_trial = 10
    draws = (0, 2)  # next state, reward
    floor, optimum = "random", "value iteration"  # whoever knows nothing of the task earns 1 a step
    exact_optimum = True

    presets = {"rl2": {}}

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        means = task["mean_reward"]
        start = means.new_zeros(len(means), dtype=torch.int64)
        return {"state": start, "action": start - 1}  # the last action, for the picture

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        row = torch.arange(len(action), device=action.device)
        chances = task["transition"][row, state["state"], action]
        # The last boundary is left out: rounding may put it below 1.
        following = (u[:, :1] > chances.cumsum(-1)[:, :-1]).sum(-1)
        reward = task["mean_reward"][row, state["state"], action] + to_normal(u[:, 1])
        terminated = torch.zeros_like(following, dtype=torch.bool)
        return {"state": following, "action": action}, reward, terminated

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return functional.one_hot(state["state"], _STATES).to(task["mean_reward"].dtype)

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "random": RandomPolicy(self.action_space),
            "psrl": PSRL(_STATES, _ACTIONS, self.horizon),
            "value iteration": Planner(self.horizon),
        }

    def render(self, history: History, task: Task) -> Frame:
        canvas = Canvas((-1.3, 2.9), (-1.3, 1.3), 640, 396)
        states = [int(state["state"]) for state in history]
        actions = [int(state["action"]) for state in history[1:]]
        _draw_ring(canvas, states)
        _draw_rewards(canvas, task["mean_reward"], states, actions)
        canvas.caption(f"step {len(history) - 1}")
        return canvas.array()


def _draw_ring(canvas: Canvas, states: Sequence[int]) -> None:
    """Draw the states on a ring, and the moves so far as chords from pale to dark."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(_STATES) / _STATES
    places = np.stack([np.cos(angle), np.sin(angle)], -1)
    for i, (a, b) in enumerate(pairwise(states)):
        shade = blend(PALE, AGENT, (i + 1) / (len(states) - 1))
        if a == b:
            canvas.disc(places[a] * 1.14, 9, None, shade)
            continue
        gap = (places[b] - places[a]) / np.linalg.norm(places[b] - places[a]) * 0.12
        canvas.arrow(places[a] + gap, places[b] - gap, shade, 2.2)
    for i, place in enumerate(places):
        here = i == states[-1]
        canvas.disc(place, 15, AGENT if here else PAPER, AGENT if i in states else FAINT)
        canvas.text(place, str(i), PAPER if here else INK if i in states else MUTED, 13)


def _draw_rewards(canvas: Canvas, mean: NDArray[Any], states: Sequence[int], actions: Sequence[int]) -> None:
    """Draw the mean rewards by state and action, vermilion where they are high, with a dot where one was collected."""
    width, height, left, top = 0.24, 0.2, 1.55, 1.0
    scale = max(1e-9, float(np.abs(mean).max()))
    for s in range(_STATES):
        canvas.text((left - 0.08, top - (s + 0.5) * height), str(s), INK if s == states[-1] else MUTED, 12, "rm")
        for a in range(_ACTIONS):
            share = float(mean[s, a]) / scale
            colour = blend(PAPER, GOAL if share > 0 else MUTED, abs(share) * 0.85)
            x, y = left + a * width, top - s * height
            canvas.rectangle((x, y), (x + width, y - height), colour, RULE)
    for s, a in zip(states[:-1], actions, strict=True):
        canvas.disc((left + (a + 0.5) * width, top - (s + 0.5) * height), 4.5, AGENT, PAPER)
    canvas.text((left + _ACTIONS * width / 2, top + 0.1), "mean reward by action", size=12)
