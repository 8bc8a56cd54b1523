"""What policies make of action spaces, and a family of mixed actions from its check to adapting in its environment."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from torch import Tensor

from metarl.agents.baselines import MultiTask
from metarl.agents.maml import MAML
from metarl.agents.rl2 import RL2
from metarl.agents.rl2.config import RL2Config
from metarl.core.actions import ActionLayout, ActionMap, to_gymnasium
from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.core.types import Noise
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.family import register_family
from metarl.family.checks.check import check_family
from metarl.family.reference_policies import RandomPolicy
from metarl.family.views.sb3 import TaskVecEnv
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.rollout.rollout import rollout
from metarl.tasks import Choice, Closed, TaskSpace

Learns = Callable[..., None]
ARM = Box(np.array([-1, 0], np.float32), np.array([3, 0.5], np.float32))
BOTH = Tuple((Discrete(3, start=-1), ARM))


@register_family("test/Darts-v0")
class Darts(TorchFamily):
    """Choose one of three boards and how far to throw. The board that pays is hidden; the throw is the same for all."""

    tasks = TaskSpace(board=Choice((0.0, 1.0, 2.0)))
    split = Closed()
    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Tuple((Discrete(3, start=1), Box(0, 2, (1,), np.float32)))
    horizon = 1
    episodes_per_trial = 4

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"none": torch.zeros_like(task["board"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        board, far = action.unbind(-1)
        reward = torch.where(board - 1 == task["board"], 1 - (far - 1.5).abs(), 0.0)
        return state, reward, torch.ones_like(reward, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["none"][:, None]


def test_spaces_say_how_much_a_policy_puts_out_and_draws() -> None:
    wanted = [
        (ARM, 0, 2, 2, Noise(2, "normal")),
        (Discrete(4), 4, 0, 4, Noise(1, "uniform")),
        (BOTH, 3, 2, 5, Noise(3, "uniform")),
    ]
    for space, *expected in wanted:
        layout = ActionLayout(space)
        assert [layout.choices, layout.axes, layout.size, layout.noise] == expected


def test_outputs_and_features_by_hand() -> None:
    layout, out, log_std = ActionLayout(BOTH), torch.arange(5.0)[None], torch.tensor([-1.0, -2])
    outputs = layout.outputs(out, log_std)
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "logits": [[0, 1, 2]],
        "mean": [[3, 4]],
        "log_std": [[-1, -2]],
    }
    assert layout.features(torch.tensor([[2.0, 0.5, -3.0]])).tolist() == [[0, 0, 1, 0.5, -1]]


def test_mixed_actions_map_to_the_familys_space_and_back() -> None:
    both, rows = ActionMap(BOTH, "cpu", torch.float32), torch.tensor([[0.0, 0, 1], [2, -9, 9]])
    assert both.to_env(rows).tolist() == [[-1, 1, 0.5], [1, -1, 0.5]]
    assert both.from_env(both.to_env(rows)).tolist() == [[0, 0, 1], [2, -1, 1]]
    index, vector = to_gymnasium(BOTH, both.to_env(rows).numpy())
    assert (index.dtype, vector.dtype) == (np.int64, np.float32)
    assert all(BOTH.contains(action) for action in zip(index, vector, strict=True))


@pytest.mark.parametrize(
    "space",
    [
        MultiDiscrete([2, 3]),
        Tuple((ARM, Discrete(2))),
        Tuple((Discrete(2),)),
        Tuple([Discrete(2)] * 2),
        Tuple((Discrete(2), ARM, ARM)),
        Tuple((Discrete(2), Box(-1, 1, (2, 2)))),
    ],
)
def test_other_action_spaces_are_refused(space: gymnasium.Space[Any]) -> None:
    for ask in (ActionLayout, lambda given: ActionMap(given, "cpu", torch.float32)):
        with pytest.raises(MetaRLError, match="flatten or wrap it"):
            ask(space)
    with pytest.raises(MetaRLError, match="one-dimensional Boxes"):
        ActionLayout(Box(-1, 1, (2, 2)))
    with pytest.raises(MetaRLError, match="finite limits"):
        ActionMap(Tuple((Discrete(2), Box(-np.inf, 1, (2,)))), "cpu", torch.float32)


@pytest.mark.parametrize("space", [Discrete(3), Tuple((Discrete(3), Box(-1, 1, (1,), np.float32)))])
def test_an_environment_of_ones_own_gets_a_number_to_choose_by(space: gymnasium.Space[Any]) -> None:
    """It may look it up in a dict, as it could with what ``action_space.sample()`` gives."""

    class Named(gymnasium.Env[Any, Any]):
        observation_space, action_space = Box(0, 1, (1,), np.float32), space
        moves: ClassVar[dict[int, str]] = {0: "left", 1: "stay", 2: "right"}

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            assert space.contains(action)
            assert self.moves[action if isinstance(space, Discrete) else action[0]] in ("left", "stay", "right")
            return np.zeros(1, np.float32), 0.0, False, False, {}

    family = Darts()
    family.action_space = space
    agent = RL2(family, RL2Config(tasks=4, width=4, embedding=0, head=()))
    policy = agent.adapt(Named(), episodes=2)
    action, _ = policy.predict(np.zeros(1, np.float32))
    Named().step(action)


# --- a family of mixed actions ---


def test_a_family_of_mixed_actions_passes_the_checks() -> None:
    report = check_family("test/Darts-v0")
    assert report.ok, str(report)


def test_its_views_take_what_gymnasium_gives() -> None:
    env, envs = TaskEnv(Darts(), task={"board": 1}), TaskVectorEnv(Darts(), 3, task={"board": 1})
    env.reset(seed=0), envs.reset(seed=0)
    assert env.step((2, np.array([1.25], np.float32)))[1] == 0.75
    assert envs.step((np.array([2, 3, 2]), np.array([[1.5], [1.5], [9]])))[1].tolist() == [1, 0, 0.5]
    env.reset(), envs.reset()
    assert env.action_space.contains(env.action_space.sample())
    envs.step(envs.action_space.sample())
    for action in (2, (2,), (0, [1.0]), (2, [np.nan]), (2.5, [1.0])):
        with pytest.raises(MetaRLError, match="does not fit"):
            env.step(action)
    with pytest.raises(MetaRLError, match="2 actions for 3 environments"):
        envs.step((np.array([1, 2, 3]), np.zeros((2, 1))))


def test_a_random_player_uses_all_of_it() -> None:
    family, keys = Darts(), stream_keys(300, "darts")
    reference = RandomPolicy(family.action_space)
    played, _ = rollout(
        reference, {}, reference.initial({}, 300), family.batch(family.splits.train(keys), keys), n_envs=1
    )
    index, vector = played.action.flatten(0, 3).unbind(-1)
    assert set(index.tolist()) == {0, 1, 2}
    assert -1 <= vector.min() < -0.9 < 0.9 < vector.max() <= 1


def test_a_memory_learns_mixed_actions_and_adapts_in_the_environment(learns: Learns) -> None:
    config = RL2Config(tasks=64, width=16, embedding=0, head=(16,), learning_rate=2e-2, total_timesteps=10_000)

    def score(seed: int) -> dict[str, float]:
        agent = RL2(Darts(), config, seed=seed).learn()
        test = agent.family.splits.test[np.arange(300) % 3]
        found = adaptation_curve(agent.learner, agent.params, agent.family, test, points=4, deterministic=False)
        means = found.returns.mean(1)
        env = TaskEnv(agent.family, task={"board": 2}, episodes_per_trial=8)
        policy = agent.adapt(env, episodes=3)
        observation, _ = env.reset()
        action, _ = policy.predict(observation, deterministic=True)
        assert env.action_space.contains(action)
        return {"first": means[0], "fourth": means[3], "in the environment": env.step(action)[1]}

    # One board in three pays.
    learns(score, above={"fourth": 0.8, "in the environment": 0.7}, below={"first": 0.4})


def test_an_agent_adapts_in_no_environment_of_other_spaces() -> None:
    agent = RL2(Darts())
    with pytest.raises(MetaRLError, match="does not fit the agent's"):
        agent.adapt(gymnasium.make("metarl/CartPole-v0"))
    other = TaskEnv(agent.family)
    other.action_space = Tuple((Discrete(4), Box(0, 2, (1,), np.float32)))
    with pytest.raises(MetaRLError, match="does not fit the agent's"):
        agent.adapt(other)


def test_gradients_adapt_to_it_too() -> None:
    agent = MAML(Darts(), replace(MAML.presets["default"], tasks=4, episodes=8, hidden=(8,), total_timesteps=300))
    agent.learn()
    assert all(value.isfinite().all() for value in agent.params.values())


def test_sb3_refuses_it_in_words() -> None:
    for make in (lambda: TaskVecEnv(Darts(), 2), lambda: MultiTask(Darts())):
        with pytest.raises(MetaRLError, match="Stable-Baselines3 acts in a Discrete or a Box"):
            make()
