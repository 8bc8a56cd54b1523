"""Pictures of MuJoCo's models: what they show, and that drawing them takes, keeps and leaves nothing it should not."""

import os
import pickle
import re
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError, NoGraphicsError
from metarl.envs import FAMILIES
from metarl.envs.drawing import History
from metarl.envs.engine import opengl, rendering
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.overlays import Trail
from metarl.family import make_family
from metarl.family.checks.check import check_family
from metarl.family.registry import family_class
from metarl.family.views.single import TaskEnv
from metarl.family.views.vector import TaskVectorEnv

MUJOCO = [name for name in FAMILIES if issubclass(family_class(name), MujocoFamily)]
CHEETAH = "metarl/HalfCheetahVel-v0"
Picture = NDArray[np.uint8]


def made(name: str) -> MujocoFamily:
    family = make_family(name)
    assert isinstance(family, MujocoFamily)
    return family


@pytest.fixture(scope="module")
def graphics() -> None:
    """Skips where nothing can be drawn."""
    family = made(CHEETAH)
    try:
        family.render(standing(family), family.default())
    except NoGraphicsError as error:
        pytest.skip(str(error))


def standing(family: MujocoFamily, **moved: float) -> list[dict[str, NDArray[Any]]]:
    """The model's own start, but for some positions ``q0=...``, for one step."""
    qpos = np.array(family.model.qpos0)
    for name, value in moved.items():
        qpos[int(name[1:])] = value
    return [{"qpos": qpos, "qvel": np.zeros(family.model.nv)}]


def pixels(picture: Picture, kind: str) -> NDArray[np.intp]:
    """Pixels ``(n, 2)`` that are clearly blue, as bodies are, vermilion, as goals are, or green; rows go downwards."""
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    mask = {
        "body": (blue > red + 80) & (blue > green + 30),
        "goal": (red > green + 70) & (green > blue + 30),
        "pushed": (green > red + 60) & (green > blue + 15),
    }[kind]
    return np.argwhere(mask)


@pytest.mark.usefixtures("graphics")
@pytest.mark.parametrize("name", MUJOCO)
def test_every_family_shows_its_model_whole(name: str) -> None:
    family = made(name)
    picture = family.render(standing(family), family.default())
    assert (picture.dtype, picture.shape) == (np.uint8, (360, 480, 3))
    assert picture.flags["C_CONTIGUOUS"]
    seen = pixels(picture, "body")
    assert len(seen) > 300
    # Nothing is cut off at an edge.
    assert seen[:, 0].min() > 5
    assert seen[:, 0].max() < 355
    assert seen[:, 1].min() > 5
    assert seen[:, 1].max() < 475


@pytest.mark.usefixtures("graphics")
def test_a_picture_is_a_function_of_state_and_task() -> None:
    family = made(CHEETAH)
    states = [standing(family, q2=angle) for angle in (0.0, 0.4)]
    first = [family.render(state, family.default()) for state in states]
    assert not np.array_equal(first[0], first[1])
    made("metarl/AntDir-v0").render(standing(made("metarl/AntDir-v0")), {"angle": np.array(0.0)})
    np.testing.assert_array_equal(first[1], family.render(states[1], family.default()))
    rendering.RENDERERS.close()
    np.testing.assert_array_equal(first[0], family.render(states[0], family.default()))


@pytest.mark.usefixtures("graphics")
def test_the_camera_goes_along() -> None:
    family = made(CHEETAH)
    here, far = (pixels(family.render(standing(family, q0=x), family.default()), "body") for x in (0.0, 30.0))
    assert np.abs(here.mean(0) - far.mean(0)).max() < 3


@pytest.mark.usefixtures("graphics")
@pytest.mark.parametrize(
    ("name", "parameter"), [("metarl/HalfCheetahDir-v0", "direction"), ("metarl/AntDir-v0", "angle")]
)
def test_an_arrow_shows_the_direction(name: str, parameter: str) -> None:
    family = made(name)
    values = (1.0, -1.0) if parameter == "direction" else (0.0, np.pi)
    right, left = (pixels(family.render(standing(family), {parameter: np.array(v)}), "goal") for v in values)
    assert right[:, 1].mean() > 290
    assert left[:, 1].mean() < 190


@pytest.mark.usefixtures("graphics")
def test_a_disc_shows_the_goal() -> None:
    family = made("metarl/AntGoal-v0")
    for goal in ((2.9, 0.0), (-2.9, 0.0), (0.0, 4.4), (0.0, -4.4)):  # the last two: as far as ood goals go
        seen = pixels(family.render(standing(family), {"goal": np.array(goal)}), "goal")
        row, column = seen.mean(0) - (180, 240)
        assert (column > 50) == (goal[0] > 0)
        assert (column < -50) == (goal[0] < 0)
        assert (row < -50) == (goal[1] > 0)
        assert (row > 50) == (goal[1] < 0)


@pytest.mark.usefixtures("graphics")
@pytest.mark.parametrize("name", ["metarl/Reacher-v0", "metarl/Pusher-v0"])
def test_arms_show_the_goal_and_what_goes_there(name: str) -> None:
    family = made(name)
    picture = family.render(standing(family), family.default())
    assert len(pixels(picture, "goal")) > 15
    assert len(pixels(picture, "pushed")) > 15


@pytest.mark.usefixtures("graphics")
def test_a_slope_is_seen() -> None:
    family = made("metarl/Slope-v0")

    def horizon(angle: float) -> tuple[float, float]:
        """Rows down to which there is sky, at the left and at the right."""
        picture = family.render(standing(family), {"angle": np.array(angle)}).astype(int)
        sky = picture[..., 2] > picture[..., 0] + 15
        return float(sky[80:, 20].sum()), float(sky[80:, 460].sum())

    left, right = horizon(0.2)
    assert right < left  # uphill to the right
    left, right = horizon(-0.2)
    assert right > left
    assert horizon(0.0)[0] == horizon(0.0)[1]


@pytest.mark.usefixtures("graphics")
def test_the_weak_limb_is_seen() -> None:
    family = made("metarl/DamagedLimb-v0")
    back, front = (
        family.render(standing(family), {"motor": np.array(motor), "strength": np.array(0.2)})[60:] for motor in (0, 3)
    )
    differ = np.argwhere((back != front).any(-1))
    assert differ[:, 1].min() < 220
    assert differ[:, 1].max() > 260


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        (CHEETAH, {"velocity": 1.25}, "step 20\n2.00 m/s, to be 1.25"),
        ("metarl/AntVel-v0", {"velocity": 2.5}, "step 20\n2.00 m/s, to be 2.50"),
        ("metarl/DamagedLimb-v0", {"motor": 4, "strength": 0.3}, "step 20\n2.00 m/s\nfshin at 30 %"),
        ("metarl/Payload-v0", {"load": 1.5}, "step 20\n2.00 m/s\ntorso 1.50 times as heavy"),
        ("metarl/Slope-v0", {"angle": -0.1}, "step 20\n2.00 m/s\n6° downhill"),
    ],
)
def test_words_say_what_pictures_cannot(name: str, task: dict[str, float], words: str) -> None:
    family = made(name)
    history: History = [standing(family, q0=0.1 * step)[0] for step in range(21)]  # control steps of .05 s
    assert family.caption(history, family.validate(task)) == words
    assert "0.00 m/s" in family.caption(history[:1], family.validate(task))


def test_a_long_trail_has_few_segments() -> None:
    points = tuple((0.1 * i, 0.0) for i in range(5000))
    assert len(rendering.segments(points)) <= rendering._MOST_OVERLAYS // 2 + 1
    assert rendering.segments(points)[-1][1] == points[-1]
    assert rendering.segments(Trail(()).points) == []


@pytest.mark.usefixtures("graphics")
def test_few_contexts_are_kept_and_all_can_be_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering.RENDERERS, "capacity", 2)
    for name in ("metarl/Reacher-v0", "metarl/Slope-v0", "metarl/Payload-v0"):
        family = made(name)
        family.render(standing(family), family.default())
    assert [key[0].__name__ for key in rendering.RENDERERS.renderers] == ["Slope", "Payload"]
    rendering.RENDERERS.close()
    assert not rendering.RENDERERS.renderers
    family.render(standing(family), family.default())


@pytest.mark.usefixtures("graphics")
def test_any_thread_draws_the_same() -> None:
    family = made(CHEETAH)
    drawn: list[Picture] = []
    threads = [
        threading.Thread(target=lambda: drawn.append(family.render(standing(family), family.default())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 3
    assert all(np.array_equal(picture, family.render(standing(family), family.default())) for picture in drawn)


def draw_elsewhere(family: MujocoFamily) -> Picture | str:
    try:
        return family.render(standing(family), family.default())
    except MetaRLError as error:
        return str(error)


@pytest.mark.usefixtures("graphics")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_forked_process_says_why_it_cannot_draw() -> None:
    family = made(CHEETAH)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            family.render(standing(family), family.default())
        except MetaRLError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert re.search("forked from one that had drawn.*context='spawn'", os.read(reading, 1000).decode())


@pytest.mark.usefixtures("graphics")
def test_environments_draw() -> None:
    env = TaskEnv(CHEETAH, render_mode="rgb_array")
    assert env.metadata["render_fps"] == 20
    env.reset(seed=0)
    first = env.render()
    env.step(env.action_space.sample())
    copy = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(env.render(), copy.render())
    assert not np.array_equal(first, env.render())
    vector = TaskVectorEnv(CHEETAH, 2, tasks="test", evaluation=True, render_mode="rgb_array")
    vector.reset(seed=0)
    pictures = vector.render()
    assert pictures is not None
    assert len(pictures) == 2
    assert not np.array_equal(*pictures)


@pytest.mark.usefixtures("graphics")
def test_gymnasiums_worker_processes_draw() -> None:
    envs = AsyncVectorEnv([lambda: TaskEnv(CHEETAH, render_mode="rgb_array")] * 2, context="spawn")
    here = TaskEnv(CHEETAH, render_mode="rgb_array")
    here.reset(seed=0)
    try:
        envs.reset(seed=0)
        np.testing.assert_array_equal(envs.render()[0], here.render())
    finally:
        envs.close()


@pytest.mark.parametrize(
    ("setting", "screen", "libraries", "tried"),
    [
        ("", False, ["EGL", "OSMesa"], ["egl"]),
        ("", False, [], ["egl"]),
        ("", False, ["OSMesa"], ["osmesa"]),
        ("", True, ["EGL"], ["egl", "glfw"]),
        ("osmesa", False, ["EGL"], ["osmesa"]),
        ("GLFW", True, ["EGL"], ["glfw"]),
        ("off", True, ["EGL"], []),
    ],
)
def test_what_is_tried(
    monkeypatch: pytest.MonkeyPatch, setting: str, screen: bool, libraries: list[str], tried: list[str]
) -> None:
    monkeypatch.setattr(opengl.sys, "platform", "linux")
    monkeypatch.setattr(opengl.ctypes.util, "find_library", lambda name: name if name in libraries else None)
    monkeypatch.setenv("MUJOCO_GL", setting)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    if screen:
        monkeypatch.setenv("DISPLAY", ":0")
    assert opengl.backends() == tried


def test_without_graphics_the_remedy_is_told_and_the_family_is_not_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    rendering.RENDERERS.close()
    monkeypatch.setenv("MUJOCO_GL", "off")
    env = TaskEnv(CHEETAH, render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(NoGraphicsError, match=r"MUJOCO_GL=off; tried nothing.*libegl1.*MUJOCO_GL=egl"):
        env.render()
    env.step(env.action_space.sample())  # goes on without
    report = check_family("metarl/Payload-v0")
    assert report.ok, str(report)
    assert "render" not in report.checks
    assert "not checked here: render: No OpenGL" in str(report)


def test_a_setting_with_which_mujoco_cannot_be_imported() -> None:
    code = "import gymnasium, metarl; gymnasium.make('metarl/Walker2dRandParams-v0')"
    variables = {**os.environ, "MUJOCO_GL": "bogus"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert "MetaRLError: MuJoCo cannot be imported with MUJOCO_GL=bogus" in done.stderr
