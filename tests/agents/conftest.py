"""What tests of agents share: random trajectories in float64, and families whose episodes end at different times."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Tuple
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal, kl_divergence, register_kl

from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.learner import MAMLLearner
from metarl.agents.maml.outer import MetaBatch
from metarl.agents.pearl import PEARLConfig
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.tasks import Choice, Closed, Fresh, TaskSpace, Uniform

OBSERVATIONS = Box(-np.inf, np.inf, (2,), np.float32)
SPACES: dict[str, gymnasium.Space[Any]] = {"gaussian": Box(-1, 1, (2,), np.float32), "categorical": Discrete(3)}
SPACES["mixed"] = Tuple((Discrete(3), Box(-1, 1, (1,), np.float32)))
Setup = Callable[..., tuple[MAMLLearner, Params, MetaBatch]]


@pytest.fixture(scope="session")
def setup() -> Setup:
    """``setup(config, actions="gaussian")``: a learner, its parameters in float64, and a meta-batch for it."""

    def make(config: MAMLConfig, actions: str = "gaussian", seed: int = 0) -> tuple[MAMLLearner, Params, MetaBatch]:
        generator = torch.Generator().manual_seed(seed)
        learner = MAMLLearner(OBSERVATIONS, SPACES[actions], config)
        params = {name: value.double() for name, value in learner.init(generator).items()}
        # Away from the special values of an initialisation: zero biases and equal step sizes.
        params = {name: value + 0.1 * torch.rand(value.shape, generator=generator) for name, value in params.items()}
        parts = [trajectory(config, learner, generator) for _ in range(config.inner_steps + 1)]
        return learner, params, MetaBatch(tuple(parts))

    return make


def trajectory(config: MAMLConfig, learner: MAMLLearner, generator: torch.Generator) -> Trajectory:
    """Episodes of different lengths, two a env."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    axes = (config.tasks, config.episodes, 2, 4)
    lengths = torch.randint(1, 5, axes[:3], generator=generator)
    lengths[0, 0, 0] = 4
    valid = torch.arange(4) < lengths[..., None]
    choices, dimensions = learner.actions.choices, learner.actions.axes
    index = torch.randint(0, 3, axes, generator=generator) if choices else None
    action = normal(*axes, dimensions) if dimensions else index
    if index is not None and dimensions:
        action = torch.cat([index[..., None], action], -1)
    log_prob = (-1.1 if choices else 0.0) - 1.25 * dimensions + 0.3 * normal(*axes)
    made = Trajectory(
        observation=normal(*axes, 2),
        action=action,
        reward=normal(*axes),
        terminated=torch.zeros(axes, dtype=torch.bool),
        truncated=torch.zeros(axes, dtype=torch.bool),
        valid=valid,
        final_observation=normal(*axes[:3], 2),
        episode_noise=torch.zeros(axes[0], axes[2], 0),
        record={"log_prob": log_prob, "advantage": normal(*axes)},
    )
    return replace(made.filled(), valid=valid)


class Ragged(TorchFamily):
    """Episodes of one step to five, terminated or out of time. What its last step pays is hidden."""

    tasks = TaskSpace(pays=Uniform(-1, 1))
    split = Fresh(test=8)
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space: gymnasium.Space[Any] = Box(-0.5, 0.5, (2,), np.float32)
    horizon = 5
    episodes_per_trial = 3
    draws = (3, 0)

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        left = 1 + (7 * u[:, 2]).floor()  # 6 and 7 are more than the time limit allows
        return {"place": u[:, :2], "left": left, "elapsed": torch.zeros_like(left)}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        move = self.move(action)
        place, left, elapsed = state["place"] + move, state["left"] - 1, state["elapsed"] + 1
        terminated = left == 0
        last = terminated | (elapsed == self.horizon)
        reward = place[:, 0] + torch.where(last, task["pays"], 0)
        return {"place": place, "left": left, "elapsed": elapsed}, reward, terminated

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["place"]

    def move(self, action: Tensor) -> Tensor:
        return action


class RaggedChoices(Ragged):
    """The same with three actions."""

    action_space = Discrete(3)

    def move(self, action: Tensor) -> Tensor:
        return 0.25 * torch.stack([action - 1, 1 - action], -1)


class RaggedMixed(Ragged):
    """The same with three directions and how far to go."""

    action_space = Tuple((Discrete(3, start=1), Box(-0.5, 0.5, (1,), np.float32)))

    def move(self, action: Tensor) -> Tensor:
        direction, far = action.unbind(-1)
        return far[:, None] * torch.stack([direction - 1, 3 - direction], -1)


@pytest.fixture(scope="session")
def ragged() -> Callable[[str], TorchFamily]:
    """``ragged("gaussian")``, ``"categorical"`` or ``"mixed"``: a family whose episodes end at different times."""
    return lambda actions: {"gaussian": Ragged, "categorical": RaggedChoices, "mixed": RaggedMixed}[actions]()


class Levers(TorchFamily):
    """One of three levers pays, and the observation does not say which."""

    tasks = TaskSpace(pays=Choice((0.0, 1.0, 2.0)))
    split = Closed()
    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Discrete(3)
    horizon = 1
    episodes_per_trial = 4

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"none": torch.zeros_like(task["pays"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        reward = (action == task["pays"]).to(task["pays"].dtype)
        return state, reward, torch.ones_like(reward, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["none"][:, None]


@pytest.fixture
def levers() -> TorchFamily:
    """A family of three levers, four pulls a trial."""
    return Levers()


class ChoiceAndNumber(Distribution):
    """An index and a number, independent of each other."""

    def __init__(self, logits: Tensor, mean: Tensor, std: Tensor) -> None:
        super().__init__(validate_args=False)
        self.parts: tuple[Distribution, Distribution] = Categorical(logits=logits), Normal(mean, std)

    def log_prob(self, value: Tensor) -> Tensor:
        index, number = value
        return self.parts[0].log_prob(index) + self.parts[1].log_prob(number)

    def entropy(self) -> Tensor:
        return self.parts[0].entropy() + self.parts[1].entropy()


@register_kl(ChoiceAndNumber, ChoiceAndNumber)
def _kl(one: ChoiceAndNumber, other: ChoiceAndNumber) -> Tensor:
    return kl_divergence(one.parts[0], other.parts[0]) + kl_divergence(one.parts[1], other.parts[1])


@pytest.fixture(scope="session")
def mixed() -> Callable[[Tensor, Tensor, Tensor], Distribution]:
    """``mixed(logits, mean, std)``: a naive distribution of mixed actions, for loops that are written out."""
    return ChoiceAndNumber


class Sides(TorchFamily):
    """Go to one side or to the other; which one is hidden, and is paid for at every step."""

    tasks = TaskSpace(side=Choice((-1.0, 1.0)))
    split = Closed()
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-0.2, 0.2, (1,), np.float32)
    horizon = 5
    episodes_per_trial = 4

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"place": torch.zeros_like(task["side"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        place = state["place"] + action[:, 0]
        return {"place": place}, place * task["side"], torch.zeros_like(place, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["place"][:, None]


@pytest.fixture
def sides() -> TorchFamily:
    """Return a family of two tasks, of which a step or two tells which it is."""
    return Sides()


@pytest.fixture
def of_sides() -> PEARLConfig:
    """Return what PEARL learns that family with in seconds."""
    return PEARLConfig(
        train_tasks=2,
        tasks=2,
        meta_batch=2,
        batch=64,
        hidden=(32,),
        encoder=(16,),
        latent=2,
        updates=25,
        learning_rate=3e-3,
        total_timesteps=1_600,
    )
