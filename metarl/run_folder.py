"""What the run folders of agents and of few-shot learners have in common: a file that says what the run is, seeds."""

import json
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from metarl import __version__
from metarl.errors import MetaRLError
from metarl.files import write_atomic

_CHECKPOINT = "checkpoint.safetensors"


class UnfinishedRun(UserWarning):
    """A run was scored before its training had ended."""


class RunFolder(ABC):
    """A run of one or several seeds. ``about_file`` makes a folder a run; ``trained_by`` is the command for one."""

    about_file: ClassVar[str]
    keeps_evaluations: ClassVar[bool] = True  # whether they are saved in its folder
    called: ClassVar[str]
    trained_by: ClassVar[str]
    path: Path
    config: Any
    seeds: tuple[int, ...]
    command: str

    @classmethod
    def is_at(cls, path: str | os.PathLike[str]) -> bool:
        """Whether there is such a run in a folder."""
        return (Path(path) / cls.about_file).is_file()

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in a folder; raises where there is none."""
        file = path / cls.about_file
        if not cls.is_at(path):
            raise MetaRLError(f"{path} is no {cls.called}: it has no {file.name}; train first: {cls.trained_by}.")
        try:
            return cls._from_about(path, json.loads(file.read_text()))
        except MetaRLError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{file} is damaged ({error!r}); restore it or train anew.") from error

    @classmethod
    @abstractmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        """The run that the file's content describes."""

    def _write_about(self, of_its_own: Mapping[str, Any]) -> None:
        """Make the folder a run, which has to be the last that is written: a folder is a run once it says so."""
        about = {
            **of_its_own,
            "seeds": list(self.seeds),
            "config": asdict(self.config),
            "command": self.command,
            "version": __version__,
        }
        write_atomic(self.path / self.about_file, json.dumps(about, indent=2))

    @property
    @abstractmethod
    def budget(self) -> int:
        """Steps or iterations of a seed's training."""

    def seed_folder(self, seed: int) -> Path:
        """Where one seed's files are."""
        return self.path / f"seed-{seed}"

    def checkpoint(self, seed: int) -> Path:
        """One seed's checkpoint."""
        return self.seed_folder(seed) / _CHECKPOINT

    def trained_checkpoint(self, seed: int) -> Path:
        """The same; raises where it is not there yet."""
        if not self.checkpoint(seed).exists():
            raise MetaRLError(
                f"{self.path} has no checkpoint of seed {seed}; its training has not begun, or use --resume."
            )
        return self.checkpoint(seed)

    @abstractmethod
    def trained_amount(self, seed: int) -> int:
        """How much of the budget one seed's checkpoint has behind it."""

    def warn_if_unfinished(self, seed: int, amount: int, unit: str) -> None:
        """Warn where a seed that is scored has less than the budget behind it."""
        if amount < self.budget:
            warnings.warn(
                f"Seed {seed} of {self.path} has {amount:,} of its {self.budget:,} {unit}; --resume its training "
                "before you quote this.",
                UnfinishedRun,
                stacklevel=3,
            )

    def discard_untrained(self) -> None:
        """Remove the folder unless a seed has a checkpoint: a run that failed at once leaves nothing behind."""
        if not any(self.checkpoint(seed).exists() for seed in self.seeds):
            shutil.rmtree(self.path)

    def check_same(self, saved: "RunFolder", names: Sequence[str]) -> None:
        """Raise where a run to be resumed was made otherwise."""
        for name in names:
            mine, there = getattr(self, name), getattr(saved, name)
            if mine != there:
                raise MetaRLError(
                    f"{self.path} was made with {name} {there}, not {mine}; resume it with its own command."
                )

    def make_room(self, overwrite: bool, unfinished: tuple[str, ...] = ()) -> None:
        """See that a new run can take the folder.

        Files that begin as those ``unfinished`` are what a kill left behind while a folder was made, which is no run.
        """
        leavings = (*unfinished, f".{self.about_file}")
        if not self.path.exists() or all(file.name.startswith(leavings) for file in self.path.iterdir()):
            return
        if not self.is_at(self.path):
            raise MetaRLError(f"{self.path} is there and is no run folder; choose another --name.")
        if not overwrite:
            raise MetaRLError(
                f"{self.path} is there already; continue it with --resume, replace it with --overwrite, or choose "
                "another --name."
            )
        shutil.rmtree(self.path)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise unless there is a seed, and each is there once."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise MetaRLError(f"seeds={list(seeds)}: give at least one seed, each once.")
