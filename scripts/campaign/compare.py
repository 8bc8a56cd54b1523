"""Whether two run folders are of the same training, bit for bit."""

import csv
import re
from pathlib import Path
from typing import Any

import torch

from metarl.core.checkpoint import load_checkpoint
from metarl.experiments.logs import STEPS

CLOCKS = ("time/fps", "time/seconds")  # columns of a log that no two runs share
_EVENTS = re.compile(r"events\.out\.tfevents\..*")


def differences(found: Path, wanted: Path) -> list[str]:
    """What differs between the folders of a run, the clock apart: files, tensors, counters and rows of the logs."""
    mine, theirs = _names(found), _names(wanted)
    other = [f"only {'here' if name in mine else 'there'}: {name}" for name in sorted(mine ^ theirs)]
    for seed in sorted(each.name for each in wanted.glob("seed-*")):
        if (found / seed / "checkpoint.safetensors").exists():
            other += [f"{seed}: {words}" for words in _of_seed(found / seed, wanted / seed)]
    return other


def log_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a log without its clocks."""
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return [{k: v for k, v in row.items() if k not in CLOCKS} for row in csv.DictReader(opened)]


def unsound(folder: Path, budget: int) -> list[str]:
    """What is wrong with a seed that was resumed without its replay: it must be whole and its log in order."""
    tensors, about = load_checkpoint(folder / "checkpoint.safetensors")
    steps = [int(float(row[STEPS])) for row in log_rows(folder / "progress.csv")]
    wrong = [f"{name} is not finite" for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if steps != sorted(set(steps)):
        wrong.append(f"rows out of order or twice: {steps}")
    if not steps or steps[-1] != about["num_timesteps"] or steps[-1] < budget:
        wrong.append(f"ends at {steps[-1:]} of {about['num_timesteps']} steps; the budget is {budget}")
    return wrong


def _of_seed(found: Path, wanted: Path) -> list[str]:
    (mine, about), (theirs, said) = (load_checkpoint(each / "checkpoint.safetensors") for each in (found, wanted))
    other = [f"tensor {name}" for name in sorted(mine.keys() ^ theirs.keys())]
    other += [f"tensor {name}" for name in mine.keys() & theirs.keys() if not same_bits(mine[name], theirs[name])]
    if without_clock(about) != without_clock(said):
        other.append(f"checkpoint says {without_clock(about)}, not {without_clock(said)}")
    rows, expected = log_rows(found / "progress.csv"), log_rows(wanted / "progress.csv")
    if rows != expected:
        first = next((i for i, pair in enumerate(zip(rows, expected, strict=False)) if pair[0] != pair[1]), "the end")
        other.append(f"{len(rows)} rows of {len(expected)}, the first other one {first}")
    return other


def same_bits(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equality of bits, so that a NaN is like itself and 0 unlike -0."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return False
    return mine.numpy().tobytes() == theirs.numpy().tobytes()


def without_clock(about: Any) -> Any:
    """What a checkpoint says of itself but for its run's id, seconds, and the checksum of a log that has them."""
    if not isinstance(about, dict):
        return about
    return {k: without_clock(v) for k, v in about.items() if k not in ("wall_seconds", "log", "run")}


def _names(folder: Path) -> set[str]:
    names = {each.relative_to(folder).as_posix() for each in folder.rglob("*")}
    return {_EVENTS.sub("events", name) for name in names}
