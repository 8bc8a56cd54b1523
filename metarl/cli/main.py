"""The command line: ``metarl train | evaluate | compare | render | fewshot | families | check``."""

import json
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro

from metarl.cli.commands import (
    Command,
    dispatch,
    quiet_without_a_reader,
    run_name,
    show,
    train_and_report,
    training_options,
)
from metarl.cli.options import (
    CheckOptions,
    CompareOptions,
    EvaluateOptions,
    FamiliesOptions,
    RenderOptions,
    TrainOptions,
)
from metarl.core.errors import MetaRLError
from metarl.core.files import refused
from metarl.experiments.signals import Interrupted, raising

# What a command needs is imported in it: `metarl --help` should not wait for torch.


def train(arguments: Sequence[str]) -> None:
    """Train an agent on a task family."""
    options = training_options(TrainOptions, _preset, arguments, "metarl train", "the agent and the family")
    from metarl.core.device import check_device
    from metarl.experiments.run import Run
    from metarl.experiments.training import train_seed

    check_device(options.device)
    family = options.family.rsplit("/", 1)[-1].rsplit("-v", 1)[0].replace(":", "-")
    run = Run.create(
        options.runs / run_name(options, options.agent, family, options.variant),
        options.agent,
        options.family,
        options.variant,
        options.config,
        options.seed,
        "metarl train " + shlex.join(arguments),
        resume=options.resume,
        overwrite=options.overwrite,
    )
    score = "Score it on held-out tasks: metarl evaluate"
    train_and_report(run, options, train_seed, score, compile=options.compile)


def evaluate(arguments: Sequence[str]) -> None:
    """Adapt to held-out tasks and score it."""
    options = tyro.cli(EvaluateOptions, args=list(arguments), prog="metarl evaluate")
    from metarl.core.process import prepare_process
    from metarl.evaluate.published import open_run
    from metarl.evaluate.run import evaluate_run, save_evaluation
    from metarl.evaluate.tables import as_json, curve_table

    prepare_process(options.threads)
    run = open_run(options.run, family=options.family, agent=options.agent, trust=options.trust)
    outcome = evaluate_run(
        run,
        options.split,
        options.tasks,
        options.points,
        options.device,
        deterministic=options.deterministic,
        ablation=options.ablation,
    )
    kept = run.keeps_evaluations or options.output is not None
    files = save_evaluation(run, outcome, options.output) if kept else []
    show(options.json, as_json(outcome.evaluation), curve_table(outcome.evaluation))
    if files and not options.json:
        print("Saved " + ", ".join(str(file) for file in files))


def compare(arguments: Sequence[str]) -> None:
    """Several runs in one table and one plot."""
    options = tyro.cli(CompareOptions, args=list(arguments), prog="metarl compare")
    if not options.runs:
        raise MetaRLError("Name the run folders: metarl compare RUN RUN ...")
    from metarl.core.device import check_device
    from metarl.core.files import write_atomic
    from metarl.core.process import prepare_process
    from metarl.evaluate.published import open_run
    from metarl.evaluate.references import check_reference_policies, reference_evaluations
    from metarl.evaluate.run import distinct, evaluation_of, held_out
    from metarl.evaluate.tables import check_comparable, comparison_csv, comparison_json, comparison_table
    from metarl.plotting.curves import comparison_figure
    from metarl.plotting.style import save_figure

    prepare_process(options.threads)
    check_device(options.device)
    runs = [open_run(path, family=options.family, agent=options.agent, trust=options.trust) for path in options.runs]
    if options.reference_policies:
        check_reference_policies(options.reference_policies, runs[0].family())
    evaluations = distinct([evaluation_of(run, options.split, options.device) for run in runs], runs)
    check_comparable(evaluations)
    if options.reference_policies:
        family = runs[0].family()
        tasks = held_out(family, options.split)
        evaluations += reference_evaluations(options.reference_policies, evaluations, family, tasks, options.device)
    show(options.json, comparison_json(evaluations), comparison_table(evaluations))
    save_figure(comparison_figure(evaluations), options.output)
    table = options.output.with_suffix(".csv")
    write_atomic(table, comparison_csv(evaluations))
    if not options.json:
        print(f"Saved {options.output}, {table}")


def render(arguments: Sequence[str]) -> None:
    """A video of several tasks side by side."""
    options = tyro.cli(RenderOptions, args=list(arguments), prog="metarl render")
    from metarl.core.process import prepare_process
    from metarl.evaluate.published import is_run, open_run
    from metarl.family import make_family
    from metarl.plotting.film import film_run, frames, render_reference
    from metarl.plotting.video import check_video, save_video

    check_video(options.output)
    prepare_process(options.threads)
    if is_run(options.what):
        run = open_run(Path(options.what), family=options.family, agent=options.agent, trust=options.trust)
        render_policy = film_run(run, options.split, options.envs, options.points, options.seed)
    else:
        family = make_family(options.what, options.variant)
        render_policy = render_reference(family, options.reference, options.split, options.envs)
    pictures, fps = frames(render_policy, options.steps), render_policy.family.render_fps
    save_video(options.output, pictures, fps)
    done = {"video": str(options.output), "pictures": len(pictures), "fps": fps}
    show(options.json, done, f"Saved {options.output}: {len(pictures)} pictures, {fps} a second")


def families(arguments: Sequence[str]) -> None:
    """List the task families."""
    options = tyro.cli(FamiliesOptions, args=list(arguments), prog="metarl families")
    from metarl.family.listing import families, families_json, families_table

    listed = families()
    show(options.json, json.loads(families_json(listed)), families_table(listed))


def check(arguments: Sequence[str]) -> None:
    """Check a task family, also one of your own."""
    options = tyro.cli(CheckOptions, args=list(arguments), prog="metarl check")
    from metarl.family.checks.check import check_family, check_variants

    one = options.variant is not None
    reports = [check_family(options.family, options.variant)] if one else check_variants(options.family)
    if options.json:
        print(json.dumps([{**asdict(report), "ok": report.ok} for report in reports], indent=2))
    else:
        for report in reports:
            print(report)
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def fewshot(arguments: Sequence[str]) -> None:
    """Supervised few-shot learning: train, evaluate and compare learners."""
    from metarl.cli.fewshot import fewshot

    fewshot(arguments)


COMMANDS: dict[str, Command] = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "render": render,
    "fewshot": fewshot,
    "families": families,
    "check": check,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Bad input, and what the system refuses, is one line on stderr and exit code 2; a signal that ends the command is a
    line too, and exit code 128 + its number.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        with quiet_without_a_reader(), raising():
            if given and given[0] == "--version":
                from metarl.version import __version__

                print(__version__)
            else:
                dispatch(COMMANDS, given, "metarl")
    except MetaRLError as error:
        _say(str(error))
        raise SystemExit(2) from None
    except OSError as error:
        _say(str(refused(error)))
        raise SystemExit(2) from None
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        raise SystemExit(stop.exit_code) from None


def _say(error: str) -> None:
    """An error on one line, also where an argument with line ends stands in it."""
    print(f"error: {' '.join(error.splitlines())}", file=sys.stderr)


def _preset(agent: str, name: str) -> Any:
    from metarl.algorithm.registry import agent_class

    presets = agent_class(agent).presets
    if name not in presets:
        raise MetaRLError(f"Agent {agent!r} has no preset {name!r}; choose one of {', '.join(presets)}.")
    return presets[name]


if __name__ == "__main__":
    main()
