"""Part 2: kill one agent and one few-shot learner before, during and after every call that changes their files."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from campaign.children import Ended, forked
from campaign.kills import resumed
from campaign.outcome import Trial
from campaign.trainees import Trainee
from campaign.trap import Moment, Trap

PART = "calls"


def calls(trainees: Sequence[Trainee], share: float, random: Random, work: Path) -> Iterator[Trial]:
    """Kill each trainee at a share of its calls, in a first training and in one that resumes a killed one."""
    for trainee in trainees:
        wanted = work / "whole"
        forked(lambda trainee=trainee, wanted=wanted: trainee.train(wanted))
        # The resumed one starts from the leavings of a kill just before a checkpoint takes its name.
        names = _counted(trainee, work / "counted")
        renames = [i for i, name in enumerate(names) if name in ("replace", "rename")] or range(len(names))
        middle = renames[len(renames) // 2]
        for what, prepare in (("", None), (" resumed", middle)):
            yield from _all_calls(trainee, what, prepare, share, random, work, wanted)
        shutil.rmtree(wanted)


def _all_calls(
    trainee: Trainee, what: str, prepare: int | None, share: float, random: Random, work: Path, wanted: Path
) -> Iterator[Trial]:
    path = work / "killed"

    def begin() -> None:
        shutil.rmtree(path, ignore_errors=True)
        if prepare is not None:
            forked(lambda: trapped(lambda: trainee.train(path), Trap(path, prepare, "before")))

    begin()
    names = forked(lambda: trapped(lambda: trainee.train(path), Trap(path))).value or []
    moments: list[tuple[int, Moment]] = [
        (i, moment)
        for i, name in enumerate(names)
        for moment in (("before", "during", "after") if name == "write" else ("before", "after"))
    ]
    chosen = [moments[i] for i in sorted(random.sample(range(len(moments)), round(share * len(moments))))]
    for i, moment in chosen:
        begin()
        fault = f"SIGKILL {moment} call {i}, {names[i]}"
        ended: Ended = forked(lambda i=i, moment=moment: trapped(lambda: trainee.train(path), Trap(path, i, moment)))
        if not ended.killed:
            yield Trial(PART, trainee.name + what, fault, "raw", f"was not killed: {ended.words}")
            continue
        kind, words = resumed(trainee, path, wanted)
        yield Trial(PART, trainee.name + what, fault, kind, words)
    shutil.rmtree(path, ignore_errors=True)


def trapped(call: Callable[[], Any], trap: Trap) -> list[str]:
    """The call with the trap set; the calls that it counted."""
    with trap.set():
        call()
    return trap.calls


def _counted(trainee: Trainee, path: Path) -> list[str]:
    names = forked(lambda: trapped(lambda: trainee.train(path), Trap(path))).value or []
    shutil.rmtree(path)
    return names
