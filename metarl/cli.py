"""The command line: ``metarl train | evaluate | compare | render | fewshot | families | check``."""

import json
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, field, make_dataclass
from pathlib import Path
from typing import Any

import tyro

from metarl.errors import MetaRLError
from metarl.options import (
    CheckOptions,
    CompareOptions,
    EvaluateOptions,
    FamiliesOptions,
    RenderOptions,
    TrainOptions,
    preset_of,
)

# What a command needs is imported in it: `metarl --help` should not wait for torch.


def train(arguments: Sequence[str]) -> None:
    """Train an agent on a task family."""
    from metarl.agent_registry import agent_class
    from metarl.runs import Run
    from metarl.training import train_run

    options_class: type[Any] = TrainOptions
    if not {"-h", "--help"} & set(arguments) and (not arguments or arguments[0].startswith("-")):
        raise MetaRLError("Name the agent and the family first: metarl train AGENT FAMILY [OPTIONS].")
    if arguments and not arguments[0].startswith("-"):
        # The agent decides which config fields there are, its preset what they default to.
        agent = agent_class(arguments[0])
        config = _preset(agent, arguments)
        options_class = make_dataclass(
            "TrainOptions", [("config", type(config), field(default=config))], bases=(TrainOptions,), frozen=True
        )
        options_class.__doc__ = TrainOptions.__doc__
    options = tyro.cli(options_class, args=list(arguments), prog="metarl train")
    family = options.family.rsplit("/", 1)[-1].rsplit("-v", 1)[0].replace(":", "-")
    preset = None if options.preset == "default" else options.preset
    name = options.name or "-".join(part for part in (options.agent, preset, family, options.variant) if part)
    from metarl.device import check_device

    check_device(options.device)
    run = Run.create(
        options.runs / name,
        options.agent,
        options.family,
        options.variant,
        options.config,
        options.seed,
        "metarl train " + shlex.join(arguments),
        resume=options.resume,
        overwrite=options.overwrite,
    )
    try:
        train_run(
            run, options.device, options.threads, options.jobs, options.checkpoint_seconds, compile=options.compile
        )
    except MetaRLError:
        if not options.resume:
            run.discard_untrained()
        raise
    done = {"run": str(run.path), "seeds": {seed: run.about_training(seed)["num_timesteps"] for seed in run.seeds}}
    _print(options.json, done, f"Trained {run.path}. Score it on held-out tasks: metarl evaluate {run.path}")


def evaluate(arguments: Sequence[str]) -> None:
    """Adapt to held-out tasks and score it."""
    options = tyro.cli(EvaluateOptions, args=list(arguments), prog="metarl evaluate")
    from metarl.evaluate.run import evaluate_run, save_evaluation
    from metarl.evaluate.tables import as_json, curve_table
    from metarl.process import prepare_process
    from metarl.runs import Run

    prepare_process(options.threads)
    run = Run.open(options.run)
    outcome = evaluate_run(
        run,
        options.split,
        options.tasks,
        options.points,
        options.device,
        deterministic=options.deterministic,
        ablation=options.ablation,
    )
    files = save_evaluation(run, outcome)
    _print(options.json, as_json(outcome.evaluation), curve_table(outcome.evaluation))
    if not options.json:
        print("Saved " + ", ".join(str(file) for file in files))


def compare(arguments: Sequence[str]) -> None:
    """Several runs in one table and one plot."""
    options = tyro.cli(CompareOptions, args=list(arguments), prog="metarl compare")
    from metarl.device import check_device
    from metarl.evaluate.drawing import save_figure
    from metarl.evaluate.plots import comparison_figure
    from metarl.evaluate.references import check_players, player_evaluations
    from metarl.evaluate.run import distinct, evaluation_of, held_out
    from metarl.evaluate.tables import check_comparable, comparison_csv, comparison_json, comparison_table
    from metarl.files import write_atomic
    from metarl.process import prepare_process
    from metarl.runs import Run

    prepare_process(options.threads)
    check_device(options.device)
    runs = [Run.open(path) for path in options.runs]
    if options.players:
        check_players(options.players, runs[0].family())
    evaluations = distinct([evaluation_of(run, options.split, options.device) for run in runs], runs)
    check_comparable(evaluations)
    if options.players:
        family = runs[0].family()
        tasks = held_out(family, options.split)
        evaluations += player_evaluations(options.players, evaluations, family, tasks, options.device)
    _print(options.json, comparison_json(evaluations), comparison_table(evaluations))
    save_figure(comparison_figure(evaluations), options.output)
    table = options.output.with_suffix(".csv")
    write_atomic(table, comparison_csv(evaluations))
    if not options.json:
        print(f"Saved {options.output}, {table}")


def render(arguments: Sequence[str]) -> None:
    """A video of several tasks side by side."""
    options = tyro.cli(RenderOptions, args=list(arguments), prog="metarl render")
    from metarl.evaluate.film import film_player, film_run, frames
    from metarl.family import make_family
    from metarl.family.video import check_video, save_video
    from metarl.process import prepare_process
    from metarl.runs import Run, is_run

    check_video(options.output)
    prepare_process(options.threads)
    if is_run(options.what):
        run = Run.open(Path(options.what))
        film = film_run(run, options.split, options.envs, options.points, options.seed)
    else:
        family = make_family(options.what, options.variant)
        film = film_player(family, options.player, options.split, options.envs)
    pictures, fps = frames(film, options.steps), film.family.render_fps
    save_video(options.output, pictures, fps)
    done = {"video": str(options.output), "pictures": len(pictures), "fps": fps}
    _print(options.json, done, f"Saved {options.output}: {len(pictures)} pictures, {fps} a second")


def families(arguments: Sequence[str]) -> None:
    """List the task families."""
    options = tyro.cli(FamiliesOptions, args=list(arguments), prog="metarl families")
    from metarl.family.listing import families, families_json, families_table

    listed = families()
    _print(options.json, json.loads(families_json(listed)), families_table(listed))


def check(arguments: Sequence[str]) -> None:
    """Check a task family, also one of your own."""
    options = tyro.cli(CheckOptions, args=list(arguments), prog="metarl check")
    from metarl.family.check import check_family, check_variants

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
    from metarl.fewshot.cli import fewshot

    fewshot(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "render": render,
    "fewshot": fewshot,
    "families": families,
    "check": check,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Bad input is one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    if not given or given[0] in ("-h", "--help"):
        lines = [f"  {name:<9} {command.__doc__}" for name, command in COMMANDS.items()]
        print("usage: metarl COMMAND ...   (metarl COMMAND --help for its options)\n\n" + "\n".join(lines))
        return
    if given[0] == "--version":
        from metarl import __version__

        print(__version__)
        return
    try:
        if given[0] not in COMMANDS:
            raise MetaRLError(f"Command {given[0]!r} is unknown; choose one of {', '.join(COMMANDS)}.")
        COMMANDS[given[0]](given[1:])
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted. A training run continues from its last checkpoint with --resume.", file=sys.stderr)
        raise SystemExit(130) from None


def _preset(agent: type[Any], arguments: Sequence[str]) -> Any:
    name = preset_of(arguments)
    if name not in agent.presets:
        raise MetaRLError(f"Agent {agent.name!r} has no preset {name!r}; choose one of {', '.join(agent.presets)}.")
    return agent.presets[name]


def _print(as_json: bool, content: Any, shown: Any) -> None:
    if as_json:
        print(json.dumps(content, indent=2))
        return
    if isinstance(shown, str):
        print(shown)  # rich would break a command in two
        return
    from rich import print as rich_print

    rich_print(shown)


if __name__ == "__main__":
    main()
