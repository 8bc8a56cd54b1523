"""Families of environments that others wrote: the same numbers as a plain loop, in processes too, and bad input."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten

from metarl import MAML, GymnasiumFamily, MetaRLError, TaskSpace, Uniform, check_family, evaluate, make_family
from metarl.cli.main import main
from metarl.core.random import stream_keys
from metarl.envs.engine.gymnasium_batch import episode_seeds
from metarl.family import register_family
from metarl.family.checks.play import play, some_actions

USERS = '''from metarl import GymnasiumFamily, TaskSpace, Uniform, register_family


@register_family("my/Pendulum-v0")
class Pendulum(GymnasiumFamily):
    """A pendulum to swing up, in a gravity that it cannot see."""

    env = "Pendulum-v1"
    tasks = TaskSpace(g=Uniform(5.0, 15.0))
    horizon = 20
'''
METARL = str(Path(sys.executable).with_name("metarl"))


@register_family("test/GymPendulum-v0")
class Pendulum(GymnasiumFamily):
    """A pendulum to swing up, in a gravity that it cannot see."""

    env = "Pendulum-v1"
    tasks = TaskSpace(g=Uniform(5.0, 15.0))
    presets: ClassVar[Any] = {"here": {"horizon": 30}, "processes": {"horizon": 30, "workers": 2}, "long": {}}


class Reach(gymnasium.Env[Any, Any]):
    """A walk on a line to a goal, with the spaces that a test asks for; it can be drawn."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]

    def __init__(self, goal: float = 0.5, observations: str = "dict", actions: Any = None) -> None:
        position = Box(-9, 9, (1,), np.float64)
        spaces = {
            "dict": Dict({"position": position, "steps": Discrete(6), "cells": MultiDiscrete([2, 3])}),
            "tuple": Tuple((position, MultiBinary(2))),
            "discrete": Discrete(19),
            "image": Box(0, 255, (2, 3, 3), np.uint8),
        }
        self.kind, self.goal, self.render_mode = observations, goal, None
        self.observation_space = spaces[observations]
        self.action_space = Discrete(3) if actions is None else actions
        self.taken: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.steps = float(self.np_random.uniform(-1, 1)), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.taken.append(action)
        self.position += float(np.mean(np.concatenate([np.atleast_1d(part).ravel() for part in (action,)]))) - 1
        self.steps += 1
        near = abs(self.position - self.goal)
        return self._seen(), -near, near < 0.1, self.steps >= 5, {"is_success": near < 0.1, "distance": near}

    def render(self) -> Any:
        picture = np.zeros((4, 40, 3), np.uint8)
        picture[:, int(np.clip(20 + 5 * self.position, 0, 39))] = 255
        picture[0, self.steps] = 9
        return picture

    def _seen(self) -> Any:
        position = np.array([self.position])
        return {
            "dict": {"position": position, "steps": self.steps, "cells": np.array([self.steps % 2, self.steps % 3])},
            "tuple": (position, np.array([self.steps % 2, 1], np.int8)),
            "discrete": int(np.clip(round(self.position) + 9, 0, 18)),
            "image": np.full((2, 3, 3), self.steps, np.uint8),
        }[self.kind]


@register_family("test/GymReach-v0")
class ReachFamily(GymnasiumFamily):
    """A walk on a line to a hidden goal; it sees where it is and how often it has walked."""

    tasks = TaskSpace(goal=Uniform(-2, 2))
    horizon = 5
    extras = ("is_success", "distance")
    presets: ClassVar[Any] = {kind: {"observations": kind} for kind in ("dict", "tuple", "discrete", "image")}
    observations = "dict"

    def make_env(self, task: dict[str, Any]) -> Any:
        return Reach(task["goal"], self.observations)


def batch_of(family: Any, n: int = 6) -> Any:
    return family.batch(family.splits.train(stream_keys(n, "tasks")), stream_keys(n, "streams"))


def test_a_users_family_passes_the_check_and_is_short(tmp_path: Path) -> None:
    assert len(USERS.splitlines()) <= 15
    (tmp_path / "mine.py").write_text(USERS)
    command = [METARL, "check", "mine:my/Pendulum-v0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my/Pendulum-v0:default: ok" in done.stdout
    assert "not promised: the same numbers bit for bit on another machine" in done.stdout


@pytest.mark.parametrize("variant", ["dict", "tuple", "discrete", "image"])
def test_every_kind_of_observation_passes_the_check(variant: str) -> None:
    report = check_family("test/GymReach-v0", variant)
    assert report.ok, str(report)
    assert not report.notes  # it is drawn too


def test_returns_are_those_of_a_plain_loop_with_the_same_seeds() -> None:
    family = make_family("test/GymPendulum-v0", "long")
    assert family.horizon == 200
    batch = batch_of(family, 3)
    tasks, actions = family.splits.train(stream_keys(3, "tasks")), some_actions(family.action_space, 200, 3)
    for episode in (0, 3):
        played = play(batch, actions, episode)
        for i, seed in enumerate(episode_seeds(batch.keys, episode)):
            env = gymnasium.make("Pendulum-v1", g=float(tasks.values["g"][i]))
            seen, total = [env.reset(seed=seed)[0]], []
            for action in actions[:, i].numpy():
                observation, reward, _, truncated, _ = env.step(action)
                seen.append(observation)
                total.append(reward)
            assert truncated
            np.testing.assert_array_equal(played.observation[:, i], np.stack(seen))
            np.testing.assert_array_equal(played.reward[:, i], np.array(total, np.float32))


def test_processes_give_the_same_numbers() -> None:
    batches = [batch_of(make_family("test/GymPendulum-v0", variant), 5) for variant in ("here", "processes")]
    actions = some_actions(batches[0].action_space, 30, 5)
    here, there = (play(batch, actions, 2) for batch in batches)
    for name, value in here.fields().items():
        np.testing.assert_array_equal(value, there.fields()[name])
    some = torch.tensor([True, False, False, True, False])
    assert torch.equal(*(batch.reset(7, some) for batch in batches))
    assert torch.equal(*(batch.step(actions[0]).observation for batch in batches))


def test_environments_are_used_again_by_the_next_batch() -> None:
    family: Any = make_family("test/GymPendulum-v0", "here")
    first = batch_of(family)
    first.reset(0)
    envs = list(first._envs.envs)
    again = play(first, some_actions(family.action_space, 30, 6), 1)
    del first
    second = batch_of(family)
    other = play(second, some_actions(family.action_space, 30, 6), 1)
    assert all(a is b for a, b in zip(envs, second._envs.envs, strict=True))
    np.testing.assert_array_equal(again.reward, other.reward)


def test_a_pickled_batch_plays_its_running_episodes_on() -> None:
    family = make_family("test/GymReach-v0")
    batch, actions = batch_of(family), some_actions(family.action_space, 5, 6)
    batch.reset(4)
    batch.step(actions[0])
    copied, copied_too = pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)
    for action in actions[1:4]:
        steps = [each.step(action) for each in (batch, copied, copied_too)]
        for other in steps[1:]:
            assert torch.equal(steps[0].observation, other.observation)
            assert torch.equal(steps[0].reward, other.reward)


def test_what_info_has_is_recorded_and_an_ended_episode_stands_still() -> None:
    family = make_family("test/GymReach-v0")
    batch = batch_of(family, 40)
    batch.reset(0)
    steps = [batch.step(torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(k))) for k in range(5)]
    ended = steps[0].terminated
    assert ended.any()
    assert torch.equal(ended, steps[0].extras["is_success"] > 0)
    assert torch.allclose(steps[0].extras["distance"], -steps[0].reward)
    assert torch.equal(steps[0].observation[ended], steps[4].observation[ended])
    assert not steps[4].reward[ended].any()
    assert (steps[4].terminated | steps[4].truncated).all()
    assert not (steps[4].terminated & steps[4].truncated).any()


def test_observations_are_flattened_as_gymnasium_does() -> None:
    env = Reach()
    batch = batch_of(make_family("test/GymReach-v0"), 1)
    seed = episode_seeds(batch.keys, 0)[0]
    assert make_family("test/GymReach-v0").observation_space.shape == (12,)
    flat = flatten(env.observation_space, env.reset(seed=seed)[0])
    np.testing.assert_array_equal(batch.reset(0)[0].numpy(), flat.astype(np.float32))


@pytest.mark.parametrize(
    ("space", "n"),
    [
        (MultiDiscrete([2, 3]), 6),
        (MultiDiscrete([2, 2], start=[1, 5]), 4),
        (MultiBinary(3), 8),
        (Box(-1, 1, (2, 2), np.float32), None),
        (Discrete(4, start=2), 4),
    ],
)
def test_every_kind_of_action_reaches_the_environment(space: Any, n: int | None) -> None:
    class Acts(GymnasiumFamily):
        tasks = TaskSpace(goal=Uniform(5, 6))
        horizon = 5

        def make_env(self, task: dict[str, Any]) -> Any:
            return Reach(task["goal"], actions=space)

    family = Acts()
    assert family.action_space == Box(-1, 1, (4,), np.float32) if n is None else family.action_space.n == n  # type: ignore[attr-defined]
    k = n or 3
    batch: Any = batch_of(family, k)
    batch.reset(0)
    first = int(getattr(family.action_space, "start", 0))
    batch.step(torch.arange(k) + first if n else torch.rand(k, 4))
    taken = [np.asarray(env.taken[0]).tolist() for env in batch._envs.envs]
    assert len({str(each) for each in taken}) == k


@pytest.mark.parametrize(
    ("agent", "options"),
    [
        ("RL2", {"tasks": 8, "episodes": 2, "minibatches": 2}),
        ("MAML", {"tasks": 3, "episodes": 2, "inner_steps": 1}),
        ("PEARL", {"train_tasks": 4, "tasks": 2, "updates": 3, "meta_batch": 2}),
    ],
)
def test_agents_train_and_are_scored(agent: str, options: dict[str, Any]) -> None:
    import metarl

    cls = getattr(metarl, agent)
    trained = cls("test/GymPendulum-v0", cls.config_class(**options), variant="here", seed=1)
    before = {name: value.clone() for name, value in trained.params.items()}
    trained.learn(1000)
    assert any(not torch.equal(value, trained.params[name]) for name, value in before.items())
    scored = evaluate(trained, tasks=2, deterministic=False)
    assert np.isfinite(scored.returns).all()
    assert (scored.returns < 0).all()


def test_pictures_are_the_environments_own() -> None:
    family = make_family("test/GymReach-v0")
    env: Any = gymnasium.make("test/GymReach-v0", render_mode="rgb_array", task={"goal": 1.5}).unwrapped
    env.reset(seed=3)
    plain = Reach(1.5)
    plain.reset(seed=episode_seeds(env._trials.keys, 0)[0])
    for action in (2, 2, 0):
        assert np.array_equal(env.render(), plain.render())
        assert np.array_equal(env.render(), plain.render())  # drawn twice
        env.step(action)
        plain.step(action)
    no_pictures = type("NoPictures", (ReachFamily,), {"make_env": lambda self, task: Blind(task["goal"])})()
    with pytest.raises(MetaRLError, match="draws nothing, no rgb_array"):
        no_pictures.render([{"seed": np.array(1), "action": np.zeros(1)}], family.default())


class Blind(Reach):
    """The same without pictures."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]


class Changing(GymnasiumFamily):
    """A family that breaks on tasks above 1."""

    tasks = TaskSpace(goal=Uniform(0, 2))
    default_task: ClassVar[Any] = {"goal": 0.5}
    horizon = 5
    breaks = "raises"

    def make_env(self, task: dict[str, Any]) -> Any:
        if task["goal"] < 1:
            return Reach(task["goal"])
        if self.breaks == "raises":
            raise RuntimeError("no such\nworld")
        if self.breaks == "nothing":
            return None
        return Reach(task["goal"], *(["image"] if self.breaks == "observations" else ["dict", Discrete(5)]))


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        ("raises", r"make_env raised RuntimeError: no such world, on task \{'goal': 1\.\d+\}; mend it"),
        ("nothing", r"make_env returned None on task \{'goal': 1\.\d+\}; return a gymnasium\.Env"),
        ("observations", r"the observation space is Box\(.* on task \{'goal': 1\.\d+\}, and Dict\("),
        ("actions", r"the action space is Discrete\(5\) on task \{'goal': 1\.\d+\}, and Discrete\(3\)"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_task_that_fails_is_named(breaks: str, words: str, workers: int) -> None:
    family = type("Broken", (Changing,), {"breaks": breaks, "workers": workers})()
    with pytest.raises(MetaRLError, match=words) as caught:
        batch_of(family, 12).reset(0)
    assert "\n" not in str(caught.value)


class Unbounded(Reach):
    """Acts without limits."""

    def __init__(self) -> None:
        super().__init__(actions=Box(-np.inf, np.inf, (1,)))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, r"has no environment; set env = 'Pendulum-v1' or a class, or define make_env"),
        ({"env": Unbounded, "horizon": 5}, r"task \{'goal': .*Box\(-inf.* have no limits; declare action_space"),
        ({"env": Reach}, "no max_episode_steps; declare horizon"),
        ({"env": "Pendulum-v1"}, "PendulumEnv has no attribute 'goal' to set; define set_task"),
        ({"env": 3}, "env = 3; give an id of gymnasium.make, or a gymnasium.Env class"),
        ({"env": "Nowhere-v1"}, "raised NameNotFound"),
        ({"env": Reach, "horizon": 5, "workers": -1}, "workers=-1; give the number of processes"),
        (
            {"env": Reach, "horizon": 5, "observation_space": Box(-1, 1, (3,))},
            r"shape \(3,\).* have \(12,\) as policies",
        ),
        ({"env": Reach, "horizon": 5, "action_space": Box(-1, 1, (2,))}, "does not fit the environment's Discrete"),
    ],
)
def test_bad_declarations_are_one_line(declared: dict[str, Any], words: str) -> None:
    cls = type("Bad", (GymnasiumFamily,), {"tasks": TaskSpace(goal=Uniform(0, 1)), **declared})
    with pytest.raises(MetaRLError, match=words) as caught:
        cls()
    assert "\n" not in str(caught.value)


def test_limits_can_be_declared_where_the_environment_has_none() -> None:
    declared = {
        "env": Unbounded,
        "horizon": 5,
        "action_space": Box(-2, 2, (1,)),
        "tasks": TaskSpace(goal=Uniform(0, 1)),
    }
    batch = batch_of(type("Limited", (GymnasiumFamily,), declared)())
    batch.reset(0)
    assert torch.isfinite(batch.step(torch.ones(6, 1)).reward).all()


def test_an_error_of_the_environment_says_on_which_task() -> None:
    class Falls(Reach):
        def step(self, action: Any) -> Any:
            raise ZeroDivisionError("fell")

    cls = type("Falling", (GymnasiumFamily,), {"env": Falls, "horizon": 5, "tasks": TaskSpace(goal=Uniform(0, 1))})
    batch = batch_of(cls())
    batch.reset(0)
    with pytest.raises(ZeroDivisionError, match="fell") as caught:
        batch.step(torch.zeros(6, dtype=torch.int64))
    assert "In step of an environment of Falling:default, task {'goal': 0." in caught.value.__notes__[0]


def test_a_bare_environment_has_no_tasks() -> None:
    words = r"without tasks.*declare a TaskSpace.*`metarl new-family Pendulum-v1 > mine\.py`"
    for bare in ("Pendulum-v1", gymnasium.make("Pendulum-v1"), PendulumEnv):
        with pytest.raises(MetaRLError, match=words):
            make_family(bare)  # type: ignore[arg-type]
        with pytest.raises(MetaRLError, match=words):
            MAML(bare)  # type: ignore[arg-type]
    for decorate in (lambda: register_family(PendulumEnv), lambda: register_family("test/Bare-v0")(PendulumEnv)):  # type: ignore[arg-type, type-var]
        with pytest.raises(MetaRLError, match=words):
            decorate()  # type: ignore[no-untyped-call]
    done = subprocess.run([METARL, "train", "maml", "Pendulum-v1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "metarl new-family Pendulum-v1 > mine.py" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_environment_of_a_family_stands_for_it() -> None:
    family = make_family(gymnasium.make("test/GymReach-v0", variant="tuple"))
    assert family.name == "test/GymReach-v0:tuple"
    config = MAML.config_class(tasks=2, episodes=2)
    assert MAML(gymnasium.make("test/GymReach-v0"), config).family.name == "test/GymReach-v0:dict"


def test_env_workers_change_no_number_and_are_refused_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    users = USERS.replace("my/Pendulum", "my/Workers")
    (tmp_path / "mine_too.py").write_text(users)
    sizes = ["--config.tasks", "4", "--config.minibatches", "2", "--timesteps", "100", "--quiet"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scores = []
    for workers in ("0", "2"):
        option = ["--env-workers", workers]
        main(["train", "rl2", "mine_too:my/Workers-v0", *sizes, "--name", workers, *option])
        family = ["--family", "mine_too:my/Workers-v0", "--tasks", "3", "--quiet"]
        main(["evaluate", f"runs/{workers}", *family, *option])
        scores.append(json.loads((tmp_path / "runs" / workers / "evaluation-test.json").read_text())["returns"])
    assert scores[0] == scores[1]
    capsys.readouterr()
    for words in (["metarl/PointNavigation-v0"], ["mine_too:my/Workers-v0", "--seed", "0", "1", "--jobs", "2"]):
        with pytest.raises(SystemExit):
            main(["train", "rl2", *words, "--env-workers", "2"])
        refused = capsys.readouterr().err
        assert len(refused.splitlines()) == 1
        assert "--env-workers 2" in refused
