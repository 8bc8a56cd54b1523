"""Part 1: kill every agent and few-shot learner at random moments, resume, and compare."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from campaign.children import Child, forked
from campaign.compare import differences, unsound
from campaign.outcome import Kind, Trial
from campaign.trainees import Trainee

PART = "kills"
_TRIES = 20  # for one kill: a moment may come after the end


def kills(trainees: Sequence[Trainee], times: int, random: Random, work: Path) -> Iterator[Trial]:
    """Kill each trainee so many times; a training may be killed several times before it may end."""
    for trainee in trainees:
        wanted = work / "whole"
        whole = forked(lambda trainee=trainee, wanted=wanted: trainee.train(wanted))
        if whole.kind != "same":
            yield Trial(PART, trainee.name, "none", whole.kind, whole.words)
            continue
        done = 0
        while done < times:
            killed = min(random.choice((1, 1, 2)), times - done)
            yield from _killed(trainee, killed, whole.seconds, random, work / "killed", wanted)
            done += killed
        shutil.rmtree(wanted)


def _killed(trainee: Trainee, times: int, whole: float, random: Random, path: Path, wanted: Path) -> Iterator[Trial]:
    """Train with so many kills; one trial for each, all with what came of the training in the end."""
    faults: list[str] = []
    for _ in range(_TRIES * times):
        if len(faults) == times:
            break
        # Also later than after each iteration, so that rows of the log have to go.
        seconds = random.choice((0.0, 0.0, 0.1, 1.0))
        moment = random.uniform(0, whole)
        child = Child(lambda seconds=seconds: trainee.train(path, seconds))
        time.sleep(moment)
        child.kill()
        ended = child.end()
        if ended.killed:
            faults.append(f"SIGKILL after {moment:.3f} s, checkpoints {seconds:g} s apart")
        elif ended.kind != "same":
            faults.append("none")
            yield Trial(PART, trainee.name, "; ".join(faults), ended.kind, ended.words)
            shutil.rmtree(path, ignore_errors=True)
            return
        else:
            shutil.rmtree(path)  # the whole training had ended
            faults.clear()
    kind, words = resumed(trainee, path, wanted)
    for fault in faults:
        yield Trial(PART, trainee.name, fault, kind, words)
    shutil.rmtree(path, ignore_errors=True)


def resumed(trainee: Trainee, path: Path, wanted: Path) -> tuple[Kind, str]:
    """What comes of resuming a killed training to its end."""
    ended = forked(lambda: trainee.train(path))
    if ended.kind == "clean":
        return "wrong", f"cannot be resumed: {ended.words}"
    if ended.kind != "same":
        return ended.kind, ended.words
    if trainee.exact:
        other = differences(path, wanted)
    else:
        budget = trainee.create(path).budget
        other = [words for seed in path.glob("seed-*") for words in unsound(seed, budget)]
    return ("wrong", "; ".join(other)[:500]) if other else ("same", "")
