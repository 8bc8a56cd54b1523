"""An agent that adapts by memory and needs no training: it counts what each arm of a bandit has paid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.algorithm.algorithm import Algorithm
from metarl.core.learner import MetaLearner
from metarl.core.types import Noise, Outputs, Params, State, Transition


class Counting(MetaLearner):
    """Pulls the arm of the highest posterior mean; of several one at random, or the first where deterministic."""

    online = True

    def __init__(self, k: int) -> None:
        self._k, self.action_noise = k, Noise(k, "uniform")

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"wins": torch.ones(n_tasks, self._k), "losses": torch.ones(n_tasks, self._k)}

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        mean = self.belief(params, state)
        tie_break = torch.ones_like(mean) if deterministic else noise[:, 0]
        return torch.where(mean == mean.amax(-1, keepdim=True), tie_break, 0).argmax(-1, keepdim=True), {}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        pulled = torch.nn.functional.one_hot(transition.action[:, 0], self._k)
        won = pulled * transition.reward
        return {"wins": state["wins"] + won, "losses": state["losses"] + pulled - won}

    def belief(self, params: Params, state: State) -> Tensor:
        return state["wins"] / (state["wins"] + state["losses"])


@dataclass(frozen=True)
class Config:
    """``episodes`` of a trial."""

    total_timesteps: int = 4
    tasks: int = 2
    episodes: int = 20


class MemoryLearner(Algorithm):
    """``Counting`` as an agent."""

    name, config_class, presets = "remembering", Config, {"default": Config()}
    n_envs = 1
    evaluation_points = property(lambda self: self.config.episodes)

    def build_learner(self) -> MetaLearner:
        return Counting(self.family.action_space.n)

    def init_params(self, generator: torch.Generator) -> Params:
        return {"unused": torch.zeros(1)}

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        returns = {"first": 0.5, "last": 0.8, "trial": 14.0}
        return 2, {f"rollout/return_{name}": value + self.iteration for name, value in returns.items()}
