"""Run folders: one run of one or several seeds, with all that training, resuming and evaluating it need.

Agents and few-shot learners share all of it but what they are made of (``run.py``, ``fewshot_run.py``).
"""

import hashlib
import json
import os
import secrets
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from stable_baselines3.common.logger import Logger

from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import checkpoint_checksum
from metarl.core.errors import MetaRLError
from metarl.core.files import is_temporary, remove_temporary, using, write_atomic
from metarl.core.lock import LOCK, locked
from metarl.core.process import prepare_process
from metarl.experiments.beginning import logger_of, share
from metarl.experiments.logs import PROGRESS, progress_digest
from metarl.experiments.options import Report, TrainingOptions
from metarl.experiments.saving import CheckpointSaver
from metarl.version import __version__

_CHECKPOINT = "checkpoint.safetensors"


class UnfinishedRun(UserWarning):
    """A run was scored before its training had ended."""


class RunFolder(ABC):
    """A run of one or several seeds, in a folder of its own."""

    about_file: ClassVar[str]  # the file that makes a folder a run
    keeps_evaluations: ClassVar[bool] = True  # whether they are saved in its folder
    called: ClassVar[str]  # what messages call such a folder
    trained_by: ClassVar[str]  # the command that makes one
    unit: ClassVar[str]  # what the budget counts, in the plural
    path: Path
    config: Any
    seeds: tuple[int, ...]
    command: str
    blocks: int | None  # of task rows, where it is trained in several processes, or was made so that it may be
    id: str  # drawn when it was made: all that belongs to the run carries it, wherever its folder is moved

    @classmethod
    def is_at(cls, path: str | os.PathLike[str]) -> bool:
        """Return whether there is such a run in a folder."""
        with using(path):
            return (Path(path) / cls.about_file).is_file()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the run in a folder; raises where there is none, or what it says of itself is damaged."""
        return cls._open(path, cls._from_about)

    @classmethod
    def _open(cls, path: Path, made_of: Callable[[Path, dict[str, Any]], Self]) -> Self:
        file = path / cls.about_file
        try:
            return made_of(path, cls.about(path))
        except MetaRLError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{file} is damaged ({error!r}); restore it or train anew.") from error

    @classmethod
    def about(cls, path: Path) -> dict[str, Any]:
        """Return what the folder says that the run is."""
        file = path / cls.about_file
        if not cls.is_at(path):
            raise MetaRLError(f"{path} is no {cls.called}: it has no {file.name}; train first: {cls.trained_by}.")
        try:
            with using(file):
                text = unseal(file.read_text(), "restore it or train anew")
        except ValueError as error:
            raise MetaRLError(f"{file}: {error}.") from error
        about: dict[str, Any] = json.loads(text)
        return about

    @classmethod
    @abstractmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        """Make the run that the content of its file describes."""

    def write_about(self, of_its_own: Mapping[str, Any]) -> None:
        """Make the folder a run, which has to be the last that is written: a folder is a run once it says so."""
        about = {
            **of_its_own,
            "seeds": list(self.seeds),
            "config": asdict(self.config),
            **({"blocks": self.blocks} if self.blocks else {}),
            "command": self.command,
            "version": __version__,
            "id": self.id,
        }
        write_atomic(self.path / self.about_file, seal(json.dumps(about, indent=2)))

    @property
    @abstractmethod
    def budget(self) -> int:
        """Return how many steps or iterations a seed is trained for."""

    def seed_folder(self, seed: int) -> Path:
        """Return the folder of one seed's files."""
        return self.path / f"seed-{seed}"

    def checkpoint(self, seed: int) -> Path:
        """Return the path of one seed's checkpoint, which need not be there yet."""
        return self.seed_folder(seed) / _CHECKPOINT

    def trained_checkpoint(self, seed: int) -> Path:
        """Return the path of one seed's checkpoint; raises where it is not there yet."""
        if not (path := self.checkpoint(seed)).exists():
            raise MetaRLError(f"{self.path} has no checkpoint of seed {seed}; train it, or go on with --resume.")
        return path

    def progress(self, seed: int) -> Path:
        """Return the path of one seed's ``progress.csv``; raises where its rows are not those of the checkpoint."""
        path, amount = self.seed_folder(seed) / PROGRESS, self.trained_amount(seed)
        if progress_digest(path, amount) != self.log_digest(seed):
            raise MetaRLError(f"{path} is damaged: it does not hold the rows that were logged; restore it.")
        return path

    @abstractmethod
    def log_digest(self, seed: int) -> str:
        """Return the digest of the log that one seed's checkpoint was saved with."""

    def fingerprint(self) -> str:
        """Return the run's id and a hash of its checkpoints as they are now, which mark an evaluation as theirs."""
        sums = [checkpoint_checksum(self.trained_checkpoint(seed)) for seed in self.seeds]
        return f"{self.id}:{hashlib.sha256(''.join(sums).encode()).hexdigest()[:16]}"

    def check_evaluation(self, file: Path, made_of: str) -> bool:
        """Return whether an evaluation is of the checkpoints as they are now; raises where it is of another run.

        Args:
            file: of the evaluation, for the message.
            made_of: the fingerprint that it carries.
        """
        if made_of.partition(":")[0] != self.id:
            raise MetaRLError(f"{file} is the evaluation of another run than {self.path}; evaluate this one again.")
        return made_of == self.fingerprint()

    @abstractmethod
    def trained_amount(self, seed: int) -> int:
        """Return how much of the budget one seed's checkpoint has behind it."""

    @abstractmethod
    def new_model(self, seed: int, device: str = "cpu") -> Any:
        """Make one seed's agent or few-shot learner as it was before training."""

    @property
    def resumable(self) -> bool:
        """Return whether a training that was stopped can go on as if it had not been."""
        return True

    @abstractmethod
    def trained(self, seed: int, device: str = "cpu") -> Any:
        """Load one seed's agent or few-shot learner from its checkpoint."""

    def train_seed(self, seed: int, report: Report, options: TrainingOptions) -> None:
        """Train one seed to the end of its budget, from its checkpoint if there is one.

        Args:
            seed: one of the run's.
            report: is called with the seed, its steps so far and a few words after each row of the log.
            options: of the training.
        """
        prepare_process(options.threads)
        model = (self.trained if self.checkpoint(seed).exists() else self.new_model)(seed, options.device)
        parallel = share(model, self.blocks, getattr(self.config, "tasks", 1), options)
        logger = logger_of(self, seed, self._amount(model), model.log_digest, options)
        report(seed, self._amount(model), "")
        saver = CheckpointSaver(model, self.checkpoint(seed), logger, options.seconds, self.check_there, parallel)
        try:
            self._train(model, logger, saver, report, options)
        finally:
            logger.close()

    @abstractmethod
    def _amount(self, model: Any) -> int:
        """Return how many steps or iterations a model has been trained for."""

    @abstractmethod
    def _train(
        self, model: Any, logger: Logger, saver: CheckpointSaver, report: Report, options: TrainingOptions
    ) -> None:
        """Train a model to the end of the budget, logging, reporting and saving on the way."""

    def warn_if_unfinished(self, seed: int, amount: int) -> None:
        """Warn where a seed that is scored has less than the budget behind it."""
        if amount < self.budget:
            warnings.warn(
                f"Seed {seed} of {self.path} has {amount:,} of its {self.budget:,} {self.unit}; --resume its training "
                "before you quote this.",
                UnfinishedRun,
                stacklevel=3,
            )

    def discard_untrained(self) -> None:
        """Remove the folder unless a seed has a checkpoint: a run that failed at once leaves nothing behind."""
        if self._is_there() and not any(self.checkpoint(seed).exists() for seed in self.seeds):
            with suppress(MetaRLError), locked(self.path):  # unless another process has it by now
                shutil.rmtree(self.path, ignore_errors=True)

    def _is_there(self) -> bool:
        try:
            return bool(self.about(self.path)["id"] == self.id)
        except (MetaRLError, KeyError, TypeError):
            return False

    def check_there(self) -> None:
        """Raise where the folder is gone, or holds another run by now, so that nothing more is saved into it."""
        if not self._is_there():
            raise MetaRLError(
                f"{self.path} was removed, damaged or replaced while it was trained; what was learned since its last "
                "checkpoint is lost. Restore it and continue with --resume, or train anew."
            )

    @contextmanager
    def in_training(self) -> Iterator[None]:
        """Hold the folder while its seeds are trained; what kills have left half-written is removed first."""
        self.check_there()
        with locked(self.path):
            self.check_there()
            for folder in (self.path, *map(self.seed_folder, self.seeds)):
                remove_temporary(folder)
            yield
            self.check_there()

    def check_same(self, saved: "RunFolder", names: Sequence[str]) -> None:
        """Raise where a run to be resumed was made otherwise."""
        for name in names:
            mine, there = getattr(self, name), getattr(saved, name)
            if mine != there:
                raise MetaRLError(
                    f"{self.path} was made with {name} {there}, not {mine}; resume it with its own command."
                )

    @contextmanager
    def in_making(self, overwrite: bool, unfinished: tuple[str, ...] = ()) -> Iterator[None]:
        """Hold the folder while the block makes it a run, in the place of another only with ``overwrite``.

        Files called as those ``unfinished`` are what a kill left behind while a folder was made, which is no run. Where
        the block fails, nothing is left.
        """
        with using(self.path):
            self._check_room(overwrite, unfinished)
            new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                with locked(self.path):
                    self._check_room(overwrite, unfinished)
                    self._clear()
                    try:
                        yield
                    except BaseException:
                        shutil.rmtree(self.path, ignore_errors=True)
                        raise
            except BaseException:
                for folder in new:
                    with suppress(OSError):
                        folder.rmdir()  # only if it is empty
                raise

    def _clear(self) -> None:
        """Remove all but the lock, and last what makes it a run: no kill leaves what ``overwrite`` would refuse."""
        for file in sorted(self.path.iterdir(), key=lambda file: file.name == self.about_file):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif file.name != LOCK:
                file.unlink()

    def _check_room(self, overwrite: bool, unfinished: tuple[str, ...]) -> None:
        leavings = (LOCK, *unfinished)
        if not self.path.exists() or all(is_temporary(file) or file.name in leavings for file in self.path.iterdir()):
            return
        if not self.is_at(self.path):
            raise MetaRLError(f"{self.path} is there and is no run folder; choose another --name.")
        if not overwrite:
            raise MetaRLError(
                f"{self.path} is there already; continue it with --resume, replace it with --overwrite, or choose "
                "another --name."
            )


def new_id() -> str:
    """Draw an id for a new run."""
    return secrets.token_hex(8)
