"""The Gymnasium vector environment of a family: Gymnasium's own vector of single environments, number for number."""

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from metarl.core.errors import MetaRLError
from metarl.family import make_family
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks

WALK, SLOTS = "test/Walk-v0", "test/Slots-v0"
GOAL = {"goal": (0.25, 0.75), "scale": 2.0}
N = 4
MODES = list(AutoresetMode)


def make(family: str = WALK, num_envs: int = N, **options: Any) -> TaskVectorEnv:
    envs = gymnasium.make_vec(family, num_envs, **options)
    assert isinstance(envs, TaskVectorEnv)
    return envs


def reference(family: str, mode: AutoresetMode, **options: Any) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec(family, N, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options)


def same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


def play_both(envs: TaskVectorEnv, others: Any, steps: int) -> int:
    """Step both with the same actions; returns how many episodes ended."""
    ended, done = 0, np.zeros(N, dtype=bool)
    for _ in range(steps):
        if envs.autoreset_mode is AutoresetMode.DISABLED and done.any():
            ours, theirs = (e.reset(options={"reset_mask": done.copy()}) for e in (envs, others))
            assert same(ours, theirs)
        actions = others.action_space.sample()
        ours, theirs = envs.step(actions), others.step(actions)
        assert same(ours, theirs)
        done = ours[2] | ours[3]
        ended += int(done.sum())
    return ended


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    ("family", "options"),
    [
        (WALK, {}),
        (WALK, {"task": GOAL, "episodes_per_trial": 2}),
        (WALK, {"tasks": "train", "episodes_per_trial": 2}),
        (WALK, {"tasks": "train", "variant": "disjoint"}),
        (WALK, {"tasks": "test", "evaluation": True}),
        (SLOTS, {"tasks": "train"}),
    ],
)
def test_it_equals_gymnasiums_vector_of_single_environments(mode: AutoresetMode, family: str, options: Any) -> None:
    envs, others = make(family, autoreset_mode=mode, **options), reference(family, mode, **options)
    others.action_space.seed(0)
    assert same(envs.reset(seed=7), others.reset(seed=7))
    assert play_both(envs, others, 40) >= N
    # An int, nothing, and a list with gaps, where the stream goes on.
    for seed in (3, None, [5, None, 1, None]):
        assert same(envs.reset(seed=seed), others.reset(seed=seed))
        play_both(envs, others, 14)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_resets_with_options_equal_gymnasiums_too(mode: AutoresetMode) -> None:
    envs, others = (f(WALK, autoreset_mode=mode) if f is make else f(WALK, mode) for f in (make, reference))
    others.action_space.seed(0)
    assert same(envs.reset(seed=7), others.reset(seed=7))
    play_both(envs, others, 3)
    assert same(envs.reset(options={"task": GOAL}), others.reset(options={"task": GOAL}))
    play_both(envs, others, 5)
    mask = np.array([True, False, True, False])
    options = {"task": {"goal": (0, 0), "scale": 1}, "reset_mask": mask}
    assert same(envs.reset(seed=4, options=dict(options)), others.reset(seed=4, options=dict(options)))
    assert options["reset_mask"] is mask
    play_both(envs, others, 30)


def test_the_mode_is_next_step_unless_asked() -> None:
    assert make().metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert make(autoreset_mode="SameStep").metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_actions_of_environments_that_restart_are_not_read() -> None:
    envs = make(SLOTS, num_envs=2)
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([1, 2]))
    assert envs.step(np.array([99, -1]))[1].tolist() == [0, 0]
    with pytest.raises(MetaRLError, match="does not fit"):
        envs.step(np.array([1, 99]))


def test_an_ended_episode_must_be_reset_where_autoreset_is_disabled() -> None:
    envs = make(SLOTS, num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([1, 1]))
    with pytest.raises(MetaRLError, match=r"environments \[0, 1\] are over.*reset_mask"):
        envs.step(np.array([1, 1]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(MetaRLError, match=r"environments \[1\] are over"):
        envs.step(np.array([1, 1]))
    envs.reset()
    envs.step(np.array([1, 1]))


def test_one_reset_by_hand_leaves_the_others_to_the_next_step() -> None:
    envs, others = make(SLOTS), reference(SLOTS, AutoresetMode.NEXT_STEP)
    envs.reset(seed=0), others.reset(seed=0)
    for _ in range(4):
        envs.step(np.ones(N, int)), others.step(np.ones(N, int))
    first = np.arange(N) == 0
    assert same(*(e.reset(options={"reset_mask": first.copy()}) for e in (envs, others)))
    for _ in range(6):
        assert same(envs.step(np.ones(N, int)), others.step(np.ones(N, int)))


def test_each_environment_may_have_a_task_of_its_own() -> None:
    envs, tasks = make(evaluation=True), make_family(WALK).splits.test[:N]
    _, info = envs.reset(seed=0, options={"task": tasks})
    np.testing.assert_array_equal(info["task"]["goal"], tasks.values["goal"])
    assert info["_task"].all()
    for _ in range(30):
        info = envs.step(envs.action_space.sample())[4]
    np.testing.assert_array_equal(info["task"]["goal"], tasks.values["goal"])
    with pytest.raises(MetaRLError, match="3 tasks for 4 environments"):
        envs.reset(options={"task": tasks[:3]})


def test_what_it_returns_is_a_copy() -> None:
    envs, others = make(), make()
    returned = envs.reset(seed=0), others.reset(seed=0)
    for _ in range(20):
        observation, info = returned[0][0], returned[0][-1]
        observation[:] = 9
        info["task"]["goal"][:] = 9
        info["_task"][:] = False
        info["trial_start"][:] = True
        actions = others.action_space.sample()
        returned = envs.step(actions), others.step(actions)  # type: ignore[assignment]
        assert same(returned[0], returned[1])
        returned[0][2][:], returned[0][3][:] = False, False


def test_environments_without_a_seed_differ() -> None:
    observation, _ = make(num_envs=50).reset()
    assert len(np.unique(observation, axis=0)) == 50
    assert not same(observation, make(num_envs=50).reset()[0])


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_a_pickled_vector_goes_on_identically(mode: AutoresetMode) -> None:
    envs = make(tasks="train", autoreset_mode=mode)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(5):
        envs.step(envs.action_space.sample())
    copy = pickle.loads(pickle.dumps(envs))
    for _ in range(20):
        actions = envs.action_space.sample()
        assert same(envs.step(actions), copy.step(actions))


def test_it_renders_every_environment_as_a_single_one_does() -> None:
    envs, others = make(render_mode="rgb_array"), reference(WALK, AutoresetMode.NEXT_STEP, render_mode="rgb_array")
    envs.reset(seed=0), others.reset(seed=0)
    for _ in range(25):
        actions = others.action_space.sample()
        envs.step(actions), others.step(actions)
        pictures, expected = envs.render(), others.render()
        assert pictures is not None
        assert all(same(ours, theirs) for ours, theirs in zip(pictures, expected, strict=True))


def test_gymnasiums_wrappers_count_its_episodes() -> None:
    envs = RecordEpisodeStatistics(make(SLOTS))
    envs.reset(seed=0)
    lengths = [
        info["episode"]["l"].tolist()
        for *_, info in (envs.step(np.ones(N, int)) for _ in range(9))
        if "episode" in info
    ]
    assert lengths == [[4] * N] * 2  # the step between them resets


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(num_envs=0), "at least one"),
        (lambda: make().step(np.zeros((N, 2))), "before reset"),
        (lambda: make().reset(seed=[1, 2]), "2 seeds for 4 environments"),
        (lambda: make().reset(seed=[1, 2, 3, -4]), "seed=-4: give an integer of at least 0"),
        (lambda: make().reset(options={"reset_mask": np.ones(2, bool)}), r"bool array \(4,\)"),
        (lambda: make().reset(options={"reset_mask": np.zeros(N, bool)}), "a true element"),
        (lambda: make().reset(options={"reset_mask": np.arange(N) > 1}), "first reset is of all"),
        (lambda: make().reset(options={"mask": np.ones(N, bool)}), "no 'mask'; it knows task, reset_mask"),
        (lambda: make().reset(options={"task": Tasks({"goal": [(0, 9)] * N, "scale": [1] * N})}), "lies outside"),
        (lambda: make().reset(options=["task"]), r"reset\(options=\['task'\]\): give a dict; it knows task"),
        (lambda: make().reset(options=3), "give a dict"),  # type: ignore[arg-type]  # on purpose
        (lambda: make().reset(options={"task": 3}), "A task is a dict"),
        (lambda: make().reset(seed=1.5), "give an integer, or a list"),  # type: ignore[arg-type]  # on purpose
        (lambda: TaskVectorEnv(WALK, "4"), "num_envs='4'; give an integer"),  # type: ignore[arg-type]  # on purpose
        (lambda: TaskVectorEnv(WALK, 2.0), "num_envs=2.0"),  # type: ignore[arg-type]  # on purpose
        (lambda: TaskVectorEnv(WALK, True), "num_envs=True"),
        (lambda: TaskVectorEnv(WALK, autoreset_mode="now"), "'now'; choose one of NextStep, SameStep, Disabled"),
        (lambda: TaskVectorEnv(3), "family=3: give an id"),  # type: ignore[arg-type]  # on purpose
        (lambda: make(episodes_per_trial=1.5), "episodes_per_trial=1.5; give an integer"),
        (lambda: make(SLOTS, render_mode="rgb_array"), "define render"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        call()


@pytest.mark.parametrize("entrance", ["tasks", "task", "options", "batch"])
def test_test_tasks_are_refused_at_every_entrance_but_to_evaluate(entrance: str) -> None:
    family = make_family(WALK, "disjoint")
    test, ood = family.splits.test, family.splits.part("ood")

    def enter(tasks: Tasks, **options: Any) -> None:
        if entrance == "tasks":
            TaskVectorEnv(family, N, tasks=tasks, **options)
        elif entrance == "task":
            TaskVectorEnv(family, N, task=tasks[1], **options)
        else:
            given = tasks[1] if entrance == "options" else tasks[:N]
            TaskVectorEnv(family, N, **options).reset(seed=0, options={"task": given})

    for part, held_out in {"test": test, "ood": ood}.items():
        near = Tasks({name: value + 1e-9 for name, value in held_out.values.items()})
        turned = Tasks(dict(reversed(held_out.values.items())))
        for tasks in (held_out, near, turned):
            with pytest.raises(MetaRLError, match=f"belong to the {part} split.*evaluation=True"):
                enter(tasks)
            enter(tasks, evaluation=True)
    assert family.splits.train_set is not None
    enter(family.splits.train_set)


@pytest.mark.parametrize("part", ["test", "ood"])
def test_parts_that_are_scored_on_are_refused_by_name(part: str) -> None:
    with pytest.raises(MetaRLError, match=f"tasks='{part}' are not to train on"):
        make(tasks=part)
    make(tasks=part, evaluation=True)


def test_the_wrong_number_of_actions_is_refused() -> None:
    envs = make()
    envs.reset(seed=0)
    with pytest.raises(MetaRLError, match="3 actions for 4 environments"):
        envs.step(np.zeros((3, 2)))


def test_a_gpu_gives_the_numbers_of_a_cpu(cuda: str) -> None:
    envs, others = (make(tasks="train", device=device) for device in (cuda, "cpu"))
    np.testing.assert_allclose(envs.reset(seed=0)[0], others.reset(seed=0)[0], atol=1e-6)
    for _ in range(30):
        actions = others.action_space.sample()
        for ours, theirs in zip(envs.step(actions)[:4], others.step(actions)[:4], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
