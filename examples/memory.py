"""A memory of one's own for RL² (and VariBAD, and few-shot learners): averages of the past at several speeds.

On the command line: ``metarl train rl2 metarl/BernoulliBandit-v0 --config.memory memory:Averages``.
"""

from dataclasses import dataclass

import torch

from metarl import RL2, Memory, evaluate, register_memory


@dataclass(frozen=True, kw_only=True)
class AveragesConfig:
    """The memory's own options: ``--config.memory-options slowest=100``."""

    slowest: float = 20.0  # inputs over which the slowest average is taken


@register_memory("averages")
class Averages(Memory):
    """Exponential averages of what a linear layer makes of the inputs, each number with a time constant of its own."""

    config_class = AveragesConfig

    def init(self, generator):
        """Return the layer's weight, and time constants from 1 to the slowest."""
        weight = torch.randn(self.width, self.n_inputs, generator=generator) / self.n_inputs**0.5
        return {"memory.weight": weight, "memory.log_time": torch.linspace(0, 1, self.width) * self._log_slowest}

    def initial(self, params, n_tasks):
        return {"memory.average": params["memory.weight"].new_zeros(n_tasks, self.width)}

    def step(self, params, state, x):
        new = torch.tanh(x @ params["memory.weight"].T)
        return {"memory.average": state["memory.average"].lerp(new, torch.exp(-params["memory.log_time"]).clamp(max=1))}

    def read(self, params, state):
        return state["memory.average"]

    @property
    def _log_slowest(self):
        return torch.tensor(self.config.slowest).log()


if __name__ == "__main__":
    config = RL2.config_class(memory="averages", memory_options=("slowest=50",), tasks=64, episodes=20)
    agent = RL2("metarl/BernoulliBandit-v0", config, seed=0).learn(64 * 20 * 5)
    for point in evaluate(agent, tasks=50, deterministic=False).points[::5]:
        print(f"pull {point.episodes + 1}: {point.returns.value:.2f}")
