"""Environments of other packages as families from a user's file of at most 15 lines: checked, trained on and scored."""

from pathlib import Path

import numpy as np
import pytest

from metarl import GymnasiumFamily, check_family, evaluate, make_family
from metarl.algorithm.registry import agent_class
from metarl.core.plugins import import_module

ROOMS = '''import gymnasium
import minigrid  # tells Gymnasium its ids
from metarl import Choice, Closed, GymnasiumFamily, TaskSpace, register_family
from minigrid.wrappers import ImgObsWrapper


@register_family("my/Room-v0")
class Room(GymnasiumFamily):
    """A room of hidden size with a goal in its corner; the text of the mission is left out."""

    tasks, split, horizon = TaskSpace(size=Choice((5, 6, 7, 8, 9))), Closed(), 30

    def make_env(self, task):
        return ImgObsWrapper(gymnasium.make("MiniGrid-Empty-8x8-v0", size=int(task["size"]), max_steps=30))
'''
# The robot arms of the same package do not run on mujoco 4.0, whose enumerations no longer equal integers.
MAZE = '''import gymnasium
import gymnasium_robotics  # tells Gymnasium its ids
from gymnasium.wrappers import FilterObservation
from metarl import Choice, Closed, GymnasiumFamily, TaskSpace, register_family


@register_family("my/Maze-v0")
class Maze(GymnasiumFamily):
    """Push a ball to the end of a corridor that holds a goal, which it cannot see."""

    tasks, split, horizon = TaskSpace(end=Choice((0, 1))), Closed(), 60

    def make_env(self, task):
        maze = [[1] * 5, [1, *(["g", "r", 0] if task["end"] else [0, "r", "g"]), 1], [1] * 5]
        return FilterObservation(gymnasium.make("PointMaze_UMazeDense-v3", maze_map=maze), ["observation"])
'''
SMALL = {
    "rl2": {"tasks": 4, "episodes": 2, "minibatches": 2},
    "maml": {"tasks": 2, "episodes": 2, "inner_steps": 1},
    "pearl": {"train_tasks": 2, "tasks": 2, "updates": 2, "meta_batch": 2, "replay": 500},
}


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("package", "source", "family_id"),
    [("minigrid", ROOMS, "my/Room-v0"), ("gymnasium_robotics", MAZE, "my/Maze-v0")],
    ids=["minigrid", "gymnasium_robotics"],
)
def test_a_users_file_is_checked_trained_on_and_scored(package: str, source: str, family_id: str, users: Path) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    assert len(source.splitlines()) <= 15
    (users / f"my_{package}.py").write_text(source)
    import_module(f"my_{package}")
    report = check_family(family_id)
    assert report.ok, str(report)
    family = make_family(family_id)
    assert isinstance(family, GymnasiumFamily)
    assert (family.observation_space.dtype == np.uint8) == (package == "minigrid")  # images keep their shape
    for name, options in SMALL.items():
        cls = agent_class(name)
        trained = cls(family_id, cls.config_class(**options), seed=1)
        assert any("conv" in each or "network.0" in each for each in trained.params) == (package == "minigrid")
        before = {each: value.clone() for each, value in trained.params.items()}
        trained.learn(250)
        changed = any(not np.array_equal(value, trained.params[each]) for each, value in before.items())
        assert changed or name == "maml"  # which has no gradient where no episode found the goal
        assert np.isfinite(evaluate(trained, tasks=2, deterministic=False).returns).all()
