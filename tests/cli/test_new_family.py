"""The command that writes a family of an environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from metarl.cli.new_family import family_source
from metarl.core.errors import MetaRLError

METARL = str(Path(sys.executable).with_name("metarl"))


def test_what_it_writes_passes_the_check_as_it_stands(tmp_path: Path) -> None:
    with (tmp_path / "mine.py").open("w") as file:
        subprocess.run([METARL, "new-family", "Pendulum-v1"], cwd=tmp_path, stdout=file, check=True)
    source = (tmp_path / "mine.py").read_text()
    assert "g=Uniform(5.0, 15.0),  # 10 in the environment" in source
    assert "# m=Uniform(0.5, 1.5),  # 1 in the environment" in source
    assert "screen_dim" not in source  # which changes no episode
    done = subprocess.run([METARL, "check", "mine:me/Pendulum-v0"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_are_attributes_or_else_arguments() -> None:
    cartpole, lake = family_source("CartPole-v1"), family_source("FrozenLake-v1")
    assert "        gravity=Uniform(4.9, 14.7)" in cartpole
    assert cartpole.index("# tau=") > cartpole.index("# length=")
    assert "make_env" not in cartpole
    assert "success_rate=Uniform(0.1667, 0.5)" in lake
    assert 'return gymnasium.make("FrozenLake-v1", **task)' in lake
    for source in (cartpole, lake):
        compile(source, "mine.py", "exec")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("Nowhere-v1", r"gymnasium.make\('Nowhere-v1'\) fails"),
        ("metarl/GridNavi-v0", "is a family already: metarl train rl2 metarl/GridNavi-v0"),
        ("Blackjack-v1", "no numeric attribute or argument that changes an episode"),
    ],
)
def test_what_cannot_be_written_is_one_line(env: str, words: str) -> None:
    with pytest.raises(MetaRLError, match=words) as caught:
        family_source(env)
    assert "\n" not in str(caught.value)
