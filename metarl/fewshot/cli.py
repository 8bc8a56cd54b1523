"""``metarl fewshot train | evaluate | compare``."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import Any

import tyro
from rich import print as rich_print

from metarl.device import check_device
from metarl.errors import MetaRLError
from metarl.evaluate.drawing import save_figure
from metarl.fewshot.drawing import comparison, pictures
from metarl.fewshot.evaluation import FewShotEvaluation, evaluation_file, evaluation_of
from metarl.fewshot.options import CompareOptions, EvaluateOptions, TrainOptions
from metarl.fewshot.presets import recipe
from metarl.fewshot.runs import FewShotRun, train_seed
from metarl.fewshot.tables import rows, table, table_csv
from metarl.files import write_atomic
from metarl.options import preset_of
from metarl.process import prepare_process
from metarl.training import train_run


def train(arguments: Sequence[str]) -> None:
    """Train a few-shot learner on a source of tasks."""
    options_class: type[Any] = TrainOptions
    if not {"-h", "--help"} & set(arguments) and (not arguments or arguments[0].startswith("-")):
        raise MetaRLError("Name the learner first: metarl fewshot train LEARNER [OPTIONS].")
    if arguments and not arguments[0].startswith("-"):
        config = recipe(arguments[0], preset_of(arguments))
        options_class = make_dataclass(
            "TrainOptions", [("config", type(config), field(default=config))], bases=(TrainOptions,), frozen=True
        )
        options_class.__doc__ = TrainOptions.__doc__
    options = tyro.cli(options_class, args=list(arguments), prog="metarl fewshot train")
    check_device(options.device)
    preset = None if options.preset == "default" else options.preset
    source = options.source.rstrip("/").rpartition("/")[2].replace(":", "-")
    run = FewShotRun.create(
        options.runs / (options.name or "-".join(part for part in (options.learner, preset, source) if part)),
        options.config,
        options.source,
        options.seed,
        "metarl fewshot train " + shlex.join(arguments),
        resume=options.resume,
        overwrite=options.overwrite,
    )
    try:
        train_run(run, options.device, options.threads, options.jobs, options.checkpoint_seconds, train_seed)
    except MetaRLError:
        if not options.resume:
            run.discard_untrained()
        raise
    done = {"run": str(run.path), "seeds": {seed: run.trained(seed).iteration for seed in run.seeds}}
    said = f"Trained {run.path}. Score it on unseen tasks: metarl fewshot evaluate {run.path}"
    print(json.dumps(done, indent=2) if options.json else said)


def evaluate(arguments: Sequence[str]) -> None:
    """Adapt to tasks of unseen classes and score it."""
    options = tyro.cli(EvaluateOptions, args=list(arguments), prog="metarl fewshot evaluate")
    prepare_process(options.threads)
    run = FewShotRun.open(options.run)
    made = _evaluation(run, options)
    where = evaluation_file(run, made.shape, options.part, options.transductive)
    files = [where, where.with_suffix(".csv")]
    for name, figure in pictures(run, made, options.device).items():
        files.append(where.with_name(f"{where.stem}-{name}.png"))
        save_figure(figure, files[-1])
    _show([made], options.json)
    if not options.json:
        print("Saved " + ", ".join(map(str, files)))


def compare(arguments: Sequence[str]) -> None:
    """Several runs in one table and one plot."""
    options = tyro.cli(CompareOptions, args=list(arguments), prog="metarl fewshot compare")
    if not options.runs:
        raise MetaRLError("Name the run folders: metarl fewshot compare RUN RUN ...")
    prepare_process(options.threads)
    runs = [FewShotRun.open(path) for path in options.runs]
    if len(sources := {run.source_name for run in runs}) > 1:
        raise MetaRLError(f"The runs are of different sources, {', '.join(sorted(sources))}; compare those of one.")
    made = [_evaluation(run, options) for run in runs]
    _show(made, options.json)
    save_figure(comparison(made), options.output)
    write_atomic(options.output.with_suffix(".csv"), table_csv(made))
    if not options.json:
        print(f"Saved {options.output}, {options.output.with_suffix('.csv')}")


def _evaluation(run: FewShotRun, options: EvaluateOptions | CompareOptions) -> FewShotEvaluation:
    shape = options.shape(functions=run.source().kind.outputs is not None)
    how = {"transductive": options.transductive}
    return evaluation_of(run, shape, options.episodes, options.part, options.device, **how)


def _show(made: Sequence[FewShotEvaluation], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows(made), indent=2))
    else:
        rich_print(table(made))


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"train": train, "evaluate": evaluate, "compare": compare}


def fewshot(arguments: Sequence[str]) -> None:
    """One of the commands."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<9} {command.__doc__}" for name, command in COMMANDS.items()]
        print("usage: metarl fewshot COMMAND ...   (COMMAND --help for its options)\n\n" + "\n".join(lines))
        return
    if arguments[0] not in COMMANDS:
        raise MetaRLError(f"Command fewshot {arguments[0]!r} is unknown; choose one of {', '.join(COMMANDS)}.")
    COMMANDS[arguments[0]](arguments[1:])
