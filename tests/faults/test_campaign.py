"""The campaign of faults, a small part of it, and that it sees faults; all of it is ``python scripts/faults.py``."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from metarl.core.checkpoint import save_checkpoint
from metarl.core.errors import MetaRLError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes and kills them")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# A training that writes its file in place, and one that renames: both add a line for each of five steps.
TRAINEES = """
import os
from pathlib import Path
from random import Random
from types import SimpleNamespace

from campaign import kills
from campaign.calls import calls
from campaign.trainees import Trainee

kills.differences = lambda found, wanted: [] if (found / "log").read_text() == (wanted / "log").read_text() else ["log"]

def train(path, careful):
    path.mkdir(exist_ok=True)
    for leaving in path.glob("new"):
        leaving.unlink()
    log = path / "log"
    while len(lines := log.read_text().split() if log.exists() else []) < 5:
        text = "".join(f"{line}\\n" for line in [*lines, f"step{len(lines)}"])
        if careful:
            (path / "new").write_text(text)
            os.replace(path / "new", log)
        else:
            log.write_text(text)

for careful in (True, False):
    trainee = Trainee("careful" if careful else "careless", lambda path: None)
    object.__setattr__(trainee, "train", lambda path, seconds=0.0, careful=careful: train(path, careful))
    work = Path(WORK, trainee.name)
    work.mkdir()
    for trial in calls([trainee], 1.0, Random(0), work):
        print(trial.subject.split()[0], trial.kind)
"""


@pytest.fixture(autouse=True)
def campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the campaign can be imported, as its script does."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what was counted, in a process of its own, which forks only from a single thread."""
    command = [sys.executable, SCRIPTS / "faults.py", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def assert_nothing_failed(*arguments: str, trials: int) -> None:
    code, found = run(*arguments)
    assert found["failed"] == []
    assert code == 0
    assert sum(row["trials"] for row in found["counts"]) >= trials


def test_a_small_part_of_the_campaign_finds_nothing() -> None:
    assert_nothing_failed("kills", "tasks", "views", "--only", "neural-process", "--fraction", "0.08", trials=200)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["kills", "calls", "damage", "configs", "tasks", "views", "commands"])
def test_a_fifth_of_each_part_finds_nothing(part: str) -> None:
    assert_nothing_failed(part, "--fraction", "0.2", "--seed", "1", trials=60)


@pytest.mark.slow
def test_kills_at_every_call_tell_a_careless_training_from_a_careful_one(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); WORK = {str(tmp_path)!r}\n{TRAINEES}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    counts = Counter(done.stdout.splitlines())
    assert counts["careful same"] > 40, done.stderr
    assert {each for each in counts if each.startswith("careful")} == {"careful same"}
    assert counts["careless wrong"] > 5


def test_outcomes_are_told_apart() -> None:
    from campaign.outcome import judged

    def fails(error: BaseException) -> Any:
        raise error

    def hangs() -> None:
        while True:
            pass

    assert judged(lambda: 3) == ("same", "", 3)
    assert judged(lambda: fails(MetaRLError("give 3"))) == ("clean", "give 3", None)
    for error in (KeyError("x"), SystemExit(1), RuntimeError("two\nlines")):
        kind, words, _ = judged(lambda error=error: fails(error))
        assert kind == "raw"
        assert words.startswith(f"{type(error).__name__}: ")
        assert "\n" not in words
    kind, words, _ = judged(hangs, 0.05)
    assert kind == "raw"
    assert words.startswith("Hangs: no end after 0.05 s")


def test_examples_are_recorded_with_what_came_of_them() -> None:
    from hypothesis import strategies as st

    from campaign.examples import Wrong, fuzzed

    def call(number: int) -> None:
        if number == 0:
            raise MetaRLError("give another")
        if number == 1:
            raise Wrong("1 is wrong")
        if number == 2:
            raise ValueError("raw")

    trials = list(fuzzed("part", "subject", st.integers(0, 3), call, 40, 0))
    kinds = {trial.fault: trial.kind for trial in trials}
    assert kinds == {"0": "clean", "1": "wrong", "2": "raw", "3": "same"}
    assert trials == list(fuzzed("part", "subject", st.integers(0, 3), call, 40, 0))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of one training, which differ in their clocks alone."""
    for name, seconds in (("one", 1.0), ("other", 2.0)):
        folder = tmp_path / name / "seed-0"
        folder.mkdir(parents=True)
        about = {
            "iteration": 3,
            "wall_seconds": seconds,
            "run": name,
            "log": name,
            "fewshot": {"wall_seconds": seconds},
        }
        save_checkpoint(folder / "checkpoint.safetensors", {"a": torch.tensor([0.0, float("nan")])}, about)
        (folder / "progress.csv").write_text(f"time/fps,loss\n{seconds},0.5\n")
        (folder / f"events.out.tfevents.{name}").write_text(name)
    return tmp_path / "one", tmp_path / "other"


def test_what_only_clocks_decide_is_no_difference(folders: tuple[Path, Path]) -> None:
    from campaign.compare import differences

    assert differences(*folders) == []


@pytest.mark.parametrize("change", ["bit", "about", "row", "file", "lost"])
def test_every_difference_is_found(folders: tuple[Path, Path], change: str) -> None:
    from campaign.compare import differences

    seed = folders[0] / "seed-0"
    about = {"iteration": 3 + (change == "about"), "fewshot": {}}
    if change in ("bit", "about"):
        zero = -0.0 if change == "bit" else 0.0
        save_checkpoint(seed / "checkpoint.safetensors", {"a": torch.tensor([zero, float("nan")])}, about)
    elif change == "row":
        (seed / "progress.csv").write_text("time/fps,loss\n1.0,0.6\n")
    elif change == "file":
        (seed / ".checkpoint.safetensors.abc").write_text("half")
    else:
        (seed / "progress.csv").unlink()
    assert len(differences(*folders)) >= 1


def test_damages_change_a_file(tmp_path: Path) -> None:
    from campaign.damages import OF_CONTENT, damage

    file, other = tmp_path / "file", tmp_path / "other"
    content, random = b"".join(b"line %d, %d\n" % (i, i * i) for i in range(50)), Random(0)
    other.write_bytes(b"other")
    seen = Counter[str]()
    for _ in range(500):
        if file.is_dir():
            file.rmdir()
        file.write_bytes(content)
        how = damage(file, [other], random)
        seen[how.rpartition("/")[2]] += 1
        assert how == "nothing" or not file.is_file() or file.read_bytes() != content
    assert {*OF_CONTENT, "missing", "a folder", "other in its place"} <= set(seen)
    assert seen["nothing"] < 10
