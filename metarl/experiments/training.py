"""Training the seeds of runs: one after the other or side by side, and resumable."""

import multiprocessing
import os
import queue
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.core.files import refused
from metarl.experiments import signals
from metarl.experiments.options import Report, TrainingOptions
from metarl.experiments.progress import Reporter
from metarl.experiments.run_folder import RunFolder

Part = tuple[RunFolder, int]  # one seed of a run
_FAILED = -1  # in place of the steps: the words are an error


def train_run(
    run: RunFolder, options: TrainingOptions | None = None, jobs: int | None = None, *, quiet: bool = False
) -> None:
    """Train every seed of a run, one after the other or side by side; see ``train_parts``."""
    train_parts([(run, seed) for seed in run.seeds], options, jobs, quiet=quiet)


def train_parts(
    parts: Sequence[Part], options: TrainingOptions | None = None, jobs: int | None = None, *, quiet: bool = False
) -> None:
    """Train seeds of one or several runs, in their order, one after the other or side by side.

    Signals are answered as ``metarl.experiments.signals.deferring`` says: after the first, every seed that is in
    training is saved at the end of its iteration, and Interrupted raised. Raises where another process trains a run,
    or its folder is gone.

    Args:
        parts: runs of agents, or of few-shot learners, each with one of its seeds.
        options: of each seed's training; the defaults unless given.
        jobs: processes at a time; as many as the cores allow unless given.
        quiet: whether no progress is shown.
    """
    options = options or TrainingOptions()
    threads, seconds = options.threads, options.seconds
    if threads < 1 or (jobs is not None and jobs < 1):
        raise MetaRLError(f"--threads {threads} --jobs {jobs}: both must be at least 1.")
    if not seconds >= 0:  # NaN too
        raise MetaRLError(f"--checkpoint-seconds {seconds}: it must be 0, for every iteration, or more.")
    if options.env_workers and (jobs or 1) > 1:
        raise MetaRLError(f"--env-workers {options.env_workers} --jobs {jobs}: seeds with workers train one by one.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if options.parallel is not None:
        jobs = 1
    n_jobs = min(len(parts), jobs or (1 if options.env_workers else max(1, cores // threads)))
    runs = list({run.path: run for run, _ in parts}.values())
    names = [f"seed {seed}" if len(runs) == 1 else f"{run.path.name} seed {seed}" for run, seed in parts]
    budgets = {i: run.budget for i, (run, _) in enumerate(parts)}
    reporter = Reporter(dict(enumerate(names)), budgets, runs[0].unit, quiet=quiet, summary=True)
    several, leads = options.parallel is not None, options.parallel is None or options.parallel.leads
    with ExitStack() as held, signals.deferring(patient=several), reporter:
        for run in runs if leads else ():  # by the first of several processes for all of them
            held.enter_context(run.in_training())
        if n_jobs > 1:
            _side_by_side(parts, names, reporter, options, n_jobs)
            return
        for i, (run, seed) in enumerate(parts):
            try:
                run.train_seed(seed, partial(_passed_on, reporter, i), options)
            except MetaRLError as error:
                raise _failure(names[i], str(error)) from error


def _passed_on(report: Report, number: int, _seed: int, steps: int, words: str) -> None:
    """Report what is said of a seed under the number of its part."""
    report(number, steps, words)


def _side_by_side(
    parts: Sequence[Part], names: Sequence[str], report: Report, options: TrainingOptions, n_jobs: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with signals.blocked():  # the helper process of its semaphores must outlive a terminal that is closed
        messages: Any = context.Queue()
    waiting, running, stopped = list(range(len(parts))), dict[int, Any](), signals.asked()
    try:
        while running or (waiting and stopped is None):
            while waiting and stopped is None and len(running) < n_jobs:
                number = waiting.pop(0)
                arguments = (number, *parts[number], messages, options)
                running[number] = context.Process(target=_child, args=arguments, daemon=True)
                with signals.blocked():  # a child that only begins has no answer yet
                    running[number].start()
            # Before the messages are read: what a process that has ended had to say is then among them.
            ended = [number for number, process in running.items() if not process.is_alive()]
            _read(messages, names, report, 0.0 if ended else 0.2)
            for number in ended:
                code = running.pop(number).exitcode
                if code - 128 in signals.SIGNALS:
                    stopped = stopped or _stop(running, code - 128)
                elif code:
                    raise _failure(names[number], f"it ended with exit code {code}. Continue with --resume.")
            if stopped is None and (asked := signals.asked()) is not None:
                stopped = _stop(running, asked)
    finally:
        for process in running.values():
            process.kill()
        for process in running.values():
            process.join()
    if stopped is not None:
        raise signals.Interrupted(stopped)


def _stop(running: dict[int, Any], number: int) -> int:
    """Have every seed saved at the end of its iteration, and return the signal that wants it."""
    for process in running.values():
        process.terminate()
    return number


def _read(messages: Any, names: Sequence[str], report: Report, wait: float) -> None:
    """Pass on all messages that are there; for the first, wait so many seconds. Raises where a seed has failed."""
    try:
        while True:
            number, steps, words = messages.get(timeout=wait)
            if steps == _FAILED:
                raise _failure(names[number], words)
            report(number, steps, words)
            wait = 0.0
    except queue.Empty:
        return


def _child(number: int, run: RunFolder, seed: int, messages: Any, options: TrainingOptions) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    if not parent.is_alive():
        os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signals.in_child()
    try:
        run.train_seed(seed, lambda _, *report: messages.put((number, *report)), options)
    except signals.Interrupted as stop:
        raise SystemExit(stop.exit_code) from None
    except (MetaRLError, OSError) as error:
        messages.put((number, _FAILED, str(refused(error) if isinstance(error, OSError) else error)))
        raise SystemExit(1) from None


def _end_with(parent: Any) -> None:
    """End with a parent that is killed: children that were left alone would write beside a resumed run."""
    parent.join()
    os._exit(1)


def _failure(name: str, words: str) -> MetaRLError:
    return MetaRLError(f"Training of {name}: {words}")
