"""What commands share: the options of every training, and how results are printed."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from metarl.cli.options import More, Option, Seeds
from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.files import using
from metarl.experiments.options import SECONDS_BETWEEN_CHECKPOINTS, TrainingOptions
from metarl.experiments.place import JOIN_SECONDS, follows, is_one_of_several, own_device, restarts
from metarl.experiments.signals import Interrupted

if TYPE_CHECKING:  # they take long to import
    from matplotlib.figure import Figure

    from metarl.experiments.run_folder import RunFolder

_LONGEST = 255  # bytes of a file's name, on the usual file systems


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the tree."""

    def run(self, command: str) -> None:
        """Do what the command says; ``command`` is its own line, as a run folder keeps it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MoreOfScoring:
    """These options are seldom needed."""

    device: More[str] = "cpu"
    """cpu, cuda, ..."""
    threads: More[int] = 1
    """torch threads"""
    json: More[bool] = False
    """print what is shown as JSON"""


@dataclass(frozen=True, kw_only=True)
class ScoreCommand(Command):
    """The options of every command that plays or adapts."""

    quiet: Option[bool] = False
    """show no progress"""
    more: MoreOfScoring = field(default_factory=MoreOfScoring)


@dataclass(frozen=True, kw_only=True)
class MoreOfTraining:
    """These options are seldom needed."""

    config_file: More[Path | None] = None
    """a run's run.json, or JSON or TOML of its fields, to train by; options change what it says"""
    runs: More[Path] = Path("runs")
    """where run folders are"""
    threads: More[int] = 1
    """torch threads of a process; more than one slows runs that share the cores"""
    checkpoint_seconds: Annotated[More[float], tyro.conf.arg(metavar="S")] = SECONDS_BETWEEN_CHECKPOINTS
    """seconds between checkpoints: how much work a kill can cost"""
    processes: More[int | None] = None
    """processes of this machine that share an iteration's tasks: the same numbers, sooner; torchrun starts some too"""
    blocks: More[int | None] = None
    """blocks into which tasks are cut for --processes, which decide on the numbers; 8 unless given"""
    ordered: More[bool] = True
    """add blocks in order; --no-ordered sums among processes instead, with shorter messages and other rounding"""
    join_seconds: Annotated[More[float], tyro.conf.arg(metavar="S")] = JOIN_SECONDS
    """seconds that processes wait for each other to come"""
    track: More[bool] = False
    """log to Weights & Biases too; needs the extra track"""
    json: More[bool] = False
    """print what was done as JSON"""


@dataclass(frozen=True, kw_only=True)
class TrainCommand(Command):
    """The options that every training has."""

    file_fields: ClassVar[dict[str, str | None]]  # a config file's fields: positional arguments, and those of options
    preset: Option[str] = "default"
    """the configuration to start from"""
    seed: Seeds = None
    """one run folder for all of them, 0 unless given; with --resume, those that the run lacks join it"""
    name: Option[str | None] = None
    """name of the run folder; made of what is trained on what unless given"""
    resume: Option[bool] = False
    """continue the run where its checkpoints are, also beyond its end or with more seeds"""
    overwrite: Option[bool] = False
    """replace the run folder"""
    device: Option[str] = "cpu"
    """cpu, cuda, ..."""
    jobs: Option[int | None] = None
    """seeds side by side; as many as the cores allow unless given"""
    quiet: Option[bool] = False
    """show no progress: bars on a terminal, elsewhere a line every half minute"""
    more: MoreOfTraining = field(default_factory=MoreOfTraining)

    @classmethod
    def default_config(cls, name: str, preset: str) -> Any:
        """Return the config of an agent or a learner that a preset stands for."""
        raise NotImplementedError

    @classmethod
    def presets(cls, name: str) -> list[str]:
        """Return a line of the help for each preset of an agent or a learner."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise where the device or the package that tracks is not there, before a run folder is made or replaced."""
        from metarl.core.device import check_device
        from metarl.experiments.tracking import check_tracking

        check_device(own_device(self.device))
        if self.more.track:
            check_tracking()

    def make(self, command: str, *, resume: bool, overwrite: bool, blocks: int | None) -> "RunFolder":
        """Make the run folder, or open it where it is resumed."""
        raise NotImplementedError

    def train_together(self, command: str, next_step: str, **options: Any) -> None:
        """Train in one process, start several, or be one of several."""
        import torch

        from metarl.core.parallel import BLOCKS
        from metarl.experiments.launching import launch
        from metarl.experiments.team import joined
        from metarl.version import __version__

        blocks, shared = self.more.blocks, self.more.processes is not None or is_one_of_several()

        def make(first: bool) -> "RunFolder":
            self.check()
            resume, overwrite = self.resume or restarts() > 0 or not first, self.overwrite and first
            of_new = blocks or (BLOCKS if shared else None)
            run = self.make(command, resume=resume, overwrite=overwrite, blocks=of_new)
            if of_new and run.blocks != (blocks or run.blocks or BLOCKS):
                made = f"with --blocks {run.blocks}" if run.blocks else "in one process, without --processes"
                raise MetaRLError(
                    f"{run.path} was made {made}, which decides on its numbers; resume it so, or train anew."
                )
            return run

        if is_one_of_several():
            config = asdict(self.config)  # type: ignore[attr-defined]  # added by main
            facts = {"metarl": __version__, "torch": torch.__version__, "command": command, **config}
            with joined(facts, own_device(self.device), self.more.join_seconds) as team:
                run = team.first_then_others(make)
                parallel = team.parallel(run.blocks or BLOCKS, ordered=self.more.ordered)
                self.train(run, next_step, TrainingOptions(team.device, **options, parallel=parallel))
        elif self.more.processes in (None, 1):
            self.train(make(True), next_step, TrainingOptions(self.device, **options))
        else:
            self.check()
            launch(shlex.split(command)[1:], self.more.processes or 1)

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
        return self.more.runs / name

    def train(self, run: "RunFolder", next_step: str, options: TrainingOptions) -> None:
        """Train a run's seeds; print what was done, and the next step, in which RUN stands for the run's folder."""
        from metarl.experiments.training import train_run

        more = self.more
        options = replace(options, threads=more.threads, seconds=more.checkpoint_seconds, track=more.track)
        try:
            train_run(run, options, self.jobs, quiet=self.quiet or follows())
        except (MetaRLError, Interrupted) as error:
            if not self.resume and not follows():
                run.discard_untrained()
            if not isinstance(error, Interrupted):
                raise
            began = any(run.checkpoint(seed).exists() for seed in run.seeds)
            words = f"Saved; continue with: {_resuming(run.command)}" if began else "Nothing had been trained yet."
            if began and not run.resumable:
                words = f"Saved; its engine cannot be resumed, begin anew from its weights: --init-from {run.path}."
            raise Interrupted(error.number, words) from None
        if follows():
            return
        done = {"run": str(run.path), "seeds": {seed: run.trained_amount(seed) for seed in run.seeds}}
        show(self.more.json, done, f"Trained {run.path}. {next_step.replace('RUN', str(run.path))}")


def results_folder(run: "RunFolder", output: Path | None) -> Path | None:
    """Return where an evaluation is written: as asked, in the run folder, or nowhere for a published result."""
    return output or (run.path if run.keeps_evaluations else None)


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


def save_comparison(figure: "Figure", table: str, output: Path) -> list[Path]:
    """Save the plot of a comparison, and beside it its table as CSV; return both paths."""
    from metarl.core.files import write_atomic
    from metarl.plotting.style import save_figure

    save_figure(figure, output)
    write_atomic(beside := output.with_suffix(".csv"), table)
    return [output, beside]


def show_saved(files: Sequence[Path], *, as_json: bool) -> None:
    """Name the files that were written, in lines of a terminal's width, unless JSON is printed or there are none."""
    if files and not as_json:
        print(fill(f"Saved {', '.join(map(str, files))}", 80, break_long_words=False, break_on_hyphens=False))


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
