"""Meta-World's families: its goals, its environments step for step, and what is said where its package is missing."""

import pickle
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError, NoGraphicsError
from metarl.core.random import stream_keys
from metarl.envs.metaworld import package
from metarl.envs.metaworld.ids import ML1_ENVS
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
        presets: ClassVar[dict[str, Any]] = {}

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


def test_an_environment_plays_the_tasks_of_others_in_turn() -> None:
    family = make_family("metarl/ML10-v3", "v2-150")
    tests = family.splits.test
    assert family.groups(tests[:5]) == list(import_module("metaworld.env_dict").ML10_V3["test"])
    batch = family.batch(tests[:2], stream_keys(2, "turn"))
    first = batch.reset()
    batch.set_tasks(tests[[1, 0]], torch.tensor([True, True]))
    swapped = batch.reset(1)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(swapped, first[[1, 0]])
    assert not first[:, -3:].any()


def test_a_multi_task_benchmark_shows_goal_and_environment() -> None:
    class TwoTasks(MetaWorldFamily):
        """As MT10, in its one-hot variant."""

        split = Benchmark(benchmark="MT1", env="reach-v3")
        one_hot = True
        presets: ClassVar[dict[str, Any]] = {}

    family = TwoTasks()
    batch = family.batch(family.splits.test[:1], stream_keys(1, "goal"))
    seen = batch.reset()
    assert seen.shape == (1, 40)
    assert seen[0, 36:].tolist() == pytest.approx([*family.splits.test.vector[0, 4:], 1.0])


def test_the_reward_versions_differ() -> None:
    rewards = []
    for variant in ("v1-150", "v2-150"):
        family = make_family("metarl/ML1-reach-v3", variant)
        batch = family.batch(family.splits.test[:1], stream_keys(1, "reward"))
        batch.reset()
        forward = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
        rewards.append([float(batch.step(forward).reward) for _ in range(15)])
    assert max(rewards[0]) > 30 > 10 > max(rewards[1]) > 0  # that of v2 is at most 10


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "need its package: pip install --no-deps metaworld==3.1.1"),
        ("2.0.0", "metaworld 2.0.0 is installed, these families are of 3.1.1: pip install --no-deps"),
    ],
)
def test_a_package_that_is_missing_or_another_is_one_line(
    monkeypatch: pytest.MonkeyPatch, found: str | None, message: str
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(package, "version", version)
    package.metaworld.cache_clear()
    with pytest.raises(MetaRLError, match=message) as error:
        make_family("metarl/ML1-reach-v3")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    package.metaworld.cache_clear()


def test_the_ids_are_all_of_metaworlds_environments() -> None:
    assert sorted(env_names()) == sorted(ML1_ENVS)


def test_pictures_are_drawn_without_a_screen() -> None:
    env = gymnasium.make("metarl/ML1-push-v3", render_mode="rgb_array")
    env.reset(seed=0)
    try:
        picture = np.asarray(env.render())
    except NoGraphicsError as error:
        pytest.skip(str(error))
    assert picture.shape == (360, 480, 3)
    assert picture[180:].std() > 10
    env.close()
