"""A task family of one's own: a boat keeps its station in a current that it cannot see.

``metarl check family:me/Boat-v0`` checks it, ``metarl train maml family:me/Boat-v0`` trains on it.
"""

import gymnasium
import torch
from gymnasium.spaces import Box

from metarl import FunctionPolicy, TaskSpace, TorchFamily, Uniform, check_family, register_family


@register_family("me/Boat-v0")
class Boat(TorchFamily):
    """A boat that keeps its station at a buoy, in a steady current that it cannot see."""

    tasks = TaskSpace(current=Uniform(-0.08, 0.08, shape=(2,)))
    ood = TaskSpace(current=Uniform(-0.1, 0.1, shape=(2,)))
    observation_space, action_space = Box(-8, 8, (2,)), Box(-0.1, 0.1, (2,))
    horizon, draws = 40, (0, 2)  # control steps; uniforms that a reset and a step need
    floor, optimum = "steer home", "steer home against the current"

    def reset(self, task, u):
        return {"offset": torch.zeros_like(task["current"])}

    def step(self, state, action, task, u):
        offset = state["offset"] + action + task["current"] + 0.02 * (u - 0.5)
        distance = torch.linalg.vector_norm(offset, dim=-1)
        return {"offset": offset}, -distance, torch.zeros_like(distance, dtype=torch.bool)

    def observe(self, state, task):
        return state["offset"]

    def reference_policies(self):
        return {
            self.floor: FunctionPolicy(lambda offset, task, step: -10 * offset),
            self.optimum: FunctionPolicy(lambda offset, task, step: -10 * (offset + task["current"][:, None])),
        }


if __name__ == "__main__":
    print(check_family("me/Boat-v0"))
    env = gymnasium.make("me/Boat-v0", tasks="train", episodes_per_trial=3)  # a new current every 3 resets
    observation, info = env.reset(seed=0)
    print("current:", info["task"]["current"], "offset after a step:", env.step(env.action_space.sample())[0])
