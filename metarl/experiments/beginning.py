"""How the training of a seed begins, in one process or several: from the same numbers, with a log of the first one."""

from typing import Any

from stable_baselines3.common.logger import Logger

from metarl.core.checkpoint import fingerprint
from metarl.core.files import using
from metarl.core.parallel import TaskParallel
from metarl.experiments import signals
from metarl.experiments.logs import RunLogger
from metarl.experiments.options import TrainingOptions
from metarl.experiments.tracking import Tracker


def share(model: Any, blocks: int | None, n_tasks: int, options: TrainingOptions) -> TaskParallel:
    """Have a model share its task rows with the other processes, and return through what.

    Args:
        model: an agent or a few-shot learner, new or from its checkpoint.
        blocks: of task rows, as the run has them; it is not shared unless given.
        n_tasks: of an iteration.
        options: of the training.

    Raises:
        MetaRLError: where a process would have nothing to do, or another one has other parameters: all have to see the
            same run folder.
        Interrupted: where a signal has asked one of them to end.
    """
    parallel = options.parallel or TaskParallel(blocks or 1, device=options.device)
    if parallel.world > 1:
        parallel.check(n_tasks)
        parallel.agree(f"iteration {model.iteration} with parameters {fingerprint(model.params)}", "begun at")
    if asked := parallel.most(signals.asked() or 0):
        raise signals.Interrupted(asked)
    model.parallel = parallel
    return parallel


def logger_of(run: Any, seed: int, amount: int, digest: str, options: TrainingOptions) -> Logger:
    """Return the logger of a run's seed, which goes on after some steps; a process that follows has a mute one."""
    if options.parallel is not None and not options.parallel.leads:
        return Logger(None, [])
    folder = run.seed_folder(seed)
    with using(folder):
        folder.mkdir(exist_ok=True)
    logger = RunLogger(folder, amount, digest)
    if options.track:
        logger.output_formats.append(Tracker(run.id, seed, folder, run.about(run.path)))
    return logger
