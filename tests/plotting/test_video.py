"""Pictures side by side, and videos: what is in the file, how long it is shown, and what cannot be written."""

from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image

from metarl import grid, save_video
from metarl.core.errors import MetaRLError
from metarl.family import make_family
from metarl.family.views.observed import with_task
from metarl.family.views.single import TaskEnv
from metarl.plotting.video import Frame, headed

NAVIGATION = "metarl/PointNavigation-v0"


def plain(value: int, height: int = 10, width: int = 20) -> Frame:
    return np.full((height, width, 3), value, np.uint8)


def test_a_grid_goes_row_by_row() -> None:
    tiled = grid([plain(value) for value in (10, 20, 30)])
    assert tiled.shape == (10 + 4 + 10, 20 + 4 + 20, 3)
    assert [int(tiled[row, column, 0]) for row, column in ((0, 0), (0, 30), (20, 0), (20, 30), (12, 0))] == [
        *(10, 20, 30),
        *(255, 255),
    ]


def test_a_grid_may_be_told_its_columns() -> None:
    assert grid([plain(0)] * 3, columns=3).shape == (10, 3 * 20 + 2 * 4, 3)
    assert grid([plain(0)]).shape == (10, 20, 3)


def test_words_stand_above_the_picture() -> None:
    frame = plain(7, 40, 200)
    named = headed(frame, "before")
    np.testing.assert_array_equal(named[-40:], frame)
    assert (named[:-40] < 100).any()


@pytest.mark.parametrize(
    ("frames", "columns", "message"),
    [([], None, "at least one"), ([plain(0), plain(0, 9)], None, "of one size"), ([plain(0)], 0, "columns=0")],
)
def test_no_grid(frames: list[Frame], columns: int | None, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        grid(frames, columns)


@pytest.mark.parametrize(
    ("fps", "n", "seconds"), [(20, 20, 1.0), (62, 62, 1.0), (67, 200, 2.99), (30, 45, 1.5), (0.5, 2, 4)]
)
def test_a_gif_plays_in_real_time(tmp_path: Path, fps: float, n: int, seconds: float) -> None:
    save_video(tmp_path / "a.gif", [plain(i % 250) for i in range(n)], fps)
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for i in range(getattr(gif, "n_frames", 1)):
            gif.seek(i)
            durations.append(gif.info["duration"])
    assert min(durations) >= 20  # faster ones are slowed down by browsers
    assert sum(durations) / 1000 == pytest.approx(seconds, abs=0.02)


def test_a_gif_shows_the_pictures_in_their_colours(tmp_path: Path) -> None:
    family = make_family(NAVIGATION)
    frame = family.render([{"position": np.zeros(2)}], family.default())
    save_video(tmp_path / "a.gif", [frame, plain(9, *frame.shape[:2])], 10)
    with Image.open(tmp_path / "a.gif") as gif:
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown - frame).mean() < 3  # 256 colours for all pictures
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.skipif(find_spec("imageio_ffmpeg") is None, reason="needs the extra video")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_mp4_holds_all_pictures(tmp_path: Path) -> None:
    import imageio.v2

    save_video(tmp_path / "a.mp4", [plain(10 * i, 63, 65) for i in range(12)], 62.5)
    with imageio.v2.get_reader(tmp_path / "a.mp4") as video:
        about, pictures = video.get_meta_data(), [*video.iter_data()]  # it leaves pipes open
    assert (about["fps"], about["size"]) == (62.5, (66, 64))
    assert [float(picture.mean()) for picture in pictures] == pytest.approx([10 * i for i in range(12)], abs=4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(find_spec("imageio_ffmpeg") is not None, reason="the extra video is installed")
def test_an_mp4_without_its_extra(tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"metarl-suite\[video\].*\.gif"):
        save_video(tmp_path / "a.mp4", [plain(0)], 10)


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("a.avi", [plain(0)], 10, "none of .gif, .mp4"),
        ("a.gif", [], 10, "no pictures"),
        ("a.gif", [plain(0)], 0, "fps=0"),
    ],
)
def test_no_video(tmp_path: Path, name: str, frames: list[Frame], fps: float, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        save_video(tmp_path / name, frames, fps)
    assert not list(tmp_path.iterdir())


def test_the_rate_is_the_familys() -> None:
    assert make_family(NAVIGATION).render_fps == 30
    ant = make_family("metarl/AntDir-v0")
    assert ant.render_fps == with_task(ant).render_fps == 20
    assert TaskEnv(ant).metadata["render_fps"] == 20


@pytest.mark.skipif(find_spec("moviepy") is None, reason="needs moviepy")
def test_gymnasium_records_our_environments(tmp_path: Path) -> None:
    env = gymnasium.make(NAVIGATION, render_mode="rgb_array")
    with gymnasium.wrappers.RecordVideo(env, str(tmp_path / "new"), lambda _: True, disable_logger=True) as recorded:
        recorded.reset(seed=0)
        for _ in range(5):
            recorded.step(recorded.action_space.sample())
    assert [path.suffix for path in (tmp_path / "new").iterdir()] == [".mp4"]
