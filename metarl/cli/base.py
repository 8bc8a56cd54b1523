"""What commands share: the options of every training, and how results are printed."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.files import using
from metarl.experiments.options import SECONDS_BETWEEN_CHECKPOINTS, TrainingOptions
from metarl.experiments.signals import Interrupted

if TYPE_CHECKING:  # they take long to import
    from matplotlib.figure import Figure

    from metarl.experiments.run_folder import RunFolder

_LONGEST = 255  # bytes of a file's name, on the usual file systems
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
RunPaths = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
FamilyName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the tree."""

    def run(self, command: str) -> None:
        """Do what the command says; ``command`` is its own line, as a run folder keeps it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ScoreCommand(Command):
    """The options of every command that plays or adapts."""

    device: str = "cpu"
    """cpu, cuda, ..."""
    threads: int = 1
    """torch threads"""
    json: bool = False
    """print what is shown as JSON"""
    quiet: bool = False
    """show no progress"""


@dataclass(frozen=True, kw_only=True)
class TrainCommand(Command):
    """The options that every training has."""

    file_fields: ClassVar[dict[str, str | None]]  # a config file's fields: positional arguments, and those of options
    config_file: Path | None = None
    """a run's run.json, or JSON or TOML of its fields, to train by; options change what it says"""
    preset: str = "default"
    """the configuration to start from"""
    seed: tuple[int, ...] | None = None
    """one run folder for all of them, 0 unless given; with --resume, those that the run lacks join it"""
    name: str | None = None
    """of the run folder; made of what is trained on what unless given"""
    runs: Path = Path("runs")
    """where run folders are"""
    device: str = "cpu"
    """cpu, cuda, ..."""
    threads: int = 1
    """torch threads of a process; more than one slows runs that share the cores"""
    jobs: int | None = None
    """seeds side by side; as many as the cores allow unless given"""
    checkpoint_seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    """seconds between checkpoints: how much work a kill can cost"""
    resume: bool = False
    """continue the run where its checkpoints are, also beyond its end or with more seeds"""
    overwrite: bool = False
    """replace the run folder"""
    json: bool = False
    """print what was done as JSON"""
    quiet: bool = False
    """show no progress: bars on a terminal, elsewhere a line every half minute"""

    @classmethod
    def default_config(cls, name: str, preset: str) -> Any:
        """Return the config of an agent or a learner that a preset stands for."""
        raise NotImplementedError

    def run_path(self, *parts: str | None) -> Path:
        """Return the run folder: ``--name``, or made of the given parts with the preset behind the first.

        Raises for a name that is no folder's, or would lead out of ``--runs``.
        """
        preset = None if self.preset == "default" else self.preset
        made = "-".join(part for part in (parts[0], preset, *parts[1:]) if part)
        name = made if self.name is None else self.name
        if not name or name.startswith(".") or set(name) & {"/", "\\"} or not name.isprintable():
            raise MetaRLError(
                f"--name {name!r}: it names one folder in --runs, so give it no slash, no dot at its start and only "
                "characters that can be printed."
            )
        if len(os.fsencode(name)) > _LONGEST:
            raise MetaRLError(f"--name {name[:20]}...: it has {len(os.fsencode(name))} bytes; {_LONGEST} at most.")
        return self.runs / name

    def train(self, run: "RunFolder", next_step: str, *, compile: bool = False, env_workers: int | None = None) -> None:
        """Train a run's seeds; print what was done, and how to score it."""
        from metarl.experiments.training import train_run

        options = TrainingOptions(self.device, self.threads, self.checkpoint_seconds, compile, env_workers)
        try:
            train_run(run, options, self.jobs, quiet=self.quiet)
        except (MetaRLError, Interrupted) as error:
            if not self.resume:
                run.discard_untrained()
            if not isinstance(error, Interrupted):
                raise
            began = any(run.checkpoint(seed).exists() for seed in run.seeds)
            words = f"Saved; continue with: {_resuming(run.command)}" if began else "Nothing had been trained yet."
            raise Interrupted(error.number, words) from None
        done = {"run": str(run.path), "seeds": {seed: run.trained_amount(seed) for seed in run.seeds}}
        show(self.json, done, f"Trained {run.path}. {next_step} {run.path}")


def check_runs(paths: Sequence[Path], called: str, about_file: str, trained_by: str) -> None:
    """Raise where a folder holds neither a run nor a published result, before what opens one is imported.

    Args:
        paths: of the folders.
        called: what such a folder is called.
        about_file: the file that makes a folder a run.
        trained_by: the command that makes one.
    """
    for path in paths:
        with using(path):
            if any((path / name).is_file() for name in (about_file, "summary.json")):
                continue
            beside = path.parent.glob(f"*/{about_file}") if path.parent.is_dir() else ()
            near = did_you_mean(path.name, [file.parent.name for file in beside])
        raise MetaRLError(f"{path} is no {called}: it has no {about_file}; train first: {trained_by}.{near}")


def save_comparison(figure: "Figure", table: str, output: Path, *, as_json: bool) -> None:
    """Save the plot of a comparison, and beside it its table as CSV; say so, unless JSON is printed."""
    from metarl.core.files import write_atomic
    from metarl.plotting.style import save_figure

    save_figure(figure, output)
    write_atomic(beside := output.with_suffix(".csv"), table)
    if not as_json:
        print(f"Saved {output}, {beside}")


def _resuming(command: str) -> str:
    """Return the command that continues what a command began."""
    words = [word for word in shlex.split(command) if word not in ("--resume", "--overwrite")]
    return shlex.join([*words, "--resume"])


def show(as_json: bool, content: Any, shown: Any) -> None:
    """Print the content as JSON, or for people a line or one of rich's tables."""
    if as_json:
        print(json.dumps(content, indent=2))
        return
    if isinstance(shown, str):
        print(shown)  # rich would break a command in two
        return
    from rich.console import Console

    console = Console()
    # Its own printing ends the process where nobody reads, as if there had been an error.
    with console.capture() as captured:
        console.print(shown)
    print(captured.get(), end="")
