"""Saving a seed while it is trained: some seconds apart, at the end, and before a signal ends the process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Logger

from metarl.core.parallel import TaskParallel
from metarl.experiments import signals
from metarl.experiments.logs import RunLogger


class CheckpointSaver:
    """Saves one seed's checkpoint together with the digest of its log.

    Args:
        model: an agent or a few-shot learner; it gets the log's digest and is asked to ``save`` itself.
        path: of the checkpoint.
        logger: of the seed.
        seconds: between two checkpoints.
        check: is called before each save, and raises where the run's folder is gone.
        parallel: the processes that train the model, of which the first one writes.
    """

    def __init__(
        self,
        model: Any,
        path: Path,
        logger: Logger,
        seconds: float,
        check: Callable[[], None],
        parallel: TaskParallel,
    ) -> None:
        self._model, self._path, self._logger, self._seconds, self._check = model, path, logger, seconds, check
        self._parallel, self._saved = parallel, time.monotonic()

    def save(self) -> None:
        """Save the checkpoint now."""
        if isinstance(self._logger, RunLogger):
            self._check()
            self._model.log_digest = self._logger.digest
            self._model.save(self._path)
        self._saved = time.monotonic()

    def save_if_due(self) -> None:
        """Save where the seconds have passed or a signal asks for the end; raises Interrupted in the latter case."""
        asked = self._parallel.most(signals.asked() or 0)  # of all processes, which have to stop together
        if asked or time.monotonic() - self._saved >= self._seconds:
            self.save()
        if asked:
            self._parallel.most(0)  # for as long as the first one saves, lest its end be taken for a failure
            raise signals.Interrupted(asked)
