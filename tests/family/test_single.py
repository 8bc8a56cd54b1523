"""The plain Gymnasium environment of a family."""

import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3 import A2C
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from metarl.core.errors import MetaRLError
from metarl.core.random import gymnasium_keys
from metarl.family import make_family
from metarl.family.views.single import TaskEnv
from metarl.tasks import Tasks

WALK, SLOTS = "test/Walk-v0", "test/Slots-v0"
GOAL = {"goal": (0.25, 0.75), "scale": 2.0}


def make(**options: Any) -> TaskEnv:
    env = gymnasium.make(options.pop("family", WALK), **options).unwrapped
    assert isinstance(env, TaskEnv)
    return env


def goals(env: TaskEnv, resets: int) -> list[list[float]]:
    return [env.reset()[1]["task"]["goal"].tolist() for _ in range(resets)]


def same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


def test_it_is_on_the_default_task_and_info_names_it() -> None:
    observation, info = make().reset(seed=0)
    assert observation.dtype == np.float32
    assert same(info, {"task": {"goal": np.array([0.5, -0.5]), "scale": np.array(1.0)}, "trial_start": True})


def test_its_numbers_are_those_of_the_engine_under_gymnasiums_key() -> None:
    env, family = make(task=GOAL), make_family(WALK)
    batch = family.batch(Tasks.stack([family.validate(GOAL)]), gymnasium_keys(5))
    seeds = [5, None, None]
    for episode, seed in enumerate(seeds):  # without a seed the next reset is the next episode of the same stream
        assert same(env.reset(seed=seed)[0], batch.reset(episode)[0].numpy())
        for _ in range(12):
            action = env.action_space.sample()
            step, expected = env.step(action), batch.step(torch.from_numpy(action)[None])
            assert same(step[0], expected.observation[0].numpy())
            assert step[1:4] == (float(expected.reward[0]), bool(expected.terminated[0]), bool(expected.truncated[0]))
            if step[2] or step[3]:
                break


def test_a_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    one, other, third = make(), make(), make()
    assert same(one.reset(seed=3), other.reset(seed=3))
    assert not same(one.reset(seed=3)[0], third.reset(seed=4)[0])
    one.reset()
    assert same(one.reset(seed=3), other.reset(seed=3))  # a seed begins anew


def test_without_a_seed_environments_differ_and_go_on() -> None:
    one, other = make(), make()
    assert not same(one.reset()[0], other.reset()[0])
    assert not same(one.reset()[0], one.reset()[0])


def test_step_gives_python_numbers_and_the_familys_extras() -> None:
    env = make()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.zeros(2, np.float32))
    assert [type(v) for v in (observation, reward, terminated, truncated)] == [np.ndarray, float, bool, bool]
    assert info.keys() == {"task", "trial_start", "success", "parts", "steps", "d"}
    assert [type(info[name]) for name in ("success", "parts", "steps", "d")] == [bool, np.ndarray, int, float]
    assert info["trial_start"] is False
    np.testing.assert_allclose(info["parts"], observation - (0.5, -0.5), rtol=1e-6)
    assert reward == pytest.approx(-info["d"])


def test_what_it_returns_is_a_copy() -> None:
    env, other = make(), make()
    kept = [e.reset(seed=0) for e in (env, other)]
    kept[0][0][:], kept[0][1]["task"]["goal"][:] = 9, 9
    action = np.array([0.05, 0.1], np.float32)
    steps = [env.step(action), other.step(action)]
    assert same(steps[0], steps[1])
    steps[0][4]["task"]["goal"][:] = 9
    assert same(env.step(action), other.step(action))
    assert env.task["goal"].tolist() == [0.5, -0.5]


def test_actions_are_clipped_to_the_box() -> None:
    env, other = make(), make()
    env.reset(seed=0), other.reset(seed=0)
    assert same(env.step(np.array([-5.0, -5.0])), other.step(np.array([-0.1, 0.0], np.float32)))


def test_discrete_actions_begin_at_the_spaces_start() -> None:
    env = make(family=SLOTS, task={"chance": (1, 0, 0)})
    rewards = []
    for action in (1, np.int64(2), 3):
        env.reset(seed=0)
        rewards.append(env.step(action)[1])
    assert rewards == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("family", "action"),
    [(WALK, [0.0]), (WALK, [np.nan, 0]), (WALK, ["left", "up"]), (SLOTS, 0), (SLOTS, 4), (SLOTS, 1.5), (SLOTS, [1])],
)
def test_an_action_that_does_not_fit_is_refused(family: str, action: Any) -> None:
    env = make(family=family)
    env.reset(seed=0)
    with pytest.raises(MetaRLError, match="does not fit"):
        env.step(action)


def test_the_engine_truncates_at_the_horizon_and_the_spec_has_no_limit() -> None:
    env = gymnasium.make(SLOTS)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.reset(seed=0)
    assert [env.step(1)[3] for _ in range(4)] == [False, False, False, True]
    with pytest.raises(MetaRLError, match="no episode is running"):
        env.step(1)


def test_a_new_task_every_trial_by_key_and_trial() -> None:
    env, family = make(tasks="train", episodes_per_trial=2), make_family(WALK)
    _, first = env.reset(seed=9)
    found = [first["task"]["goal"].tolist(), *goals(env, 5)]
    drawn = [family.splits.train(gymnasium_keys(9), trial).values["goal"][0].tolist() for trial in (0, 0, 1, 1, 2, 2)]
    assert found == drawn
    assert [env.reset()[1]["trial_start"] for _ in range(4)] == [True, False, True, False]
    assert env.reset(seed=9)[1]["task"]["goal"].tolist() == drawn[0]


def test_the_trials_length_is_the_familys_unless_given() -> None:
    envs = [make(variant="disjoint", tasks="train"), make(family=SLOTS), make(family=SLOTS, episodes_per_trial=1)]
    assert [[env.reset()[1]["trial_start"] for _ in range(4)] for env in envs] == [
        [True, False, False, True],
        [True, False, True, False],
        [True, True, True, True],
    ]


@pytest.mark.parametrize("part", ["test", "ood"])
def test_a_finite_part_is_gone_through_in_order(part: str) -> None:
    tasks = make_family(WALK).splits.part(part)
    expected = tasks.values["goal"].tolist()
    assert goals(make(tasks=part), 103) == expected + expected[:3]


def test_a_finite_training_set_is_drawn_from() -> None:
    env, family = make(variant="disjoint", tasks="train", episodes_per_trial=1), make_family(WALK, "disjoint")
    env.reset(seed=0)
    found, train = goals(env, 60), family.splits.part("train").values["goal"].tolist()
    assert all(goal in train for goal in found)
    assert found[:15] != train


def test_a_batch_of_ones_own_is_gone_through_in_order() -> None:
    tasks = make_family(WALK).splits.test[:2]
    expected = tasks.values["goal"].tolist()
    assert goals(make(tasks=tasks), 3) == [expected[0], expected[1], expected[0]]


def test_a_task_set_by_options_starts_a_trial_and_survives() -> None:
    env = make(episodes_per_trial=3)
    env.reset(seed=0)
    _, info = env.reset(options={"task": GOAL})
    assert info["trial_start"]
    assert same(info["task"], {"goal": np.array([0.25, 0.75]), "scale": np.array(2.0)})
    following = [env.reset()[1] for _ in range(4)]
    assert [i["trial_start"] for i in following] == [False, False, True, False]
    assert all(same(i["task"], info["task"]) for i in following)
    assert same(env.reset(seed=4)[1]["task"], info["task"])


def test_a_task_set_by_options_lasts_a_trial_where_tasks_change() -> None:
    env, family = make(tasks="test", episodes_per_trial=2), make_family(WALK)
    env.reset(seed=0)
    env.reset(options={"task": GOAL})  # in the middle of the first trial
    expected = family.splits.test.values["goal"].tolist()
    assert goals(env, 3) == [[0.25, 0.75], expected[2], expected[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "huge"}, "no variant 'huge'; choose one of fresh, disjoint, closed"),
        ({"task": {"goal": (0, 3), "scale": 1}}, "lies outside"),
        ({"task": {"goal": (0, 0)}}, "needs the parameters"),
        ({"task": GOAL, "tasks": "train"}, "give one"),
        ({"tasks": "training"}, "choose one of train, val, test, ood"),
        ({"tasks": "ood", "variant": "closed"}, "no ood range"),
        ({"tasks": Tasks({"goal": [(0, 9)], "scale": [1]})}, "lies outside"),
        ({"episodes_per_trial": 0}, "at least one"),
        ({"family": SLOTS, "render_mode": "rgb_array"}, "define render"),
        ({"render_mode": np.array([1, 2])}, r"render_mode=array\(\[1, 2\]\)"),
        ({"variant": ["fresh"]}, r"no variant \['fresh'\]"),
        ({"device": "tpu9"}, "use 'cpu'"),
    ],
)
def test_bad_input_is_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        TaskEnv(**{"family": WALK, **options})


@pytest.mark.parametrize("options", [{"task": {"goal": (0, 9), "scale": 1}}, {"tasks": GOAL}])
def test_bad_options_are_refused_and_change_nothing(options: dict[str, Any]) -> None:
    env, other = make(), make()
    env.reset(seed=0), other.reset(seed=0)
    with pytest.raises(MetaRLError):
        env.reset(options=options)
    assert same(env.reset(), other.reset())


NO_ACTIONS: list[Any] = [{}, None, "left", [1], [[0.1, 0.1]], [0.1, [0.2]], np.nan, [np.nan, 0], 1j, set(), b""]


@pytest.mark.parametrize("action", NO_ACTIONS)
@pytest.mark.parametrize("family", [WALK, SLOTS])
def test_what_is_no_action_is_one_line(action: Any, family: str) -> None:
    env, envs = make(family=family), gymnasium.make_vec(family, 1)
    env.reset(seed=0), envs.reset(seed=0)
    for step, given in ((env.step, action), (envs.step, [action])):
        with pytest.raises(MetaRLError, match=r"does not fit (Box|Discrete)|actions for 1 env") as raised:
            step(given)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("seed", ["1", -1, 1.0, True, [4], (0, 1), np.float32(1), 1j])
def test_what_is_no_seed_is_refused_and_changes_nothing(seed: Any) -> None:
    env, other = make(), make()
    env.reset(seed=0), other.reset(seed=0)
    with pytest.raises(MetaRLError, match="give an integer of at least 0, or None"):
        env.reset(seed=seed)
    assert same(env.reset(), other.reset())


@pytest.mark.parametrize("dtype", ["float32", np.float32, torch.int64, None])
def test_numbers_of_another_type_than_torchs_floats_are_refused(dtype: Any) -> None:
    with pytest.raises(MetaRLError, match=r"give torch\.float32 or torch\.float64"):
        make(dtype=dtype)


@pytest.mark.parametrize("options", [["task"], "task", 3, {"task": 3}, {"task": ["goal"]}], ids=repr)
def test_options_that_are_no_dict_are_one_line(options: Any) -> None:
    with pytest.raises(MetaRLError, match=r"give a dict; it knows task|A task is a dict"):
        make().reset(options=options)


def test_a_single_environment_takes_test_tasks_unless_told_not_to() -> None:
    test = make_family(WALK).splits.test
    env = make(tasks="test")
    env.reset(seed=0, options={"task": test[3]})
    assert env.task["goal"].tolist() == test[3]["goal"].tolist()
    for options in ({"tasks": "test"}, {"tasks": test}, {"task": test[0]}):
        with pytest.raises(MetaRLError, match="evaluation=True"):
            make(evaluation=False, **options)
    with pytest.raises(MetaRLError, match="1 of 1 training tasks belong to the test split"):
        make(evaluation=False).reset(options={"task": test[0]})


def test_step_and_render_before_reset_are_refused() -> None:
    env = TaskEnv(WALK, render_mode="rgb_array")
    with pytest.raises(MetaRLError, match="before reset"):
        env.step(np.zeros(2))
    with pytest.raises(MetaRLError, match="before reset"):
        env.render()


@pytest.mark.parametrize("options", [{}, {"tasks": "train", "episodes_per_trial": 2}, {"render_mode": "rgb_array"}])
def test_a_pickled_environment_goes_on_identically(options: dict[str, Any]) -> None:
    env = make(**options)
    env.reset(seed=0)
    env.reset(options={"task": GOAL})
    env.step(env.action_space.sample())
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(40):
        action = env.action_space.sample()
        one, other = env.step(action), copy.step(action)
        assert same(one, other)
        if env.render_mode:
            assert same(env.render(), copy.render())
        if one[2] or one[3]:
            assert same(env.reset(), copy.reset())


def test_it_renders_the_episode_so_far() -> None:
    env = make(render_mode="rgb_array")
    for _ in range(2):
        env.reset(seed=0)
        env.step(np.zeros(2))
        picture = env.render()
        assert picture is not None
        assert picture[0, :, 0].tolist() == [255] * 2 + [0] * 14  # the states of this episode only


def test_a_family_without_pictures_says_so() -> None:
    assert make(family=SLOTS).metadata["render_modes"] == []
    with pytest.warns(UserWarning, match="without a render mode"):
        assert make().render() is None


def test_environments_share_no_space() -> None:
    one, other = make(), make()
    one.action_space.seed(0)
    first = one.action_space.sample()
    one.action_space.seed(0)
    other.action_space.sample()
    assert same(first, one.action_space.sample())


def test_a_number_that_is_not_finite_is_an_error() -> None:
    env = make()
    env.reset(seed=0)
    env._batch.state["position"][:] = float("nan")
    with pytest.raises(MetaRLError, match=r"observation that is not finite.*metarl check"):
        env.step(np.zeros(2))


def test_it_runs_in_float64() -> None:
    narrow, wide = make(), make(dtype=torch.float64)
    a, b = narrow.reset(seed=0)[0], wide.reset(seed=0)[0]
    assert b.dtype == np.float32  # the space's
    np.testing.assert_allclose(a, b, rtol=1e-6)
    assert wide._batch.state["position"].dtype == torch.float64


@pytest.mark.parametrize("variant", ["fresh", "disjoint", "closed"])
def test_gymnasiums_and_sb3s_checkers_pass(variant: str) -> None:
    env = gymnasium.make(WALK, variant=variant, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings():
        # Policies of ours act in [-1, 1]; the environment shows the physical Box.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized.*")
        check_env(env)
        sb3_check_env(env)


def test_sb3_learns_on_it() -> None:
    A2C("MlpPolicy", gymnasium.make(WALK, tasks="train"), n_steps=8, device="cpu").learn(32)
