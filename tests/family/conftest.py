"""Small families: two for the tests of the views, and one that the tests of the check break in many ways."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import FunctionPolicy, ReferencePolicy
from metarl.tasks import Choice, Closed, Disjoint, LogUniform, Task, TaskSpace, Uniform


@register_family("test/Walk-v0")
class Walk(TorchFamily):
    """A noisy walk to a hidden goal, which ends by accident at different times."""

    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2,)), scale=LogUniform(0.5, 2))
    ood = TaskSpace(goal=Uniform(-2, 2, shape=(2,)), scale=LogUniform(0.5, 2))
    default_task: ClassVar[Mapping[str, Any]] = {"goal": (0.5, -0.5), "scale": 1.0}
    observation_space = Box(-10, 10, (2,))
    action_space = Box(np.array([-0.1, 0.0], np.float32), np.array([0.1, 0.3], np.float32))
    horizon = 12
    draws = (2, 3)
    floor, optimum = "stay", "go"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fresh": {},
        "disjoint": {"split": Disjoint(test=5, total=20), "episodes_per_trial": 3},
        "closed": {
            "tasks": TaskSpace(goal=Choice(((1, 0), (0, 1))), scale=Choice((1.0,))),
            "default_task": {"goal": (1, 0), "scale": 1},
            "split": Closed(),
            "ood": None,
        },
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"position": 0.2 * (u - 0.5), "steps": torch.zeros_like(u[:, 0])}

    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        position = state["position"] + action + 0.02 * (u[:, :2] - 0.5)
        distance = torch.linalg.vector_norm(position - task["goal"], dim=-1)
        extras = {
            "success": distance < 0.2,
            "parts": position - task["goal"],
            "steps": state["steps"].long(),
            "d": distance,
        }
        return {"position": position, "steps": state["steps"] + 1}, -task["scale"] * distance, u[:, 2] < 0.08, extras

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["position"]

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "stay": FunctionPolicy(lambda observation, task, step: torch.zeros_like(observation)),
            "go": FunctionPolicy(lambda observation, task, step: 10 * (task["goal"][:, None] - observation)),
        }

    def render(self, history: Sequence[Mapping[str, NDArray[Any]]], task: Task) -> NDArray[np.uint8]:
        picture = np.zeros((8, 16, 3), np.uint8)
        picture[0, : len(history)] = 255
        picture[1, 0] = (128 + 100 * history[-1]["position"][0], 128 + 100 * task["goal"][0], 0)
        return picture


@register_family("test/Slots-v0")
class Slots(TorchFamily):
    """Slot machines numbered from 1, each with a hidden chance to pay; no pictures, no reference policies."""

    tasks = TaskSpace(chance=Uniform(0, 1, shape=(3,)))
    observation_space = Box(-1, 1, (1,))
    action_space = Discrete(3, start=1)
    horizon = 4
    episodes_per_trial = 2
    draws = (0, 1)

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"last": task["chance"].new_zeros(len(u), 1)}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        pays = (u < task["chance"].gather(1, action[:, None] - 1)).to(u.dtype)
        return {"last": pays}, pays[:, 0], torch.zeros_like(pays[:, 0], dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["last"]


@register_family("check/Sound-v0")
class Sound(TorchFamily):
    """Everything is as it should be.

    >>> env = gymnasium.make("check/Sound-v0")
    >>> env.reset(seed=0)[0].shape
    (2,)
    """

    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2,)))
    ood = TaskSpace(goal=Uniform(-2, 2, shape=(2,)))
    observation_space: Any = Box(-3, 3, (2,))
    action_space: Any = Box(-0.1, 0.1, (2,))
    horizon = 10
    draws = (2, 2)
    floor, optimum = "stay", "go"

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"position": u - 0.5}

    def step(self, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
        position = state["position"] + action + 0.01 * u
        distance = torch.linalg.vector_norm(position - task["goal"], dim=-1)
        return {"position": position}, -distance, distance < 0.01, {"near": distance < 0.2}

    def observe(self, state: Any, task: Any) -> Tensor:
        return state["position"]

    def reference_policies(self) -> Any:
        return {
            "stay": FunctionPolicy(lambda observation, task, step: torch.zeros_like(observation)),
            "go": FunctionPolicy(lambda observation, task, step: 10 * (task["goal"][:, None] - observation)),
        }


@pytest.fixture
def broken() -> Callable[..., str]:
    """Registers ``Sound`` with other attributes, and returns its id."""

    def register(**changes: Any) -> str:
        name = f"Broken{sum(name.startswith('Broken') for name in globals())}"
        body = {"__doc__": "Sound but for one mistake.", "__module__": __name__, **changes}
        globals()[name] = type(name, (Sound,), body)  # where pickle looks for it
        register_family(f"check/{name}-v0")(globals()[name])
        return f"check/{name}-v0"

    return register
