"""The tree of commands, and how each of them ends."""

import os
import select
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import field, make_dataclass, replace
from functools import reduce
from io import StringIO
from itertools import pairwise
from operator import or_
from typing import Annotated, Any

import tyro

from metarl.cli.agents import Agents, Compare, Render, Train
from metarl.cli.base import Command, TrainCommand
from metarl.cli.config_file import config_file_of, from_config_file
from metarl.cli.evaluate import Evaluate
from metarl.cli.export import Export
from metarl.cli.families import Check, Families
from metarl.cli.fewshot import FewShotEvaluate, FewShotTrain
from metarl.cli.fewshot_compare import FewShotCompare
from metarl.cli.fewshot_predict import FewShotPredict
from metarl.cli.fewshot_trust import FewShotTrust
from metarl.cli.new_family import NewFamily
from metarl.cli.options import none_without_braces
from metarl.cli.report import Report
from metarl.cli.suite import SuiteCompare, SuitePublish, SuiteRun, SuiteScore, SuiteVerify, split_config
from metarl.cli.zoo import Enjoy, Zoo
from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.files import refused
from metarl.experiments.place import follows
from metarl.experiments.signals import Interrupted, raising

_SIGPIPE = 128 + 13  # the exit code of a program that this signal ended
_FEWSHOT: dict[str, type] = {
    "train": FewShotTrain,
    "evaluate": FewShotEvaluate,
    "compare": FewShotCompare,
    "predict": FewShotPredict,
    "trust": FewShotTrust,
}
_SUITE: dict[str, type] = {
    "run": SuiteRun,
    "score": SuiteScore,
    "compare": SuiteCompare,
    "publish": SuitePublish,
    "verify": SuiteVerify,
}
_GROUPS = {
    "fewshot": (
        _FEWSHOT,
        "Supervised few-shot learning: train, evaluate and compare learners, predict by them, and measure trust.",
    ),
    "suite": (_SUITE, "The benchmark: train an agent as its protocol says, score it, and compare two."),
}
_COMMANDS: dict[str, type] = {
    "train": Train,
    "evaluate": Evaluate,
    "compare": Compare,
    "render": Render,
    "export": Export,
    "report": Report,
    "fewshot": Command,  # a group, as is suite
    "suite": Command,
    "zoo": Zoo,
    "enjoy": Enjoy,
    "agents": Agents,
    "families": Families,
    "check": Check,
    "new-family": NewFamily,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Bad input, and what the system refuses, is one line on stderr and exit code 2; a signal that ends the command is a
    line too, and exit code 128 + its number.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if follows():
        _silence()
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        with _quiet_without_a_reader(), raising():
            if given[:1] == ["--version"]:
                from metarl.version import __version__

                print(__version__)
            else:
                parsed(given).run(shlex.join(["metarl", *given]))
    except (MetaRLError, OSError) as error:
        words = str(refused(error) if isinstance(error, OSError) else error)
        # On one line also where an argument with line ends stands in it.
        print(f"error: {' '.join(words.splitlines())}", file=sys.stderr)
        raise SystemExit(2) from None
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        raise SystemExit(stop.exit_code) from None


def _silence() -> None:
    """Say nothing in this process, for the first of several speaks for all."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def parsed(arguments: list[str]) -> Any:
    """Return the command that the arguments name, its fields as they say; raises MetaRLError where they are wrong."""
    if arguments == [] or (len(arguments) == 1 and arguments[0] in _GROUPS):
        arguments = [*arguments, "--help"]
    of_group = arguments[0] in _GROUPS
    group, rest = (_GROUPS[arguments[0]][0], arguments[1:]) if of_group else (_COMMANDS, arguments)
    file, config, options = None, None, list[str]()
    if rest[:1] == ["train"]:
        file, rest = config_file_of(rest)
    if arguments[:2] == ["suite", "run"]:
        rest, options = split_config(rest)
        arguments = ["suite", *rest]
    if file is not None:
        rest, config = from_config_file(group["train"], file, rest)
        arguments = [*arguments[:of_group], *rest]
    if len(rest) > 1 and rest[0] == "train" and not rest[1].startswith("-"):
        group = {**group, "train": _with_config(group["train"], rest[1], rest, config)}
    if rest and not rest[0].startswith("-") and rest[0] not in group:
        raise MetaRLError(
            f"There is no command {shlex.join(['metarl', *arguments[: len(arguments) - len(rest) + 1]])!r}; choose one "
            f"of {', '.join(group)}.{did_you_mean(rest[0], group)}"
        )
    groups = {name: _group(commands, words) for name, (commands, words) in _GROUPS.items()}
    if of_group:
        groups[arguments[0]] = _group(group, _GROUPS[arguments[0]][1])
    tree = _tree({**(_COMMANDS if of_group else group), **groups})
    said = StringIO()
    try:
        with redirect_stderr(said), none_without_braces():
            chosen = tyro.cli(tree, args=arguments, prog="metarl")
    except SystemExit as stop:
        if not stop.code:
            raise
        # The words of tyro's box below its heading, a sentence for each of its parts.
        lines = [line.strip("│ ") for line in said.getvalue().splitlines()[1:]]
        parts = "\n".join("" if set(line) <= set("─-╰╯") else line for line in lines).split("\n\n")
        words = [" ".join(part.split()) for part in parts if "Argument helptext" not in part]
        raise MetaRLError("; ".join(part.removesuffix(".") for part in words if part) + ".") from None
    chosen = getattr(chosen, "command", chosen)
    return replace(chosen, options=tuple(options)) if options else chosen


def _with_config(command: type[TrainCommand], name: str, arguments: Sequence[str], config: Any = None) -> type:
    """Return the command with a field ``config``, for what is trained, and the preset, decide on its options."""
    following = dict(pairwise(arguments))
    given = [word.removeprefix("--preset=") for word in arguments if word.startswith("--preset=")]
    if config is None:
        config = command.default_config(name, given[0] if given else following.get("--preset", "default"))
    fields = [("config", type(config), field(default=config))]
    made = make_dataclass(command.__name__, fields, bases=(command,), frozen=True, kw_only=True)
    # Items of a list stay lines of their own.
    presets = "\n".join(f"    - {line}" for line in command.presets(name))
    made.__doc__ = (
        f"{(command.__doc__ or '').rstrip()}\n\n    Presets, with the time that a seed takes on one core:\n{presets}"
    )
    return made


def _tree(commands: dict[str, type]) -> Any:
    """Return the type that tyro makes subcommands of."""
    return reduce(or_, (Annotated[each, tyro.conf.subcommand(name)] for name, each in commands.items()))


def _group(commands: dict[str, type], words: str) -> type:
    """Return a command that has commands of its own."""
    made = make_dataclass("Group", [("command", Annotated[_tree(commands), tyro.conf.arg(name="")])])
    made.__doc__ = words
    return made


@contextmanager
def _quiet_without_a_reader() -> Iterator[None]:
    """End without a word, with exit code 141, where the reader of our output has closed it, as ``| head`` does."""
    if sys.stdout is None:  # closed before we began
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
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


if __name__ == "__main__":
    main()
