"""Options of the commands, from which tyro makes the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

SECONDS_BETWEEN_CHECKPOINTS = 10.0
Name = Annotated[str, tyro.conf.Positional]
RunPath = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every training asks."""

    preset: str = "default"
    """the configuration to start from"""
    seed: tuple[int, ...] = (0,)
    """one run folder for all of them"""
    name: str | None = None
    """of the run folder; made of what is trained on what unless given"""
    runs: Path = Path("runs")
    """where run folders are"""
    device: str = "cpu"
    threads: int = 1
    """torch threads of a process; more than one slows runs that share the cores"""
    jobs: int | None = None
    """seeds side by side; as many as the cores allow unless given"""
    checkpoint_seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    """seconds between checkpoints: how much work a kill can cost"""
    resume: bool = False
    """continue the run where its checkpoints are"""
    overwrite: bool = False
    """replace the run folder"""
    json: bool = False
    """print what was done as JSON"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Train an agent on a task family."""

    agent: Name
    """maml, finetune, ..., or module:Class"""
    family: Name
    """id, or module:id for one of your own"""
    variant: str | None = None
    """the family's preset; its first unless given"""
    compile: bool = False
    """rollouts of the torch engine as compiled steps, on a GPU as CUDA graphs; on a CPU that gains nothing"""


def preset_of(arguments: Sequence[str]) -> str:
    """The preset that arguments name: it decides on defaults, and so has to be known before they are parsed."""
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--preset="):
            return argument.removeprefix("--preset=")
    return "default"


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """What runs of one's own code are opened with: nothing else is imported because a file names it."""

    family: str | None = None
    """module:id of your own family, where the run was trained on one"""
    agent: tuple[str, ...] = ()
    """module:Class of your own agent, where it trained one"""
    trust: tuple[str, ...] = ()
    """module:Class of your own memory or encoder, where its config names one"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(OwnCode):
    """Adapt to held-out tasks and score it."""

    run: RunPath
    """a run folder, or that of a published result with weights"""
    split: str = "test"
    """val, test or ood"""
    tasks: int | None = None
    """number of test tasks; the preset's unless given"""
    points: int | None = None
    """points of the curve: before adaptation, after one, ...; the agent's unless given"""
    deterministic: bool = True
    """score also extra episodes without exploration noise, which takes twice the time"""
    ablation: str | None = None
    """wiped: an agent that adapts by memory begins every episode as it began the first; shuffled: any other agent
    adapts to the episodes of another task"""
    output: Path | None = None
    """folder for the files; the run folder unless given, and none of a published result's"""
    device: str = "cpu"
    threads: int = 1
    json: bool = False
    """print the table's rows as JSON"""


@dataclass(frozen=True, kw_only=True)
class CompareOptions(OwnCode):
    """Several runs in one table and one plot."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders, or those of published results with weights"""
    reference_policies: tuple[str, ...] = ()
    """reference policies of the family, scored beside the agents"""
    split: str = "test"
    """val, test or ood"""
    output: Path = Path("comparison.png")
    """the plot; beside it a CSV of the same name"""
    device: str = "cpu"
    threads: int = 1
    json: bool = False
    """print the table's rows as JSON"""


@dataclass(frozen=True)
class FamiliesOptions:
    """List the task families."""

    json: bool = False
    """print the list as JSON"""


@dataclass(frozen=True)
class CheckOptions:
    """Check a task family, also one of your own."""

    family: Name
    """id, or module:id for one of your own"""
    variant: str | None = None
    """one variant; all unless given"""
    json: bool = False
    """print the problems as JSON"""


@dataclass(frozen=True, kw_only=True)
class RenderOptions(OwnCode):
    """A video of several tasks side by side."""

    what: Name
    """a family's id, or module:id; or the folder of a run or of a published result, whose agent then plays, before
    adaptation and after"""
    variant: str | None = None
    """the family's preset; its first unless given"""
    reference: str = "random"
    """without a run: random, or one of the family's own reference policies"""
    split: str = "test"
    """val, test or ood"""
    envs: int = 4
    """tasks side by side"""
    points: int = 2
    """of a run: 2 is before any adaptation and after one"""
    seed: int | None = None
    """of a run; its first unless given"""
    steps: int | None = None
    """of each episode; all unless given"""
    output: Path = Path("video.gif")
    """.gif, or .mp4 with the extra video"""
    threads: int = 1
    json: bool = False
    """print what was written as JSON"""
