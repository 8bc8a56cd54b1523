"""Run folders under faults: two processes, damage, files of other runs, refusals of the system, folders that go."""

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.agents.maml import MAML
from metarl.cli.main import main
from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import load_checkpoint, save_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.lock import locked
from metarl.evaluation.outcome import saved_or_new_outcome
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.logs import STEPS, ResumableCSV, RunLogger
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.fewshot.model import FewShot

pytestmark = pytest.mark.usefixtures("installed_families_only")

FAMILY = "metarl/PointNavigation-v0"
ITERATION = 2 * 3 * 20 * 4  # steps
SMALL = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--variant", "pearl", "--json"]
FEWSHOT = [
    *("--config.episode.way", "5", "--config.episode.queries", "3", "--config.width", "8", "--config.strided"),
    *("--config.iterations", "4", "--config.tasks", "2", "--json"),
]
FAMILIES = '''
"""A family of a user's own, and an agent."""

from pathlib import Path

from metarl.agents.maml import MAML
from metarl.envs.navigation import PointNavigation
from metarl.family import register_family

Path(__file__).with_name("imported").touch()


@register_family("mine/Walk-v0")
class Walk(PointNavigation):
    pass


class Mine(MAML):
    name = "mine"
'''


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, out: str, err: str, code: int) -> None:
        self.out, self.err, self.code = out, err, code

    def assert_refused(self, words: str) -> None:
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert re.search(words, self.err), self.err
        assert (self.out, self.code) == ("", 2)


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> Said:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Said(captured.out, captured.err, code)

    return run


def train(path: Path, *more: object, iterations: int = 1, family: str = FAMILY, agent: str = "maml") -> list[object]:
    place = ["--runs", path.parent, "--name", path.name, "--jobs", 1]
    return ["train", agent, family, *place, *SMALL, "--config.total-timesteps", iterations * ITERATION, *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of an agent that differ in nothing but their making, and two of a few-shot learner."""
    runs = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        main([str(word) for word in train(runs / name, "--seed", 0, 5)])
        main(["fewshot", "train", "prototypical", *FEWSHOT, "--runs", str(runs), "--name", f"shots-{name}"])
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the runs, to be damaged."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_run_of_an_older_version_is_refused_with_what_to_do(runs: Path, command: Command) -> None:
    file = runs / "one" / "run.json"
    about = json.loads(unseal(file.read_text(), "restore it"))
    about["config"]["lanes"] = 20
    file.write_text(seal(json.dumps(about)))
    words = r"run\.json is of an older version of metarl: MAMLConfig has no lanes; train anew"
    command("evaluate", runs / "one").assert_refused(words)


# One process at a time


def test_a_folder_in_use_is_neither_resumed_nor_replaced(runs: Path, command: Command) -> None:
    before = listing(runs)
    with locked(runs / "one"):
        for flag in ("--resume", "--overwrite"):
            command(*train(runs / "one", flag, "--seed", 0, 5)).assert_refused("one is in use by another process")
        assert command("evaluate", runs / "one", "--points", 1).code == 0  # scoring harms nothing
    with locked(runs / "shots-one"):
        words = ["fewshot", "train", "prototypical", *FEWSHOT, "--runs", runs, "--name", "shots-one", "--resume"]
        command(*words).assert_refused("shots-one is in use by another process")
    assert {name for name in listing(runs) - before if "-test." not in name} == set()
    assert command(*train(runs / "one", "--resume", "--seed", 0, 5)).code == 0


def test_a_lock_is_given_back_and_leaves_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path), pytest.raises(MetaRLError, match="in use"), locked(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_folder_made_anew_is_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with locked(folder):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / ".lock").touch()  # of whoever has made it anew
    assert (folder / ".lock").exists()


def test_a_run_that_is_removed_or_replaced_meanwhile_is_not_trained(runs: Path, command: Command) -> None:
    opened = Run.open(runs / "one")
    assert command(*train(runs / "one", "--overwrite")).code == 0
    with pytest.raises(MetaRLError, match="one was removed, damaged or replaced while it was trained"):
        train_run(opened, jobs=1)


@pytest.mark.parametrize("what", ["agent", "few-shot learner"])
def test_a_folder_removed_midway_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    path = tmp_path / "runs" / "gone"

    def remove(*_: Any) -> None:
        shutil.rmtree(path)

    # At the latest moment: everything is logged, and only the last checkpoint is missing.
    if what == "agent":
        monkeypatch.setattr(MAML, "after_training", remove)
        said = command(*train(path))
    else:
        real = FewShot.fit
        monkeypatch.setattr(FewShot, "fit", lambda self, *a, **k: (real(self, *a, **k), remove()))
        more = ["--runs", path.parent, "--name", path.name, "--checkpoint-seconds", 1000]
        said = command("fewshot", "train", "prototypical", *FEWSHOT, *more)
    said.assert_refused("gone was removed, damaged or replaced while it was trained")
    assert not path.exists()


# What belongs to another


def test_a_moved_or_copied_run_is_whole(runs: Path, command: Command) -> None:
    scored = [json.loads(command("evaluate", runs / "one", "--json").out)["curve"]]
    shutil.move(runs / "one", runs / "elsewhere")
    shutil.copytree(runs / "elsewhere", runs / "copy")
    for name in ("elsewhere", "copy"):
        assert command(*train(runs / name, "--resume", "--seed", 0, 5)).code == 0
        scored.append(json.loads(command("evaluate", runs / name, "--json").out)["curve"])
    assert scored[0] == scored[1] == scored[2]


@pytest.mark.parametrize(
    ("source", "words"),
    [("one/seed-5", "checkpoint of seed 5 of run .*not of seed 0"), ("two/seed-0", "is a checkpoint of seed 0 of run")],
)
def test_a_checkpoint_of_another_seed_or_run_is_refused(source: str, words: str, runs: Path, command: Command) -> None:
    shutil.copy(runs / source / "checkpoint.safetensors", runs / "one" / "seed-0")
    before = listing(runs)
    for line in (["evaluate", runs / "one"], train(runs / "one", "--resume", "--seed", 0, 5)):
        command(*line).assert_refused(words)
    assert listing(runs) == before


def test_what_belongs_to_another_fewshot_run_is_refused(runs: Path, command: Command) -> None:
    words = ["fewshot", "evaluate", runs / "shots-one", "--episodes", 5]
    command("fewshot", "evaluate", runs / "shots-two", "--episodes", 5)
    shutil.copy(runs / "shots-two" / "evaluation-test-5w1s.json", runs / "shots-one")
    command(*words).assert_refused("is the evaluation of another run than")
    (runs / "shots-one" / "evaluation-test-5w1s.json").unlink()
    shutil.copy(runs / "shots-two" / "seed-0" / "checkpoint.safetensors", runs / "shots-one" / "seed-0")
    command(*words).assert_refused("is a checkpoint of seed 0 of run")


def test_an_evaluation_of_another_run_is_refused_and_an_old_one_made_anew(runs: Path, command: Command) -> None:
    assert command("evaluate", runs / "two", "--json").code == 0
    shutil.copy(runs / "two" / "evaluation-test.json", runs / "one")
    command("compare", runs / "one").assert_refused("evaluation of another run than .*evaluate this one again")
    assert command("evaluate", runs / "one", "--json").code == 0
    # Other checkpoints of the same run: what was saved is no longer of them, whatever the files' times say.
    saved = runs / "one" / "evaluation-test.json"
    before = saved.read_text()
    path = runs / "one" / "seed-0" / "checkpoint.safetensors"
    tensors, about = load_checkpoint(path)
    save_checkpoint(path, {k: v * 2 if k.startswith("params.policy") else v for k, v in tensors.items()}, about)
    os.utime(path, (0, 0))
    saved_or_new_outcome(Run.open(runs / "one"))
    assert saved.read_text() != before
    before = saved.read_text()
    os.utime(saved, (0, 0))
    saved_or_new_outcome(Run.open(runs / "one"))
    assert saved.read_text() == before


@pytest.mark.parametrize("name", ["one/run.json", "one/evaluation-test.json", "shots-one/evaluation-test-5w1s.json"])
def test_a_changed_digit_is_found(name: str, runs: Path, command: Command) -> None:
    fewshot = name.startswith("shots")
    words = [*(["fewshot"] if fewshot else []), "compare", runs / Path(name).parts[0], *(["--episodes", 5] * fewshot)]
    assert command(*words).code == 0
    text = (runs / name).read_text()
    digits = [match.start() for match in re.finditer(r"\d", text)]
    place = digits[-1]
    (runs / name).write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
    command(*words).assert_refused(rf"{Path(name).name}: its checksum does not fit")


CSV_DAMAGE: dict[str, Callable[[str], str]] = {
    "a digit": lambda text: text[:-6] + ("1" if text[-6] != "1" else "2") + text[-5:],
    "a row less": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "a row twice": lambda text: text + text.splitlines(keepends=True)[-1],
    "a cell more": lambda text: text.rstrip() + ",1\r\n",
    "a cell less": lambda text: text.rstrip().rpartition(",")[0] + "\r\n",
    "no text": lambda text: "\0" * len(text),
    "no header": lambda text: "".join(text.splitlines(keepends=True)[1:]),
}


@pytest.mark.parametrize("damage", CSV_DAMAGE.values(), ids=CSV_DAMAGE)
@pytest.mark.parametrize("kind", [Run, FewShotRun], ids=["agent", "few-shot"])
def test_a_damaged_log_is_named_and_left_as_it_is(
    kind: type[Run] | type[FewShotRun], damage: Callable[[str], str], runs: Path
) -> None:
    run = kind.open(runs / ("one" if kind is Run else "shots-one"))
    path = run.progress(0)  # as it should be
    with path.open(newline="") as file:
        path.write_text(damage(file.read()), newline="")
    before = path.read_bytes()
    with pytest.raises(MetaRLError, match=r"progress\.csv is damaged"):
        run.progress(0)
    with pytest.raises(MetaRLError, match=r"progress\.csv is damaged: .*or delete it to go on without"):
        train_run(run, jobs=1)
    assert path.read_bytes() == before
    path.unlink()
    train_run(run, jobs=1)


def test_a_folder_in_the_place_of_a_log_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    for steps in (0, 3):
        with pytest.raises(MetaRLError, match=r"a\.csv"):
            ResumableCSV(tmp_path / "a.csv", steps)


def test_a_log_is_the_same_after_it_was_read_back(tmp_path: Path) -> None:
    values = [0.1, np.float32(0.1), np.float64(1 / 3), 7, np.int64(8), "two\nlines", torch.ones(3, 3), None, 1e-300]
    output = ResumableCSV(tmp_path / "a.csv", 0)
    for step in range(1, 4):
        row = {STEPS: step, **{f"v{i}": value for i, value in enumerate(values[: 3 * step])}}  # columns come later
        output.write(row, dict.fromkeys(row), step)
    assert ResumableCSV(tmp_path / "a.csv", 3, output.digest).digest == output.digest


# What the system refuses


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``full("name")``: from then on the disk has no room for files called so; ``full("")``: there is room again."""
    real, refused = os.fsync, [""]

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if refused[0] and refused[0] in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def choose(name: str) -> None:
        refused[0] = name

    return choose


linux = pytest.mark.skipif(sys.platform != "linux", reason="finds open files in /proc")


@linux
@pytest.mark.parametrize("name", ["splits.json", "run.json", "checkpoint", "progress.csv"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, full: Callable[[str], None], command: Command
) -> None:
    full(name)
    command(*train(tmp_path / "runs" / "a")).assert_refused(rf"{name}.*: No space left on device; make room")
    assert not (tmp_path / "runs" / "a").exists()


@linux
def test_once_the_disk_has_room_a_run_goes_on(
    tmp_path: Path, full: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    real, path = MAML.train_iteration, tmp_path / "full"

    def fill(self: MAML) -> Any:
        if self.iteration == 2:
            full("checkpoint")
        return real(self)

    monkeypatch.setattr(MAML, "train_iteration", fill)
    words = train(path, "--checkpoint-seconds", 0, iterations=4)
    command(*words).assert_refused("checkpoint.safetensors: No space left on device; make room.*--resume")
    monkeypatch.undo()
    full("")
    assert not [name for name in listing(path) if name.endswith((".tmp", ".lock"))]
    assert json.loads(command(*words, "--resume").out)["seeds"] == {"0": 4 * ITERATION}
    assert command(*train(tmp_path / "whole", iterations=4)).code == 0
    one, other = (load_checkpoint(each / "seed-0/checkpoint.safetensors")[0] for each in (path, tmp_path / "whole"))
    assert all(one[name].equal(value) for name, value in other.items())


@linux
def test_a_full_disk_stops_the_rows_and_events_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = RunLogger(tmp_path, 0)
    logger.record(STEPS, 1)
    logger.dump(1)
    events = next(tmp_path.glob("events*"))
    for file in (tmp_path / "progress.csv", events):
        opened, real_flush = logger.output_formats, Path.open

        class Full:
            def __init__(self, *_: Any, **__: Any) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        if file == events:
            writer = opened[1].writer.file_writer.event_writer  # type: ignore[attr-defined]
            monkeypatch.setattr(writer, "flush", Full)
        else:
            monkeypatch.setattr(Path, "open", Full)
        logger.record(STEPS, 2)
        with pytest.raises(MetaRLError, match=rf"{file.name}: No space left on device"):
            logger.dump(2)
        monkeypatch.setattr(Path, "open", real_flush)
    logger.close()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")], ids=str
)
def test_a_folder_that_may_not_be_written_is_one_line(
    code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    real = os.mkdir

    def mkdir(path: Any, *more: Any, **named: Any) -> None:
        if "runs" in str(path):
            raise OSError(code, os.strerror(code), str(path))
        real(path, *more, **named)

    monkeypatch.setattr(os, "mkdir", mkdir)
    command(*train(tmp_path / "runs" / "a")).assert_refused(f"{words}; choose a place that you may write to")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_one_line(tmp_path: Path, runs: Path, command: Command) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "a", tmp_path / "file"):
        command(*train(place)).assert_refused("a file or folder is in the way, so choose another place")
    command("evaluate", tmp_path / "file").assert_refused("file is no run folder")
    said = command("compare", runs / "one", "--output", tmp_path / "file" / "a.png")
    assert "in the way" in said.err
    assert (said.err.count("\n"), said.code) == (1, 2)
    assert (tmp_path / "file").read_text() == "mine"


LONG, NUL = "x" * 300, "a\0b"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", ".hidden", "a\\b", "line\nend", NUL, LONG], ids=repr)
def test_a_name_is_that_of_one_folder(name: str, tmp_path: Path, command: Command) -> None:
    runs = ["--runs", tmp_path / "runs", "--name", name]
    command("train", "maml", FAMILY, *SMALL, *runs).assert_refused("--name .*(one folder|at most)")
    command("fewshot", "train", "maml", *FEWSHOT, *runs).assert_refused("--name .*(one folder|at most)")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [LONG, NUL], ids=["long", "NUL"])
def test_a_place_that_cannot_be_is_one_line(place: str, tmp_path: Path, command: Command) -> None:
    command("train", "maml", FAMILY, *SMALL, "--runs", tmp_path / place).assert_refused(
        "choose (a shorter|another) name"
    )
    command("evaluate", tmp_path / place).assert_refused("choose a shorter name|no run folder")
    with pytest.raises(MetaRLError, match="name"):
        write_atomic(tmp_path / place, "text")
    assert list(tmp_path.iterdir()) == []


def test_what_kills_leave_half_written_is_removed_at_the_next_start(
    runs: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def killed(*_: Any) -> None:
        os._exit(9)

    for place in (runs / "one" / "seed-0" / "checkpoint.safetensors", runs / "one" / "run.json"):
        if (pid := os.fork()) == 0:  # killed between writing and renaming
            monkeypatch.setattr(os, "replace", killed)
            write_atomic(place, "half")
        os.waitpid(pid, 0)
    left = [name for name in listing(runs / "one") if name.endswith(".tmp")]
    assert len(left) == 2
    (runs / "one" / "notes.tmp").write_text("mine")
    assert command(*train(runs / "one", "--resume", "--seed", 0, 5)).code == 0
    assert [name for name in listing(runs / "one") if name.endswith(".tmp")] == ["notes.tmp"]


def test_mujoco_warns_into_the_run_folder(runs: Path, command: Command) -> None:
    import mujoco

    from metarl.envs.engine import physics  # noqa: F401 - what every family on MuJoCo imports

    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body><freejoint/><geom size=".1"/></body></worldbody></mujoco>'
    )

    def break_down() -> None:
        data = mujoco.MjData(model)
        data.qpos[0] = np.nan
        mujoco.mj_step(model, data)

    before = mujoco.MjLogConfig.get()
    try:
        break_down()
        assert not Path("MUJOCO_LOG.TXT").exists()
        assert command(*train(runs / "one", "--resume", "--seed", 0, 5)).code == 0
        break_down()
        assert (runs / "one" / "seed-5" / "MUJOCO_LOG.TXT").exists()
        assert command("evaluate", runs / "one", "--points", 1).code == 0
        break_down()
        assert (runs / "one" / "MUJOCO_LOG.TXT").exists()
        assert not Path("MUJOCO_LOG.TXT").exists()
    finally:
        before.set()


# TensorBoard's files


@pytest.mark.parametrize("future", ["4000000000", "9999999999"])
def test_events_of_the_future_do_not_hold_a_run_up(future: str, tmp_path: Path) -> None:
    logged(tmp_path, 0, (10, 20, 30))
    (events,) = tmp_path.glob("events*")
    # As if the clock had been put back since.
    events.rename(tmp_path / f"events.out.tfevents.{future}.host.1.0")
    (tmp_path / "events.out.tfevents.bak").write_text("mine")
    logged(tmp_path, 20, (30, 40))
    logged(tmp_path, 40, (50,))
    (tmp_path / "events.out.tfevents.bak").rename(tmp_path / "bak")  # TensorBoard would read it last
    shown = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [event.step for event in shown] == [10, 20, 30, 40, 50]
    assert [event.value for event in shown] == [10, 20, 50, 60, 90]
    assert (tmp_path / "bak").read_text() == "mine"


def logged(folder: Path, start: int, steps: tuple[int, ...]) -> None:
    logger = RunLogger(folder, start)
    for step in steps:
        logger.record("train/loss", float(step + start))
        logger.record(STEPS, step)
        logger.dump(step)
    logger.close()


# Code of one's own


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a user's module; it says when it was imported. Afterwards nobody has imported it."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "my_code.py").write_text(FAMILIES)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    sys.modules.pop("my_code", None)


def forget(folder: Path) -> None:
    """As in a new process."""
    from metarl.family import registry

    sys.modules.pop("my_code", None)
    registry.families_by_id.classes.pop("mine/Walk-v0", None)
    (folder / "imported").unlink(missing_ok=True)


@pytest.mark.parametrize("own", ["family", "agent"])
def test_a_run_of_ones_own_code_is_opened_once_it_is_named(own: str, module: Path, command: Command) -> None:
    names = {"family": FAMILY, "agent": "maml"}
    names[own] = "my_code:mine/Walk-v0" if own == "family" else "my_code:Mine"
    path = module / "runs" / "mine"
    assert command(*train(path, **names)).code == 0
    lines: list[list[object]] = [["evaluate", path], ["compare", path, "--output", "c.png"]]
    lines.append(["render", path, "--steps", 2, "--envs", 1, "--output", "v.gif"])
    for line in lines:
        forget(module)
        said = command(*line)
        said.assert_refused(rf"whose module 'my_code' is not installed.*--{own} my_code:")
        assert not (module / "imported").exists()
        assert command(*line, f"--{own}", names[own]).code == 0
    forget(module)
    assert command(*train(path, "--resume", **names)).code == 0  # where the command names it anyway
    forget(module)
    with pytest.raises(MetaRLError, match="is not installed"):
        Run.open(path)
    again = Run.open(path, **{own: names[own]})  # type: ignore[arg-type]
    assert again.trained(0).num_timesteps == ITERATION
    Run.open(path)  # once it is imported there is nothing left to run


def test_a_run_of_ones_own_family_works_from_another_folder(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    path = module / "runs" / "mine"
    assert command(*train(path, family="my_code:mine/Walk-v0")).code == 0
    forget(module)
    (tmp_path / "elsewhere").mkdir()
    (module / "my_code.py").rename(tmp_path / "elsewhere" / "other_name.py")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(module)])
    command("evaluate", path).assert_refused("--family my_code:mine/Walk-v0")
    assert command("evaluate", path, "--family", "other_name:mine/Walk-v0").code == 0
    command("evaluate", path, "--family", FAMILY).assert_refused("holds family my_code:mine/Walk-v0, not metarl/Point")


@pytest.mark.parametrize("saved", ["my_code:metarl/PointNavigation-v0", "my_code:mine/Walk-v0"])
def test_a_checkpoint_imports_nothing(saved: str, module: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    MAML("my_code:mine/Walk-v0").save(path)
    tensors, about = load_checkpoint(path)
    forget(module)
    save_checkpoint(path, tensors, {**about, "family": saved})
    with pytest.raises(MetaRLError, match=f"names the family '{saved}', whose module 'my_code' is not installed"):
        MAML.load(path)
    assert not (module / "imported").exists()
    save_checkpoint(path, tensors, {**about, "family": "mine/Walk-v0"})
    with pytest.raises(MetaRLError, match="unknown"):
        MAML.load(path)
    assert MAML.load(path, "my_code:mine/Walk-v0").family.id == "mine/Walk-v0"
