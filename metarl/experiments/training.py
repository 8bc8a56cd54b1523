"""Training the seeds of a run: one after the other or side by side, with a progress bar each, and resumable."""

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from metarl.cli.options import SECONDS_BETWEEN_CHECKPOINTS
from metarl.core.errors import MetaRLError
from metarl.core.files import refused, using
from metarl.core.process import log_mujoco_in, prepare_process
from metarl.experiments import signals
from metarl.experiments.logs import RunLogger
from metarl.experiments.run import Run
from metarl.experiments.run_folder import RunFolder

_FAILED = -1  # in place of the steps: the words are an error
Report = Callable[[int, int, str], None]  # seed, steps so far, a few words


@dataclass(frozen=True)
class TrainingOptions:
    """How a seed is trained, whatever it is: threads of torch, seconds between checkpoints, steps compiled or not."""

    device: str = "cpu"
    threads: int = 1
    seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    compile: bool = False  # rollouts; see metarl.rollout.compiled


TrainSeed = Callable[[Any, int, Report, TrainingOptions], None]  # as train_seed; a function that a process can be given


class _Checkpoints(BaseCallback):
    """Saves after iterations, some seconds apart, at the end, and before a signal's; reports every iteration."""

    def __init__(self, save: Callable[[], None], seed: int, report: Report, seconds: float) -> None:
        super().__init__()
        self._save_now, self._seed, self._report, self._seconds = save, seed, report, seconds
        self._saved = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        metrics: dict[str, float] = self.locals["metrics"]
        returns = [f"{value:.1f}" for name, value in metrics.items() if name.startswith("rollout/return")]
        self._report(self._seed, self.model.num_timesteps, "return " + " → ".join(returns))
        if time.monotonic() - self._saved >= self._seconds or signals.asked() is not None:
            self._save()
            signals.stop_if_asked()

    def _on_training_end(self) -> None:
        self._save()

    def _save(self) -> None:
        self._save_now()
        self._saved = time.monotonic()


def train_seed(run: Run, seed: int, report: Report, how: TrainingOptions) -> None:
    """Train one seed to the config's number of steps, from its checkpoint if there is one."""
    prepare_process(how.threads)
    agent = run.new_agent(seed, how.device, compile=how.compile)
    if run.checkpoint(seed).exists():
        agent.restore(run.checkpoint(seed))
    signals.stop_if_asked()
    folder = run.seed_folder(seed)
    with using(folder):
        folder.mkdir(exist_ok=True)
    log_mujoco_in(folder)
    logger = RunLogger(folder, agent.num_timesteps, agent.log_digest)
    agent.set_logger(logger)

    def save() -> None:
        run.check_there()
        agent.log_digest = logger.digest
        agent.save(run.checkpoint(seed))

    try:
        agent.train_until(run.config.total_timesteps, _Checkpoints(save, seed, report, how.seconds))
    finally:
        # TensorBoard writes in a thread of its own, which must not go on in the folder of a run that has failed.
        logger.close()


def train_run(
    run: RunFolder,
    device: str = "cpu",
    threads: int = 1,
    jobs: int | None = None,
    seconds: float = SECONDS_BETWEEN_CHECKPOINTS,
    train: TrainSeed = train_seed,
    compile: bool = False,
) -> None:
    """Train every seed of a run, ``jobs`` processes at a time; as many as the cores allow unless given.

    ``compile`` has rollouts step as compiled functions; see ``metarl.rollout.compiled``. Signals are answered as
    ``metarl.experiments.signals.deferring`` says: after the first, every seed that is in training is saved at the end
    of its iteration, and Interrupted raised. Raises where another process trains the run, or its folder is gone.
    """
    if threads < 1 or (jobs is not None and jobs < 1):
        raise MetaRLError(f"--threads {threads} --jobs {jobs}: both must be at least 1.")
    if not seconds >= 0:  # NaN too
        raise MetaRLError(f"--checkpoint-seconds {seconds}: it must be 0, for every iteration, or more.")
    how = TrainingOptions(device, threads, seconds, compile)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_jobs = min(len(run.seeds), jobs if jobs is not None else max(1, cores // threads))
    console = Console(stderr=True)
    with run.in_training(), signals.deferring(), _progress(console) as progress:
        total = run.budget
        bars = {seed: progress.add_task(f"seed {seed}", total=total, words="") for seed in run.seeds}

        def report(seed: int, steps: int, words: str) -> None:
            progress.update(bars[seed], completed=min(steps, total), words=words)

        try:
            if n_jobs == 1:
                for seed in run.seeds:
                    try:
                        train(run, seed, report, how)
                    except MetaRLError as error:
                        raise _failure(seed, str(error)) from error
            else:
                _side_by_side(run, train, report, how, n_jobs)
        except MetaRLError:
            # In a log the error is all that there is to say; a terminal keeps the bars above it.
            console.quiet = not console.is_terminal
            raise


def _side_by_side(run: RunFolder, train: TrainSeed, report: Report, how: TrainingOptions, n_jobs: int) -> None:
    context = multiprocessing.get_context("spawn")
    with signals.blocked():  # the helper process of its semaphores must outlive a terminal that is closed
        messages: Any = context.Queue()
    waiting, running, stopped = list(run.seeds), dict[int, Any](), signals.asked()
    try:
        while running or (waiting and stopped is None):
            while waiting and stopped is None and len(running) < n_jobs:
                seed = waiting.pop(0)
                running[seed] = context.Process(target=_child, args=(run, train, seed, messages, how), daemon=True)
                with signals.blocked():  # a child that only begins has no answer yet
                    running[seed].start()
            # Before the messages are read: what a process that has ended had to say is then among them.
            ended = [seed for seed, process in running.items() if not process.is_alive()]
            _read(messages, report, 0.0 if ended else 0.2)
            for seed in ended:
                code = running.pop(seed).exitcode
                if code - 128 in signals.SIGNALS:
                    stopped = stopped or _stop(running, code - 128)
                elif code:
                    raise _failure(seed, f"it ended with exit code {code}. Continue with --resume.")
            if stopped is None and (number := signals.asked()) is not None:
                stopped = _stop(running, number)
    finally:
        for process in running.values():
            process.kill()
        for process in running.values():
            process.join()
    if stopped is not None:
        raise signals.Interrupted(stopped)


def _stop(running: dict[int, Any], number: int) -> int:
    """Have every seed saved at the end of its iteration; returns the signal that wants it."""
    for process in running.values():
        process.terminate()
    return number


def _read(messages: Any, report: Report, wait: float) -> None:
    """Pass on all messages that are there; for the first, wait so many seconds. Raises where a seed has failed."""
    try:
        while True:
            seed, steps, words = messages.get(timeout=wait)
            if steps == _FAILED:
                raise _failure(seed, words)
            report(seed, steps, words)
            wait = 0.0
    except queue.Empty:
        return


def _child(run: RunFolder, train: TrainSeed, seed: int, messages: Any, how: TrainingOptions) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    if not parent.is_alive():
        os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signals.in_child()
    try:
        train(run, seed, lambda *report: messages.put(report), how)
    except signals.Interrupted as stop:
        raise SystemExit(stop.exit_code) from None
    except (MetaRLError, OSError) as error:
        messages.put((seed, _FAILED, str(refused(error) if isinstance(error, OSError) else error)))
        raise SystemExit(1) from None


def _end_with(parent: Any) -> None:
    """A parent that is killed takes no leave of its children: left alone, they would write beside a resumed run."""
    parent.join()
    os._exit(1)


def _failure(seed: int, words: str) -> MetaRLError:
    return MetaRLError(f"Training of seed {seed}: {words}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[words]}"),
        console=console,
    )
