"""Part 4d: the command line with odd arguments, in this process."""

import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from campaign.examples import Wrong, fuzzed
from campaign.outcome import Trial
from campaign.stage import Stage
from campaign.trainees import POINTS
from metarl.cli.main import main
from metarl.core.errors import MetaRLError

PART = "commands"
_TEXT = [
    "",
    " ",
    "x",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "2",
    "nan",
    "inf",
    "1e3",
    "None",
    "../x",
    "/dev/null",
    "/",
    "a/b",
    "é",
]
_TEXT += ["x" * 300, "\x00", "a\nb", ":", "x:", ":x", "os:x", "json:Decoder", "metarl:x", "run", "runs/run", "file"]
_TEXT += ["broken:x", "leaves:x", "missing.module:x", "[1]", "{}", "true", "--help", "--json", "%s", "$HOME", "~", "*"]
_FAMILIES = [POINTS, "metarl/BernoulliBandit-v0", "PointNavigation", "metarl/None-v0"]
_SMALL = {
    "maml": "--config.tasks 1 --config.episodes 1 --config.inner-steps 1 --config.hidden 2 --config.total-timesteps 1",
    "rl2": "--config.tasks 2 --config.minibatches 1 --config.width 2 --config.episodes 1 --config.total-timesteps 1",
    "prototypical": "--config.iterations 1 --config.width 2 --config.strided --config.episode.queries 1",
}
# What may stand behind a flag beside what may stand anywhere.
_FLAGS: dict[str, dict[str, list[str]]] = {
    "train": {
        "--preset": ["default", "trpo"], "--seed": ["0", "0 0", "-1", "99999999999999999999"], "--name": ["n", ".."],
        "--runs": ["runs", "file", "file/x"], "--device": ["cpu", "cuda", "gpu", "cuda:99", "meta"],
        "--threads": ["1", "0"], "--checkpoint-seconds": ["0", "-1", "nan", "inf"], "--resume": [], "--overwrite": [],
        "--variant": ["pearl", "maml"], "--config.gamma": ["0.5", "2"], "--config.hidden": ["", "2 2", "0"],
        "--config.inner": ["lvc", "dice"], "--config.chunk": ["1", "None"], "--compile": [],
    },
    "evaluate": {
        "--split": ["test", "ood", "val", "train"], "--tasks": ["1", "2", "0", "-1"], "--points": ["1", "2", "0", "-1"],
        "--ablation": ["wiped", "shuffled"], "--device": ["cpu", "cuda"], "--threads": ["1", "0"],
        "--no-deterministic": [],
    },
    "compare": {
        "--reference-policies": ["random", "stand still"], "--split": ["test", "ood"],
        "--output": ["c.png", "c", "runs", "c.xyz"],
    },
    "render": {
        "--variant": ["pearl"], "--reference": ["random"], "--split": ["test"], "--envs": ["1", "0", "-1"],
        "--points": ["1", "0"], "--seed": ["0", "5"], "--steps": ["1", "0", "-1"],
        "--output": ["v.gif", "v.mp4", "v", "x/v.gif"],
    },
    "export": {
        "--episodes": ["0", "1", "-1"], "--task": ["0", "-1", "999"], "--split": ["test", "val", "train"],
        "--seed": ["0", "5"], "--output": ["p.pt2", "p", "x/p.pt2", "runs"],
    },
    "fewshot train": {
        "--data": ["strokes", "sinusoid", "omniglot", "folder:runs", "folder:", "folder:file"], "--name": ["n", ".."],
        "--preset": ["default", "paper"], "--seed": ["0", "-1"], "--config.episode.way": ["2", "1", "0", "99999"],
        "--config.episode.shot": ["1", "0", "99"], "--config.learner": ["maml", "x"], "--resume": [], "--overwrite": [],
    },
    "fewshot evaluate": {
        "--way": ["2", "1", "0", "-1", "999"], "--shot": ["1", "0", "99"], "--queries": ["1", "0"],
        "--unlabelled": ["1", "-1"], "--transductive": [], "--split": ["test", "val", "train"],
    },
    "fewshot compare": {"--way": ["2", "0"], "--split": ["test", "val"], "--output": ["c.png", "c", "runs"]},
    "families": {"--json": []},
    "check": {"--variant": ["pearl", "x"], "--json": []},
}  # fmt: skip
_OPERANDS: dict[str, list[list[str]]] = {
    "train": [["maml", POINTS], ["rl2", "metarl/BernoulliBandit-v0"]],
    "evaluate": [["runs/run"], ["runs/half"], ["runs/shot"]],
    "compare": [["runs/run"], ["runs/run", "runs/other"], ["runs/run", "runs/shot"], []],
    "render": [[POINTS], ["runs/run"]],
    "export": [["runs/run"], ["runs/half"], ["runs/shot"]],
    "fewshot train": [["prototypical"]],
    "fewshot evaluate": [["runs/shot"], ["runs/run"]],
    "fewshot compare": [["runs/shot"], ["runs/shot", "runs/shot-other"], []],
    "families": [[]],
    "check": [["metarl/BernoulliBandit-v0"], [":x"]],
}


def fuzz_commands(count: int, random: Random, work: Path) -> Iterator[Trial]:
    """So many command lines over all commands."""
    place = work / "commands"
    Stage(place / "runs")
    (place / "file").write_text("a file")
    (place / "broken.py").write_text("def (:\n")
    (place / "leaves.py").write_text("raise SystemExit(0)\n")
    before = Path.cwd()
    path = list(sys.path)
    os.chdir(place)
    try:
        for command in _FLAGS:
            examples = _lines(command)
            share = 0.2 if command in ("families", "check") else 1.0
            n = max(1, round(count * share / (len(_FLAGS) - 2 + 0.4)))
            yield from fuzzed(PART, command, examples, _run, n, random.getrandbits(32))
    finally:
        os.chdir(before)
        sys.path[:] = path
        shutil.rmtree(place)


def _lines(command: str) -> st.SearchStrategy[list[str]]:
    flags = _FLAGS[command]
    anything = st.sampled_from([*_TEXT, *_FAMILIES]) | st.text(max_size=4)

    def flag(name: str) -> st.SearchStrategy[list[str]]:
        known = [[name, *value.split(" ")] for value in flags[name]] or [[name]]
        return st.sampled_from(known) | st.sampled_from(known) | anything.map(lambda value: [name, value])

    options = st.lists(st.sampled_from(list(flags)).flatmap(flag), max_size=3).map(_joined)
    operands = st.sampled_from(_OPERANDS[command])
    # A word in the place of an operand, or one too many.
    operands = operands | st.tuples(operands, anything, st.integers(0, 2)).map(
        lambda drawn: [*drawn[0][: drawn[2]], drawn[1], *drawn[0][drawn[2] + 1 :]]
    )
    return st.tuples(operands, options).map(
        lambda drawn: [*command.split(" "), *drawn[0], *_small(command, drawn[0]), *drawn[1]]
    )


def _joined(parts: list[list[str]]) -> list[str]:
    return [word for part in parts for word in part]


def _small(command: str, operands: list[str]) -> list[str]:
    """What keeps a training or a score short."""
    if command in ("fewshot evaluate", "fewshot compare"):
        return ["--episodes", "4"]
    agent = operands[0] if operands else ""
    return [*_SMALL[agent].split(" "), "--jobs", "1"] if agent in _SMALL else []


def _run(line: list[str]) -> None:
    if line[0] == "train" and ("--preset" in line and "--config.total-timesteps" not in line):
        return
    there = _there()
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(line)
        except SystemExit as leaving:
            code = leaving.code or 0
    new = _there() - there
    for name in new:
        path = Path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    gone = there - _there()
    if not Path("runs/run/run.json").exists():
        raise Wrong("a run is gone")
    words = [each for each in err.getvalue().splitlines() if each.strip() and not each.startswith("warning:")]
    if code == 0:
        return
    if code == 1 and line[0] == "check" and out.getvalue():
        return  # the family's problems
    tidy = len(words) == 1 and words[0].startswith("error: ")
    # The parser's own, in a box that is drawn with whatever the stream can show.
    parsed = len(words) > 1 and (words[0].startswith("╭─") or set(words[1].strip()) in ({"-"}, {"─"}))
    if code != 2 or not (tidy or parsed):
        raise RuntimeError(f"exit {code!r} with {len(words)} lines: {' / '.join(words)[:200]}")
    if new and code:
        raise Wrong(f"leaves {sorted(new)} behind: {words[0][:150]}")
    if gone:
        raise Wrong(f"{sorted(gone)} is gone: {words[0][:150]}")
    raise MetaRLError(words[0])


def _there() -> set[str]:
    """Files and folders here and in runs/."""
    names = {each.name for each in Path().iterdir()} | {f"runs/{each.name}" for each in Path("runs").iterdir()}
    return {name for name in names if not name.endswith("__pycache__")}
