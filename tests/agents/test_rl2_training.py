"""RL² in training: resumed, on families of all kinds, and learning what takes a memory and a whole trial's credit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.adapt.memory.registry import memory_names
from metarl.agents.rl2 import RL2, RL2Config
from metarl.agents.rl2.config import PRESETS
from metarl.core.errors import MetaRLError
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.tasks import Choice, Closed, TaskSpace

Families = Callable[[str], TorchFamily]
Learns = Callable[..., None]
SMALL = RL2Config(tasks=6, width=6, embedding=5, head=(4,), epochs=2, minibatches=2, learning_rate=0.01)


def step(agent: RL2) -> dict[str, float]:
    """Train one iteration on the schedule of a longer run; returns what was logged."""
    logged: dict[str, float] = {}

    def stop(local: dict[str, Any], _: dict[str, Any]) -> bool:
        logged.update(local["metrics"])
        return False

    agent.train_until(1_000, stop)
    return logged


@pytest.mark.parametrize("actions", ["gaussian", "categorical", "mixed"])
def test_a_resumed_training_is_the_one_that_was_never_stopped(ragged: Families, actions: str, tmp_path: Path) -> None:
    config = replace(SMALL, normalise_observations=True)
    whole, first = RL2(ragged(actions), config), RL2(ragged(actions), config)
    expected = [step(whole) for _ in range(4)]
    found = [step(first) for _ in range(2)]
    first.save(tmp_path / "half")
    second = RL2(ragged(actions), config)
    step(second)  # what it has learnt itself is forgotten
    second.restore(tmp_path / "half")
    found += [step(second) for _ in range(2)]
    assert found == expected
    assert whole.num_timesteps == second.num_timesteps
    for mine, other in ((whole.params, second.params), (whole.training_state(), second.training_state())):
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in mine.items())


@pytest.mark.parametrize(
    ("family", "variant", "config"),
    [
        ("GridNavi", None, SMALL),
        ("SparseSemicircle", "varibad", SMALL),
        ("PointNavigation", None, replace(SMALL, episodes=2)),
        ("CartPole", "reversed", replace(SMALL, episodes=3)),
        ("BernoulliBandit", "k5", replace(PRESETS["bandit"], tasks=8)),
        ("TabularMDP", None, replace(PRESETS["tabular"], tasks=8)),
    ],
)
def test_families_of_all_kinds_train(family: str, variant: str | None, config: RL2Config) -> None:
    agent = RL2(f"metarl/{family}-v0", config, variant=variant)
    before, metrics = dict(agent.params), step(agent)
    assert agent.num_timesteps <= config.tasks * agent.episodes * agent.family.horizon
    assert all(np.isfinite(value) for value in metrics.values())
    assert "rollout/return_trial" in metrics
    assert not any(torch.equal(value, before[name]) for name, value in agent.params.items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": 0},
        {"episodes": 0},
        {"width": 0},
        {"embedding": -1},
        {"head": (8, 0)},
        {"activation": "gelu"},
        {"initial_std": 0.0},
        {"gamma": 1.5},
        {"gae_lambda": -0.1},
        {"learning_rate": float("nan")},
        {"final_learning_rate": 1.5},
        {"epochs": 0},
        {"minibatches": 129},
        {"clip": 0.0},
        {"entropy_coef": -1.0},
        {"max_grad_norm": 0.0},
        {"total_timesteps": 0},
    ],
    ids=str,
)
def test_a_config_out_of_range_names_the_field(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(MetaRLError, match=rf"{name}={value!r}.*out of range".replace("(", r"\(").replace(")", r"\)")):
        RL2Config(**wrong)


def test_ppo_may_learn_from_a_dense_reward_at_first(ragged: Families, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = RL2("metarl/SparseSemicircle-v0", replace(SMALL, dense_reward="dense_reward", dense_until=0.5, episodes=2))
    data = agent.collect()
    for progress, weight in ((0.0, 1.0), (0.125, 0.75), (0.5, 0.0), (0.9, 0.0)):
        monkeypatch.setattr(RL2, "progress", progress)
        learned = agent.learned_from(data).reward
        torch.testing.assert_close(learned, (1 - weight) * data.reward + weight * data.extras["dense_reward"])
    monkeypatch.setattr(RL2, "progress", 0.0)
    without = RL2(ragged("gaussian"), replace(SMALL, dense_reward="shaped"))
    with pytest.raises(MetaRLError, match="has no extra 'shaped'; it has none"):
        without.train_iteration()


def test_options_of_a_memory_are_checked_with_its_width() -> None:
    assert RL2Config(width=10).width == 10
    with pytest.raises(MetaRLError, match=r"Memory 'elman' is unknown\. Known are external, gru"):
        RL2Config(memory="elman")
    with pytest.raises(MetaRLError, match="width=10 is shared by its heads=4"):
        RL2Config(width=10, memory="transformer")
    with pytest.raises(MetaRLError, match=r"NoOptions has no 'heads'; .* none: it has no options"):
        RL2Config(memory_options=("heads=4",))
    with pytest.raises(MetaRLError, match=r"TransformerConfig\(heads='many'\) is out of range: heads must be an int"):
        RL2Config(memory="transformer", memory_options=("heads=many",))


# --- learning ---


class Lamp(TorchFamily):
    """One of five levers pays; to pull none lights a lamp, and as the episode ends it is to be seen which."""

    tasks = TaskSpace(pays=Choice((0.0, 1.0, 2.0, 3.0, 4.0)))
    split = Closed()
    observation_space = Box(0, 1, (5,), np.float32)
    action_space = Discrete(6)
    horizon = 1
    episodes_per_trial = 2

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"lit": torch.zeros_like(task["pays"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        reward, lit = ((action == wanted).to(task["pays"].dtype) for wanted in (task["pays"], 5))
        return {"lit": lit}, reward, torch.zeros_like(reward, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return torch.nn.functional.one_hot(task["pays"].long(), 5) * state["lit"][:, None]


def curve(agent: RL2, wiped: bool = False) -> list[float]:
    """Mean return of each episode of a trial, on 300 trials of the test tasks."""
    tasks = agent.family.splits.test
    tasks = tasks[np.arange(300) % len(tasks)]
    found = adaptation_curve(
        agent.learner,
        agent.params,
        agent.family,
        tasks,
        points=agent.evaluation_points,
        ablation="wiped" if wiped else None,
    )
    return [float(value) for value in found.returns.mean(1)]


LEARNING = RL2Config(tasks=64, width=16, embedding=0, head=(), minibatches=2, learning_rate=2e-2)


@pytest.mark.parametrize("memory", memory_names())
def test_it_learns_to_try_levers_one_after_the_other(levers: TorchFamily, memory: Any, learns: Learns) -> None:
    # At the rate of the others some seeds of SNAIL and the transformer pull one lever for ever.
    rate, iterations = {"snail": (7e-3, 40), "transformer": (1e-2, 40)}.get(memory, (LEARNING.learning_rate, 50))
    config = replace(LEARNING, memory=memory, learning_rate=rate, total_timesteps=iterations * 64 * 4)

    def score(seed: int) -> dict[str, float]:
        first, second, third, fourth = curve(agent := RL2(levers, config, seed=seed).learn())
        wiped = max(curve(agent, wiped=True))
        return {"first": first, "second": second, "third and fourth": min(third, fourth), "wiped": wiped}

    # The best play earns 1/3, 2/3, 1, 1.
    learns(score, above={"second": 0.58, "third and fourth": 0.9}, below={"first": 0.45, "wiped": 0.45})


def test_it_learns_to_look_first(learns: Learns) -> None:
    """What is paid in the second episode has to reach what was done in the first."""

    def score(seed: int) -> dict[str, float]:
        agent = RL2(Lamp(), replace(LEARNING, tasks=128, total_timesteps=80 * 128 * 2), seed=seed).learn()
        first, second = curve(agent)
        return {"first": first, "second": second, "wiped": max(curve(agent, wiped=True))}

    # Whoever cares for each episode alone pulls in both, and earns 1/5 and 1/5 or 2/5.
    learns(score, above={"second": 0.9}, below={"first": 0.1, "wiped": 0.3})


@pytest.mark.slow
def test_grid_navigation_is_learnt_in_minutes(learns: Learns) -> None:
    def score(seed: int) -> dict[str, float]:
        config = replace(PRESETS["default"], total_timesteps=2_000_000)
        returns = curve(agent := RL2("metarl/GridNavi-v0", config, seed=seed).learn())
        lost = returns[1] - max(curve(agent, wiped=True))
        return {"first": returns[0], "later": min(returns[1:]), "lost when wiped": lost}

    # The best blind sweep earns 4.00 in every episode, whoever knows the goal 11.07.
    learns(score, above={"first": 3, "later": 8, "lost when wiped": 4})
