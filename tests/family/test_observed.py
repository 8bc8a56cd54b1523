"""Families that show their task: everything as in the family itself, and the task at the observation's end."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.family import make_family
from metarl.family.checks.behaviour import BEHAVIOUR
from metarl.family.checks.play import Subject
from metarl.family.checks.views import VIEWS
from metarl.family.policy_returns import policy_returns
from metarl.family.views.observed import with_task
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks, TaskSpace, Uniform

WALK = "test/Walk-v0"
N = 4


class Grid(TorchFamily):
    """Observes a picture of integers."""

    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2, 2)), size=Uniform(1, 2))
    observation_space: Any = Box(0, 255, (2, 3), np.uint8)
    action_space = Discrete(2)
    horizon = 5

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"time": torch.zeros_like(task["size"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        time = state["time"] + 1
        return {"time": time}, time, time > 10

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["time"][:, None, None].expand(-1, 2, 3)


class Numbered(Grid):
    observation_space = Discrete(3)


def same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


def vector(info_task: dict[str, Any], n: int) -> NDArray[np.float32]:
    """The tasks that a vector's info names, as they should be observed."""
    values = {name: value for name, value in info_task.items() if not name.startswith("_")}
    return Tasks(values).vector.reshape(n, -1).astype(np.float32)


@pytest.mark.parametrize("variant", ["fresh", "disjoint", "closed"])
def test_all_but_the_observation_is_the_familys(variant: str) -> None:
    family = make_family(WALK, variant)
    shown = with_task(family)
    for name in ("id", "variant", "name", "horizon", "episodes_per_trial", "floor", "optimum", "action_space", "tasks"):
        assert getattr(shown, name) == getattr(family, name)
    assert shown.splits is family.splits
    assert shown.make_split(7).hash == family.make_split(7).hash
    assert same(shown.default(), family.default())
    assert isinstance(shown.observation_space, Box)
    assert shown.observation_space.dtype == np.float32
    assert shown.observation_space.low.tolist() == [-10, -10, -np.inf, -np.inf, -np.inf]
    assert shown.observation_space.high.tolist() == [10, 10, np.inf, np.inf, np.inf]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("variant", ["fresh", "disjoint"])
def test_episodes_are_the_familys_and_show_their_own_task(variant: str, mode: str) -> None:
    family = make_family(WALK, variant)
    shown, plain = (TaskVectorEnv(each, N, tasks="train", autoreset_mode=mode) for each in (with_task(family), family))
    ours, theirs = shown.reset(seed=3), plain.reset(seed=3)
    assert same(ours[0][:, 2:], vector(theirs[1]["task"], N))
    ended = 0
    for _ in range(50):
        actions = plain.action_space.sample()
        ours, (observation, *rest) = shown.step(actions), plain.step(actions)
        # What follows the observation is the same, but for the last observations.
        info = rest[-1]
        assert same(ours[0][:, :2], observation)
        assert same(ours[1:4], tuple(rest[:-1]))
        assert same(ours[4]["task"], info["task"])
        assert same(ours[0][:, 2:], vector(info["task"], N))
        for i in np.flatnonzero(info.get("_final_obs", [])):
            # The task may have changed since: an episode's last observation has its own.
            was = vector({k: v for k, v in info["final_info"]["task"].items() if k[0] != "_"}, N)[i]
            assert same(ours[4]["final_obs"][i], np.concatenate([info["final_obs"][i], was]))
        ended += int((rest[1] | rest[2]).sum())
    assert ended > N


def test_a_new_task_shows_with_the_next_reset_of_its_row() -> None:
    family = make_family(WALK)
    tasks, others = (family.splits.train(stream_keys(N, name)) for name in ("one", "other"))
    batch: Any = with_task(family).batch(tasks, stream_keys(N, "keys"))
    first, second = (torch.as_tensor(each.vector, dtype=torch.float32) for each in (tasks, others))
    assert torch.equal(batch.reset(0)[:, 2:], first)
    changed = torch.tensor([True, True, False, False])
    batch.set_tasks(others, changed)
    assert torch.equal(batch.step(torch.zeros(N, 2)).observation[:, 2:], first)
    reset = torch.tensor([True, False, True, False])
    observation = batch.reset(torch.ones(N, dtype=torch.int64), reset)
    assert torch.equal(observation[:, 2:], torch.where((changed & reset)[:, None], second, first))
    assert torch.equal(batch.reset(2)[:, 2:], torch.where(changed[:, None], second, first))


def test_a_single_environment_shows_its_task_and_pickles() -> None:
    env = TaskEnv(with_task(make_family(WALK)), task={"goal": (0.25, 0.75), "scale": 2.0})
    observation, _ = env.reset(seed=1)
    assert observation.dtype == np.float32
    assert observation[2:].tolist() == [0.25, 0.75, 2.0]
    copied = pickle.loads(pickle.dumps(env))
    over = False
    while not over:
        ours, theirs = (each.step(np.array([0.1, 0.2], np.float32)) for each in (copied, env))
        assert same(ours, theirs)
        over = ours[2] or ours[3]
    assert env.reset(options={"task": {"goal": (0, 0), "scale": 1}})[0][2:].tolist() == [0, 0, 1]


def test_other_boxes_are_flattened() -> None:
    env = TaskEnv(with_task(Grid()))
    assert env.observation_space.shape == (6 + 5,)
    env.reset(seed=0)
    observation = env.step(1)[0]
    assert observation.dtype == np.float32
    assert observation[:6].tolist() == [1] * 6


def test_what_is_no_box_is_refused() -> None:
    with pytest.raises(MetaRLError, match=r"Numbered:default observes Discrete\(3\)"):
        with_task(Numbered())
    with pytest.raises(MetaRLError, match="takes a family"):
        with_task(WALK)  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="made of one variant"):
        make_family(with_task(make_family(WALK)), "closed")


def test_its_reference_players_see_what_they_always_saw() -> None:
    family = make_family("metarl/PointNavigation-v0", "pearl")
    tasks = family.splits.test
    for name in family.reference_policies():
        assert same(policy_returns(with_task(family), name, tasks), policy_returns(family, name, tasks))
    goals, shown = family.goals(tasks), with_task(family).goals(tasks)
    assert same(goals, shown)


def test_the_evaluation_driver_plays_the_same_episodes() -> None:
    family = make_family(WALK)
    tasks = family.splits.test[:3]
    goal = {"task.goal": torch.as_tensor(tasks.values["goal"], dtype=torch.float32)}
    shown, plain = (
        adaptation_curve(each.reference_policies()["go"], goal, each, tasks, points=2)
        for each in (with_task(family), family)
    )
    assert same(shown.returns, plain.returns)
    seen = shown.trajectories[1].observation[:, 0, 0, 0, 2:]
    assert torch.equal(seen, torch.as_tensor(tasks.vector, dtype=torch.float32))


@pytest.mark.parametrize("name", [WALK, "metarl/CartPole-v0"])
def test_it_behaves_as_a_family_must(name: str) -> None:
    family = make_family(name)
    subject = Subject(with_task(family))
    # The check of seeds in other processes makes the class anew, which only a registered family can.
    for check in {name: each for name, each in {**BEHAVIOUR, **VIEWS}.items() if name != "same seed"}.values():
        assert list(check(subject)) == []
    assert TaskEnv(with_task(family)).metadata["render_modes"] == TaskEnv(family).metadata["render_modes"]


def test_showing_it_twice_is_showing_it_once() -> None:
    shown = with_task(make_family(WALK))
    assert with_task(shown) is shown
