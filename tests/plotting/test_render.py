"""Films of reference policies and of agents, and the command that makes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarl.cli.main import main
from metarl.core.errors import MetaRLError
from metarl.experiments.run import Run
from metarl.family import make_family
from metarl.plotting.render import frames, render_reference, render_run

NAVIGATION = "metarl/PointNavigation-v0"
SMALL = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--config.total-timesteps", "500"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    main(["train", "maml", NAVIGATION, "--runs", str(tmp_path), "--name", "small", *SMALL])
    return Run.open(tmp_path / "small")


def test_a_player_on_several_tasks() -> None:
    family = make_family(NAVIGATION)
    film = render_reference(family, "straight to the goal", n_tasks=3)
    assert film.tasks == family.splits.test[:3]
    for history, task in zip(film.histories[0], film.tasks, strict=True):
        assert np.abs(history[-1]["position"] - task["goal"]).max() < 0.05
        assert len(history) < family.horizon  # until the goal is reached, which ends the episode
    pictures = frames(film)
    assert len(pictures) == max(map(len, film.histories[0]))
    assert {picture.shape for picture in pictures} == {(32 + 2 * 400 + 4, 2 * 400 + 4, 3)}
    assert len(frames(film, steps=2)) == 3


def test_an_agent_before_and_after_adaptation(run: Run) -> None:
    film = render_run(run, n_tasks=2, points=3)
    assert film.heads == ("before adaptation", "after adaptation, 3 episodes", "after adaptation, 6 episodes")
    assert [len(histories) for histories in film.histories] == [2, 2, 2]
    assert not np.array_equal(*(histories[0][-1]["position"] for histories in film.histories[:2]))
    again = render_run(run, n_tasks=2, points=3)
    np.testing.assert_array_equal(film.histories[2][1][-1]["position"], again.histories[2][1][-1]["position"])


def test_fewer_tasks_than_asked_for_are_shown_again() -> None:
    family = make_family("metarl/PointNavigation-v0")
    n = len(family.splits.test)
    film = render_reference(family, "stand still", n_tasks=n + 2)
    assert film.tasks[n:] == family.splits.test[:2]


@pytest.mark.parametrize("of_run", [False, True])
def test_the_command(of_run: bool, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = str(run.path) if of_run else NAVIGATION
    output = tmp_path / "video.gif"
    main(["render", what, "--envs", "2", "--steps", "3", "--output", str(output)])
    count = 8 if of_run else 4
    assert f"Saved {output}: {count} pictures, 30 a second" in capsys.readouterr().out
    with Image.open(output) as gif:
        assert gif.size == (2 * 400 + 4, 32 + 400)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([NAVIGATION, "--output", "a.avi"], "none of .gif, .mp4"),
        ([NAVIGATION, "--reference", "me"], "no reference policy 'me'; choose one of random, stand still"),
        ([NAVIGATION, "--envs", "0"], "envs=0"),
        ([NAVIGATION, "--steps", "0"], "steps=0"),
        (["nowhere"], "nowhere is no run folder"),
        (["metarl/Nowhere-v0"], "'metarl/Nowhere-v0' is unknown"),
    ],
)
def test_what_cannot_be_filmed(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["render", *words])
    assert message in capsys.readouterr().err


def test_a_seed_that_a_run_has_not(run: Run) -> None:
    with pytest.raises(MetaRLError, match="no seed 7; choose one of 0"):
        render_run(run, seed=7)
