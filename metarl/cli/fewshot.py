"""``metarl fewshot train | evaluate | compare``."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import tyro

from metarl.cli.commands import Command, dispatch, run_name, show, train_and_report, training_options
from metarl.cli.fewshot_options import CompareOptions, EvaluateOptions, TrainOptions
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.process import prepare_process
from metarl.evaluate.fewshot import FewShotEvaluation, evaluation_file, evaluation_of, save_evaluation
from metarl.evaluate.fewshot_published import open_fewshot_run
from metarl.evaluate.fewshot_tables import rows, table, table_csv
from metarl.experiments.fewshot_run import FewShotRun, train_seed
from metarl.fewshot.registry import preset_config
from metarl.plotting.fewshot.run_figures import comparison, pictures
from metarl.plotting.style import save_figure


def train(arguments: Sequence[str]) -> None:
    """Train a few-shot learner on a data set of tasks."""
    options = training_options(TrainOptions, preset_config, arguments, "metarl fewshot train", "the learner")
    check_device(options.device)
    learner, dataset = options.learner.rpartition(":")[2], options.data.rstrip("/").rpartition("/")[2]
    run = FewShotRun.create(
        options.runs / run_name(options, learner, dataset.replace(":", "-")),
        options.learner,
        options.config,
        options.data,
        options.seed,
        "metarl fewshot train " + shlex.join(arguments),
        resume=options.resume,
        overwrite=options.overwrite,
    )
    train_and_report(run, options, train_seed, "Score it on unseen tasks: metarl fewshot evaluate")


def evaluate(arguments: Sequence[str]) -> None:
    """Adapt to tasks of unseen classes and score it."""
    options = tyro.cli(EvaluateOptions, args=list(arguments), prog="metarl fewshot evaluate")
    prepare_process(options.threads)
    run = open_fewshot_run(options.run, options.learner, options.data, options.backbone)
    made = _evaluation(run, options)
    files = _save(run, made, options)
    show(options.json, rows([made]), table([made]))
    if files and not options.json:
        print("Saved " + ", ".join(map(str, files)))


def compare(arguments: Sequence[str]) -> None:
    """Several runs in one table and one plot."""
    options = tyro.cli(CompareOptions, args=list(arguments), prog="metarl fewshot compare")
    if not options.runs:
        raise MetaRLError("Name the run folders: metarl fewshot compare RUN RUN ...")
    prepare_process(options.threads)
    runs = [open_fewshot_run(path, options.learner, options.data, options.backbone) for path in options.runs]
    if len(names := {run.dataset_name for run in runs}) > 1:
        raise MetaRLError(f"The runs are of different data sets, {', '.join(sorted(names))}; compare those of one.")
    made = [_evaluation(run, options) for run in runs]
    show(options.json, rows(made), table(made))
    save_figure(comparison(made), options.output)
    write_atomic(options.output.with_suffix(".csv"), table_csv(made))
    if not options.json:
        print(f"Saved {options.output}, {options.output.with_suffix('.csv')}")


def _save(run: FewShotRun, made: FewShotEvaluation, options: EvaluateOptions) -> list[Path]:
    """Write the evaluation with its pictures; of a published result only where a folder is given."""
    folder = options.output or (run.path if run.keeps_evaluations else None)
    if folder is None:
        return []
    where = evaluation_file(folder, made.shape, options.split, options.transductive)
    if folder != run.path:  # where it lies already
        save_evaluation(made, where)
    files = [where, where.with_suffix(".csv")]
    for name, figure in pictures(run, made, options.device).items():
        files.append(where.with_name(f"{where.stem}-{name}.png"))
        save_figure(figure, files[-1])
    return files


def _evaluation(run: FewShotRun, options: EvaluateOptions | CompareOptions) -> FewShotEvaluation:
    shape = options.shape(functions=run.dataset().spec.outputs is not None)
    how = {"transductive": options.transductive}
    return evaluation_of(run, shape, options.episodes, options.split, options.device, **how)


COMMANDS: dict[str, Command] = {"train": train, "evaluate": evaluate, "compare": compare}


def fewshot(arguments: Sequence[str]) -> None:
    """One of the commands."""
    dispatch(COMMANDS, arguments, "metarl fewshot")
