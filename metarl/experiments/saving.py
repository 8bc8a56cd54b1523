"""Saving a seed while it is trained: some seconds apart, at the end, and before a signal ends the process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """

    def __init__(self, model: Any, path: Path, logger: RunLogger, seconds: float, check: Callable[[], None]) -> None:
        self._model, self._path, self._logger, self._seconds, self._check = model, path, logger, seconds, check
        self._saved = time.monotonic()

    def save(self) -> None:
        """Save the checkpoint now."""
        self._check()
        self._model.log_digest = self._logger.digest
        self._model.save(self._path)
        self._saved = time.monotonic()

    def save_if_due(self) -> None:
        """Save where the seconds have passed or a signal asks for the end; raises Interrupted in the latter case."""
        if time.monotonic() - self._saved >= self._seconds or signals.asked() is not None:
            self.save()
            signals.stop_if_asked()
