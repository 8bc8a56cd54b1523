"""Meta-World's families: its goals, its environments step for step, and what is said where its package is missing."""

import pickle
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.envs.metaworld import package
from metarl.family import make_family
from metarl.tasks import Tasks

pytest.importorskip("metaworld", reason="installed apart: pip install --no-deps metaworld==3.1.1")

from metarl.envs.metaworld.benchmarks import SEED, Benchmark, env_names
from metarl.envs.metaworld.families import MetaWorldFamily
from metarl.envs.metaworld.package import metaworld

TWELVE = (
    "reach push pick-place door-open drawer-open drawer-close button-press-topdown "
    "peg-insert-side window-open window-close basketball faucet-open"
)
STEPS = 200


def goal_observed(name: str) -> MetaWorldFamily:
    """Make metaworld's MT1 as a family: one environment, whose goal the scripted policies need to see."""

    class MT1(MetaWorldFamily):
        """One environment, goal observed."""

        split = Benchmark(benchmark="MT1", env=name)
        horizon = STEPS
        presets = {}  # noqa: RUF012

    return MT1()


def own_loop(task: Any, policy: Any, steps: int = STEPS) -> tuple[list[float], list[float]]:
    """Play a task of metaworld in its own environment, with what a policy does for the observation as float32."""
    env = metaworld().ALL_V3_ENVIRONMENTS[task.env_name](reward_function_version="v2")
    env.set_task(task)
    seen, rewards, success = env.reset()[0], [], []
    for _ in range(steps):
        action = np.clip(policy.get_action(seen.astype(np.float32).astype(np.float64)), -1, 1).astype(np.float32)
        seen, reward, _, _, info = env.step(action)
        rewards.append(reward)
        success.append(info["success"])
    env.close()
    return rewards, success


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")  # of the policies
@pytest.mark.parametrize("name", TWELVE.split())
def test_scripted_policies_succeed_and_earn_what_they_do_in_metaworlds_own_loop(name: str) -> None:
    from metaworld.policies import ENV_POLICY_MAP

    name = f"{name}-v3"
    family = goal_observed(name)
    tasks = family.splits.test[:2]
    batch = family.batch(tasks, stream_keys(2, "scripted"), dtype=torch.float64)
    policies = [ENV_POLICY_MAP[name]() for _ in range(2)]
    seen, rewards, success = batch.reset(), [], []
    for _ in range(STEPS):
        actions = [np.clip(policy.get_action(row.numpy()), -1, 1) for policy, row in zip(policies, seen, strict=True)]
        step = batch.step(torch.tensor(np.stack(actions), dtype=torch.float32))
        seen = step.observation
        rewards.append(step.reward.tolist())
        success.append(step.extras["success"].tolist())
    assert np.max(success, axis=0).tolist() == [1.0, 1.0]
    theirs = metaworld().MT1(name, seed=SEED).train_tasks[:2]
    for i, task in enumerate(theirs):
        own = own_loop(task, ENV_POLICY_MAP[name]())
        assert own == ([row[i] for row in rewards], [row[i] for row in success])


def drawn(tasks: list[Any]) -> dict[str, list[list[float]]]:
    """Return what metaworld drew for its tasks, by environment."""
    found: dict[str, list[list[float]]] = {}
    for task in tasks:
        found.setdefault(task.env_name, []).append(pickle.loads(task.data)["rand_vec"].tolist())
    return found


def by_env(tasks: Tasks, sizes: dict[str, int]) -> dict[str, list[list[float]]]:
    """Return the same of ours."""
    found: dict[str, list[list[float]]] = {}
    for row in tasks.vector.tolist():
        name = env_names()[int(row[0])]
        found.setdefault(name, []).append(row[1 : 1 + sizes[name]])
        assert not any(row[1 + sizes[name] :])
    return found


@pytest.mark.parametrize(
    "benchmark", ["ML10", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ML45", "MT10", "MT50"))]
)
def test_train_and_test_tasks_are_those_of_metaworld(benchmark: str) -> None:
    splits = make_family(f"metarl/{benchmark}-v3").splits
    theirs = getattr(metaworld(), benchmark)(seed=SEED)
    train = drawn(theirs.train_tasks)
    test = train if splits.kind == "closed" else drawn(theirs.test_tasks)
    sizes = {name: len(rows[0]) for name, rows in (train | test).items()}
    assert by_env(splits.part("train"), sizes) == train
    assert by_env(splits.test, sizes) == test
