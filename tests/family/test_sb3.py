"""Families as SB3 vector environments: SB3's own vector of single environments, number for number, and trained on."""

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray
from sb3_contrib import TQC, TRPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize
from torch import Tensor

import metarl
from metarl.core.actions import ActionMap
from metarl.core.errors import MetaRLError
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import family_class
from metarl.family.views.observed import with_task
from metarl.family.views.sb3 import TaskVecEnv
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Choice, Closed, Disjoint, TaskSpace, Uniform

N = 4
GOAL = {"goal": (0.25, 0.75), "scale": 1.0}


class Drift(TorchFamily):
    """A noisy walk to a goal in a Box off the middle, which ends by accident at different times."""

    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2,)), scale=Uniform(0.5, 2))
    observation_space = Box(-10, 10, (2,))
    action_space = Box(np.array([-0.1, 0.0], np.float32), np.array([0.1, 0.3], np.float32))
    horizon = 12
    draws = (2, 3)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fresh": {},
        "disjoint": {"split": Disjoint(test=5, total=20), "episodes_per_trial": 3},
        "closed": {"tasks": TaskSpace(goal=Choice(((1, 0), (0, 1))), scale=Choice((1.0,))), "split": Closed()},
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"position": 0.2 * (u - 0.5)}

    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        position = state["position"] + action + 0.02 * (u[:, :2] - 0.5)
        offset = position - task["goal"]
        distance = torch.linalg.vector_norm(offset, dim=-1)
        extras = {"success": distance < 0.2, "parts": offset, "distance": distance, "near": (distance < 1).long()}
        return {"position": position}, -task["scale"] * distance, u[:, 2] < 0.08, extras

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["position"]

    def render(self, history: Any, task: Any) -> NDArray[np.uint8]:
        return np.full((4, 6, 3), len(history), np.uint8)


Slots = family_class("test/Slots-v0")  # which conftest.py registers


def own(family: TorchFamily, actions: NDArray[Any]) -> NDArray[Any]:
    """What a policy's actions are in the family's own space."""
    mapped = ActionMap(family.action_space, "cpu", torch.float32).to_env(torch.as_tensor(actions))
    return np.asarray(mapped.numpy())


def same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


CASES: list[tuple[TorchFamily, dict[str, Any]]] = [
    (Drift(), {"tasks": "train"}),
    (Drift(), {"tasks": "test", "episodes_per_trial": 2, "evaluation": True}),
    (Drift(), {"task": GOAL}),
    (Drift("disjoint"), {"tasks": "train"}),
    (Slots(), {"tasks": "train"}),
]


@pytest.mark.parametrize(("family", "options"), CASES)
def test_it_equals_sb3s_vector_of_single_environments(family: TorchFamily, options: dict[str, Any]) -> None:
    envs = TaskVecEnv(family, N, **options, seed=7)
    singles = [TaskEnv(family, **options) for _ in range(N)]
    others = DummyVecEnv([lambda env=env: env for env in singles])  # type: ignore[misc]
    others.seed(7)
    envs.action_space.seed(0)
    ended = 0
    for seed in (None, 3, None):  # the seed that it was made with, another, and the streams going on
        if seed is not None:
            assert envs.seed(seed) == others.seed(seed) == [3, 4, 5, 6]
        assert same(envs.reset(), others.reset())
        assert same(envs.reset_infos, others.reset_infos)
        for _ in range(30):
            actions = np.stack([envs.action_space.sample() for _ in range(N)])
            ours, theirs = envs.step(actions), others.step(own(family, actions))
            assert same(ours[:3], theirs[:3])
            assert same(ours[3], theirs[3])
            assert same(envs.reset_infos, others.reset_infos)
            assert same(envs.get_attr("task"), [env.task for env in singles])
            ended += int(ours[2].sum())
    assert ended > 3 * N


def test_it_equals_the_vector_that_it_stands_on() -> None:
    family = Drift()
    envs, vector = TaskVecEnv(family, N, seed=5), TaskVectorEnv(family, N, tasks="train", autoreset_mode="SameStep")
    assert same(envs.reset(), vector.reset(seed=5)[0])
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.uniform(-1.2, 1.2, (N, 2)).astype(np.float32)  # beyond the limits, which clip
        observation, reward, done, infos = envs.step(actions)
        expected = vector.step(own(family, actions))
        assert same(observation, expected[0])
        assert same(reward, expected[1].astype(np.float32))
        assert same(done, expected[2] | expected[3])
        for i in np.flatnonzero(done):
            assert same(infos[i]["terminal_observation"], expected[4]["final_obs"][i])
            assert not same(infos[i]["terminal_observation"], observation[i])
            assert infos[i]["distance"] == expected[4]["final_info"]["distance"][i]


def test_time_limits_are_told_from_ends() -> None:
    envs = TaskVecEnv(Drift(), 16)
    envs.reset()
    elapsed, seen = np.zeros(16, int), set()
    for _ in range(30):
        _, _, done, infos = envs.step(np.zeros((16, 2), np.float32))
        elapsed += 1
        for i, info in enumerate(infos):
            assert ("terminal_observation" in info) == done[i]
            if done[i]:
                seen.add(info["TimeLimit.truncated"])
            if elapsed[i] < Drift.horizon:
                assert info["TimeLimit.truncated"] is False
            else:
                assert done[i]
        elapsed[done] = 0
    assert seen == {True, False}


def test_what_it_returns_is_the_callers() -> None:
    envs, others = (TaskVecEnv(Drift(), N, seed=1) for _ in range(2))
    seen = envs.reset()
    others.reset()
    for _ in range(20):
        seen[:] = 9  # must not reach the next step
        actions = np.full((N, 2), 0.5, np.float32)
        given = actions.copy()
        seen, reward, done, infos = envs.step(actions)
        assert same((seen, reward, done, infos), others.step(given))
        assert same(actions, given)
        reward[:], done[:] = 9, True
        for info in infos:
            info["task"]["goal"][:] = 9
            info["parts"][:] = 9
        for task in envs.get_attr("task"):
            task["goal"][:] = 9


ALGORITHMS: list[tuple[Any, TorchFamily, dict[str, Any]]] = [
    (PPO, Drift(), {"n_steps": 16, "batch_size": 32, "n_epochs": 2}),
    (A2C, Drift(), {}),
    (SAC, Drift(), {"learning_starts": 100, "buffer_size": 500, "batch_size": 16}),
    (TD3, Drift(), {"learning_starts": 100, "buffer_size": 500, "batch_size": 16}),
    (DDPG, Drift(), {"learning_starts": 100, "buffer_size": 500, "batch_size": 16}),
    (TRPO, Drift(), {"n_steps": 16, "batch_size": 32}),
    (TQC, Drift(), {"learning_starts": 100, "buffer_size": 500, "batch_size": 16}),
    (PPO, Slots(), {"n_steps": 16, "batch_size": 32, "n_epochs": 2}),
    (DQN, Slots(), {"learning_starts": 100, "buffer_size": 500, "batch_size": 16}),
]


@pytest.mark.parametrize(
    ("algorithm", "family", "settings"),
    ALGORITHMS,
    ids=[f"{algorithm.__name__}-{type(family).__name__}" for algorithm, family, _ in ALGORITHMS],
)
def test_sb3s_algorithms_learn_on_it(algorithm: Any, family: TorchFamily, settings: dict[str, Any]) -> None:
    envs = VecMonitor(TaskVecEnv(family, N, observe_task=True))
    model = algorithm("MlpPolicy", envs, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu", **settings)
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(256)
    assert model.num_timesteps >= 256
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    assert len(model.ep_info_buffer) > N
    returns, lengths = evaluate_policy(
        model,
        VecMonitor(TaskVecEnv(family, 2, tasks="test", observe_task=True, evaluation=True)),
        6,
        return_episode_rewards=True,
    )
    assert len(returns) == 6
    assert all(0 < length <= family.horizon for length in lengths)


def test_a_recurrent_policy_learns_across_the_episodes_of_trials() -> None:
    envs = TaskVecEnv(Drift("disjoint"), N)
    policy = {"net_arch": [8], "lstm_hidden_size": 8}
    RecurrentPPO("MlpLstmPolicy", envs, n_steps=16, batch_size=32, policy_kwargs=policy, device="cpu").learn(128)


def test_it_passes_through_sb3s_wrappers() -> None:
    plain = TaskVecEnv(Drift(), N, seed=2)
    wrapped = VecNormalize(VecMonitor(TaskVecEnv(Drift(), N, seed=2)), norm_reward=False)
    raw = plain.reset()
    normalised = wrapped.reset()
    assert same(wrapped.get_original_obs(), raw)
    total, episodes = np.zeros(N, np.float32), 0
    for _ in range(30):
        actions = np.full((N, 2), 0.3, np.float32)
        raw, reward, done, _ = plain.step(actions)
        normalised, _, _, infos = wrapped.step(actions)
        assert same(wrapped.get_original_obs(), raw)
        total += reward
        for i in np.flatnonzero(done):
            assert infos[i]["episode"]["r"] == pytest.approx(total[i])
            total[i], episodes = 0, episodes + 1
    assert np.abs(normalised).max() <= 10
    assert episodes > N


def test_spaces_are_what_sb3_expects() -> None:
    envs = TaskVecEnv(Drift(), N)
    assert envs.action_space == Box(-1, 1, (2,), np.float32)
    assert envs.observation_space == Drift.observation_space
    assert TaskVecEnv(Slots(), N).action_space == Discrete(3)
    assert TaskVecEnv(Drift(), N, observe_task=True).observation_space.shape == (5,)


def test_attributes_and_methods() -> None:
    envs = TaskVecEnv("metarl/PointNavigation-v0", N, task={"goal": (0.1, 0.2)}, render_mode="rgb_array")
    envs.reset()
    assert [task["goal"].tolist() for task in envs.get_attr("task", [0, 2])] == [[0.1, 0.2]] * 2
    assert envs.get_attr("render_mode", 1) == ["rgb_array"]
    assert envs.get_attr("family") == [envs.family] * N
    assert not envs.has_attr("action_masks")
    assert envs.env_is_wrapped(gymnasium.Wrapper) == [False] * N
    assert len(envs.env_method("make_split", 7, indices=1)[0].test) == 7
    assert [image.shape for image in envs.env_method("render", indices=[0, 3])] == [envs.get_images()[0].shape] * 2  # type: ignore[union-attr]
    picture = envs.render()
    assert picture is not None
    assert picture.ndim == 3
    with pytest.raises(MetaRLError, match="no attributes to set"):
        envs.set_attr("goal", 1)
    envs.close()


def test_options_give_the_next_tasks() -> None:
    envs = TaskVecEnv(Drift(), N)
    envs.set_options({"task": GOAL})
    envs.reset()
    assert all(info["trial_start"] and info["task"]["goal"].tolist() == [0.25, 0.75] for info in envs.reset_infos)
    envs.reset()
    assert len({info["task"]["goal"].tobytes() for info in envs.reset_infos}) == N
    with pytest.raises(MetaRLError, match="give every environment a task"):
        envs.set_options([{"task": GOAL}, {}, {}, {}])


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_a_seed_is_a_stream(seeds: tuple[int, int]) -> None:
    one, other = (play(TaskVecEnv(Drift(), N, seed=seed)) for seed in seeds)
    assert same(one, other) == (seeds[0] == seeds[1])
    # Environment i has the seed + i.
    assert same(one[0][:, seeds[1]], other[0][:, 0])


@pytest.mark.parametrize("seed", ["1", -1, float("nan"), [4], 1j])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(MetaRLError, match="give an integer of at least 0, or None"):
        TaskVecEnv(Drift(), N).seed(seed)


@pytest.mark.parametrize("actions", ["left", None, 1j, {1}, [[0.0, 0.0], [0.0]], [None] * N, b""], ids=repr)
@pytest.mark.parametrize("family", [Drift, "metarl/BernoulliBandit-v0"])
def test_what_are_no_actions_is_refused(actions: Any, family: Any) -> None:
    envs = TaskVecEnv(family if isinstance(family, str) else family(), N)
    envs.reset()
    with pytest.raises(MetaRLError, match=r"are no (numbers|integers); give an array of 4"):
        envs.step(actions)


def test_actions_that_are_no_integers_are_refused_where_integers_are_chosen_from() -> None:
    envs = TaskVecEnv("metarl/BernoulliBandit-v0", N)
    envs.reset()
    with pytest.raises(MetaRLError, match="are no integers"):
        envs.step(np.full(N, 0.5))
    envs.step(np.zeros(N, np.int32))


def play(envs: VecEnv) -> list[NDArray[Any]]:
    rows = [envs.reset(), *(envs.step(np.zeros((N, 2), np.float32))[0] for _ in range(15))]
    return [np.stack(rows)]  # type: ignore[arg-type]


def test_training_on_test_tasks_is_refused() -> None:
    family = Drift("disjoint")
    test = family.splits.test
    with pytest.raises(MetaRLError, match=r"2 of 2 training tasks belong to the test split.*evaluation=True"):
        TaskVecEnv(family, N, tasks=test[:2])
    with pytest.raises(MetaRLError, match=r"tasks='test' are not to train on.*evaluation=True"):
        TaskVecEnv(family, N, tasks="test")
    with pytest.raises(MetaRLError, match="1 of 1 training tasks belong to the test split"):
        TaskVecEnv(family, N, task=test[0])
    assert family.splits.train_set is not None
    TaskVecEnv(family, N, tasks=family.splits.train_set[:2])
    TaskVecEnv(family, N, task=family.splits.train_set[0])
    closed = Drift("closed")
    TaskVecEnv(closed, N, tasks=closed.splits.test)


def test_options_take_no_test_task_either() -> None:
    family = Drift("disjoint")
    test, train = family.splits.test, family.splits.train_set
    assert train is not None
    envs = TaskVecEnv(family, N)
    for options in ({"task": test[0]}, [{"task": test[0]}, *({"task": train[i]} for i in range(1, N))]):
        with pytest.raises(MetaRLError, match=r"belong to the test split.*evaluation=True"):
            envs.set_options(options)
        envs.reset()  # the options were not taken
        begun = {info["task"]["goal"].tobytes() for info in envs.reset_infos}
        assert not begun & {goal.tobytes() for goal in test.values["goal"]}
    envs.set_options([{"task": train[i]} for i in range(N)])
    envs.reset()


def test_an_evaluation_takes_every_task() -> None:
    family = Drift("disjoint")
    test = family.splits.test
    for options in ({"tasks": "test"}, {"tasks": test}, {"task": test[0]}):
        envs = TaskVecEnv(family, N, evaluation=True, **options)  # type: ignore[arg-type]
        envs.reset()
        assert envs.reset_infos[0]["task"]["goal"].tolist() == test[0]["goal"].tolist()
        envs.set_options({"task": test[1]})
        envs.reset()
        assert envs.reset_infos[0]["task"]["goal"].tolist() == test[1]["goal"].tolist()


def test_bad_input_is_told() -> None:
    with pytest.raises(MetaRLError, match="num_envs=0"):
        TaskVecEnv(Drift(), 0)
    with pytest.raises(MetaRLError, match="render_mode='human'"):
        TaskVecEnv(Slots(), N, render_mode="human")
    with pytest.raises(MetaRLError, match="Both task="):
        TaskVecEnv(Drift(), N, task=GOAL, tasks="test")
    for wrong in ({"tasks": ["train"]}, {"tasks": np.arange(2)}, {"tasks": 3}):
        with pytest.raises(MetaRLError, match="give 'train', 'test', 'ood' or a Tasks batch"):
            TaskVecEnv(Drift(), N, **wrong)
    for options in (3, "task", [3] * N, [{"task": GOAL}], {"task": None}, {"task": 3}, {"tsk": GOAL}):
        with pytest.raises(MetaRLError):
            TaskVecEnv(Drift(), N).set_options(options)
    envs = TaskVecEnv(Drift(), N)
    with pytest.raises(MetaRLError, match=r"before reset"):
        envs.step(np.zeros((N, 2), np.float32))
    envs.reset()
    with pytest.raises(MetaRLError, match=r"shape \(4, 3\), they must have \(4, 2\)"):
        envs.step(np.zeros((N, 3), np.float32))
    with pytest.raises(MetaRLError, match="does not fit"):
        envs.step(np.full((N, 2), np.nan, np.float32))
    slots = TaskVecEnv(Slots(), N)
    slots.reset()
    with pytest.raises(MetaRLError, match="does not fit"):
        slots.step(np.full(N, 3))


def test_the_package_exports_it() -> None:
    assert metarl.TaskVecEnv is TaskVecEnv
    assert metarl.with_task is with_task
