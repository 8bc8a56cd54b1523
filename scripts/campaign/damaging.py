"""Part 3: damage every kind of file that a run or a result has, and read it through the public API."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from campaign import readers
from campaign.children import forked
from campaign.damages import damage
from campaign.outcome import Trial, judged
from campaign.readers import Numbers, as_text
from campaign.stage import Stage

PART = "damage"


@dataclass(frozen=True)
class Subject:
    """A kind of file, and a way of reading it.

    Args:
        name: a row of the table.
        folder: of the stage.
        file: a pattern within it; its first match is damaged, or where it says so any.
        read: gives the numbers that must stay.
        weight: share of the trials.
        others: patterns of the stage's files that could stand in its place.
        missing: whether it must be missed; to delete a log is how one goes on without it.
    """

    name: str
    folder: str
    file: str
    read: Callable[[Path], Numbers]
    weight: float
    others: tuple[str, ...] = ()
    missing: bool = True


def subjects(stage: Stage) -> list[Subject]:
    """Every kind of file with every way that the library reads it."""
    check, events = "seed-0/checkpoint.safetensors", "seed-0/events.out.*"
    checks = ("run/seed-1/checkpoint*", "other/seed-*/checkpoint*", "shot/seed-0/checkpoint*")
    shots = ("shot/seed-1/checkpoint*", "shot-other/seed-*/checkpoint*", "run/seed-0/checkpoint*")

    def resume(path: Path) -> Numbers:
        return readers.resume(path, stage)

    def resume_learner(path: Path) -> Numbers:
        return readers.resume_learner(path, stage)

    evaluation, scores = "evaluation-test", "evaluation-test-5w1s"
    halves = ("half-other/seed-1/checkpoint*", "run/seed-0/checkpoint*")
    return [
        Subject("checkpoint, loaded", "run", check, readers.load, 10),
        Subject("checkpoint, of a run", "run", check, readers.trained, 12, checks),
        Subject("checkpoint, scored", "run", check, readers.evaluate, 6, checks),
        Subject("checkpoint, resumed", "half", check, resume, 6, halves[:1]),
        Subject("run.json, of a run", "run", "run.json", readers.trained, 8, ("other/run.json", "half/run.json")),
        Subject("run.json, resumed", "half", "run.json", resume, 4, ("other/run.json", "half-other/run.json")),
        Subject("splits.json", "run", "splits.json", readers.trained, 6),
        Subject(
            "progress.csv, resumed", "half", "seed-0/progress.csv", resume, 8, ("*other/seed-1/progress.csv",),
            missing=False,
        ),
        Subject("events, resumed", "half", events, resume, 2, ("other/seed-1/events.out.*",)),
        Subject(
            "evaluation JSON", "run", f"{evaluation}.json", readers.compare, 12, ("other/evaluation*.json",)
        ),
        Subject("evaluation CSV", "run", f"{evaluation}.csv", readers.compare, 1),
        Subject("beliefs.npz", "run", "beliefs-test.npz", readers.compare, 1),
        Subject("probe CSV", "run", "probe-test.csv", readers.compare, 1),
        Subject("few-shot checkpoint, loaded", "shot", check, readers.load_learner, 8),
        Subject("few-shot checkpoint, of a run", "shot", check, readers.trained_learner, 10, shots),
        Subject("few-shot checkpoint, scored", "shot", check, readers.score_learner, 4, shots),
        Subject(
            "few-shot checkpoint, resumed", "shot-half", check, resume_learner, 5, ("shot-half-other/seed-1/check*",)
        ),
        Subject(
            "fewshot.json, of a run", "shot", "fewshot.json", readers.trained_learner, 8,
            ("shot-other/fewshot.json", "shot-half/fewshot.json"),
        ),
        Subject(
            "fewshot.json, resumed", "shot-half", "fewshot.json", resume_learner, 3, ("shot*-other/fewshot.json",)
        ),
        Subject(
            "few-shot progress.csv, resumed", "shot-half", "seed-0/progress.csv", resume_learner, 6,
            ("shot*other/seed-1/progress.csv",), missing=False,
        ),
        Subject(
            "few-shot evaluation JSON", "shot", f"{scores}.json", readers.compare_learner, 10,
            ("shot-other/evaluation*.json",),
        ),
        Subject("few-shot evaluation CSV", "shot", f"{scores}.csv", readers.compare_learner, 1),
        *_of_results("results-run", "results-other"),
        *_of_results("results-shot", "results-shot-other"),
    ]  # fmt: skip


def _of_results(folder: str, other: str) -> list[Subject]:
    kind = "few-shot result's " if "shot" in folder else "result's "
    published = readers.published_learner if "shot" in folder else readers.published
    weights = ("weights-0.safetensors", f"{folder}/**/weights-1*", f"{other}/**/weights-*")
    return [
        Subject(kind + "weights", folder, f"**/{weights[0]}", published, 8, weights[1:]),
        Subject(kind + "SHA256SUMS", folder, "SHA256SUMS", readers.results, 2, (f"{other}/SHA256SUMS",), missing=False),
        *(
            Subject(kind + name, folder, f"**/{name}", readers.results, weight, (f"{other}/**/{name}",))
            for name, weight in (("summary.json", 6), ("curve.csv", 6), ("config.json", 2), ("curve.png", 1))
        ),
    ]


def damaging(count: int, random: Random, work: Path) -> Iterator[Trial]:
    """So many damages, each subject's in a process of its own."""
    stage = Stage(work / "stage")
    chosen = subjects(stage)
    whole = sum(subject.weight for subject in chosen)
    for subject in chosen:
        n, seed = max(1, round(count * subject.weight / whole)), random.getrandbits(32)
        ended = forked(
            lambda subject=subject, n=n, seed=seed: [
                asdict(trial) for trial in _trials(subject, stage, n, Random(seed), work / "damaged")
            ]
        )
        if ended.kind == "same":
            yield from (Trial(**trial) for trial in ended.value)
        else:
            yield Trial(PART, subject.name, "all", ended.kind, ended.words)
    shutil.rmtree(work / "stage")


def _trials(subject: Subject, stage: Stage, n: int, random: Random, work: Path) -> Iterator[Trial]:
    # The name of a run's folder stands in its errors and nowhere else.
    path = work / subject.folder
    others = [file for pattern in subject.others for file in sorted(stage.path.glob(pattern))]
    assert others or not subject.others, f"{subject}: nothing is there that could stand in its place"
    stage.copy(subject.folder, path)
    wanted = subject.read(path)
    warnings.simplefilter("ignore")
    for _ in range(n):
        stage.copy(subject.folder, path)
        files = sorted(path.glob(subject.file))
        fault = f"{subject.file}: {damage(files[0], others, random, subject.missing)}"
        kind, words, found = judged(lambda: subject.read(path))
        if kind == "same" and (other := _first_difference(found, wanted)):
            kind, words = "wrong", other
        yield Trial(PART, subject.name, fault, kind, words)
    shutil.rmtree(path)


def _first_difference(numbers: Numbers, wished: Numbers) -> str:
    """Words for it, or none. What is measured anew may be left out."""
    if isinstance(numbers, dict):
        wished = {name: value for name, value in wished.items() if name in numbers}
    found, wanted = as_text(numbers), as_text(wished)
    if found == wanted:
        return ""
    at = next((i for i, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), len(found))
    return f"...{found[max(0, at - 60) : at + 30]} instead of {wanted[at : at + 30]}..."
