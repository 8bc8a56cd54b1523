"""What the command lines of agents and of few-shot learners share."""

import json
import os
import select
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from typing import TYPE_CHECKING, Any

import tyro

from metarl.cli.options import RunOptions, preset_of
from metarl.core.errors import MetaRLError
from metarl.experiments.signals import Interrupted

if TYPE_CHECKING:  # `metarl --help` should not wait for torch
    from metarl.experiments.run_folder import RunFolder
    from metarl.experiments.training import TrainSeed

_LONGEST = 255  # bytes of a file's name, on the usual file systems
_SIGPIPE = 128 + 13  # the exit code of a program that this signal ended
Command = Callable[[Sequence[str]], None]


def training_options(
    options: type[RunOptions], config: Callable[[str, str], Any], arguments: Sequence[str], prog: str, first: str
) -> Any:
    """The options of a training, and its ``config``: what ``config(what, preset)`` gives, as the arguments change it.

    What is trained decides which fields a config has, and the preset what they default to; so both are looked for
    before the arguments are parsed. ``first`` says what has to come first, such as "the learner".
    """
    made: Any = options
    if not arguments or arguments[0].startswith("-"):
        if not {"-h", "--help"} & set(arguments):
            operands = " ".join(word.upper() for word in first.split() if word not in ("the", "and"))
            raise MetaRLError(f"Name {first} first: {prog} {operands} [OPTIONS].")
    else:
        default = config(arguments[0], preset_of(arguments))
        made = make_dataclass(
            options.__name__, [("config", type(default), field(default=default))], bases=(options,), frozen=True
        )
        made.__doc__ = options.__doc__
    return tyro.cli(made, args=list(arguments), prog=prog)


def train_and_report(
    run: "RunFolder", options: RunOptions, train: "TrainSeed", next_step: str, *, compile: bool = False
) -> None:
    """Train a run's seeds; say what was done, and how to score it."""
    from metarl.experiments.training import train_run

    try:
        train_run(
            run, options.device, options.threads, options.jobs, options.checkpoint_seconds, train, compile=compile
        )
    except (MetaRLError, Interrupted) as error:
        if not options.resume:
            run.discard_untrained()
        if not isinstance(error, Interrupted):
            raise
        began = any(run.checkpoint(seed).exists() for seed in run.seeds)
        words = f"Saved; continue with: {_resuming(run.command)}" if began else "Nothing had been trained yet."
        raise Interrupted(error.number, words) from None
    done = {"run": str(run.path), "seeds": {seed: run.trained_amount(seed) for seed in run.seeds}}
    show(options.json, done, f"Trained {run.path}. {next_step} {run.path}")


def _resuming(command: str) -> str:
    """The command that continues what a command began."""
    words = [word for word in shlex.split(command) if word not in ("--resume", "--overwrite")]
    return shlex.join([*words, "--resume"])


def run_name(options: RunOptions, *parts: str | None) -> str:
    """What a run folder is called unless a name is given: its parts, and the preset behind the first.

    Raises for a name that is no folder's, or would lead out of ``--runs``.
    """
    preset = None if options.preset == "default" else options.preset
    made = "-".join(part for part in (parts[0], preset, *parts[1:]) if part)
    name = made if options.name is None else options.name
    if not name or name.startswith(".") or set(name) & {"/", "\\"} or not name.isprintable():
        raise MetaRLError(
            f"--name {name!r}: it names one folder in --runs, so give it no slash, no dot at its start and only "
            "characters that can be printed."
        )
    if len(os.fsencode(name)) > _LONGEST:
        raise MetaRLError(f"--name {name[:20]}...: it has {len(os.fsencode(name))} bytes; {_LONGEST} at most.")
    return name


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


@contextmanager
def quiet_without_a_reader() -> Iterator[None]:
    """End without a word, with exit code 141, where the reader of our output has closed it, as ``| head`` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout, select.POLLERR)
        if not output.poll(0):
            raise  # another pipe than that of our output
        # What is left in the buffer goes nowhere; at its end Python would try once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_SIGPIPE) from None


def dispatch(commands: Mapping[str, Command], arguments: Sequence[str], prog: str) -> None:
    """Run one of the commands, or list them."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<9} {command.__doc__}" for name, command in commands.items()]
        print(f"usage: {prog} COMMAND ...   ({prog} COMMAND --help for its options)\n\n" + "\n".join(lines))
        return
    if arguments[0] not in commands:
        words = " ".join([*prog.split()[1:], repr(arguments[0])])
        raise MetaRLError(f"Command {words} is unknown; choose one of {', '.join(commands)}.")
    commands[arguments[0]](arguments[1:])
