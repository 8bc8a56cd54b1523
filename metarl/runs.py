"""Run folders: one run of one or several seeds, with all that resuming and evaluating it need.

runs/NAME/run.json, splits.json; of an evaluation evaluation-SPLIT.json and .csv, curve-SPLIT.png, where there are paths
  overview-SPLIT.png, and where the agent has a belief beliefs-SPLIT.npz, probe-SPLIT.csv, belief-SPLIT.png (and where
  that is a Gaussian, posterior-SPLIT.png)
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from metarl import __version__
from metarl.agent_registry import agent_class
from metarl.algorithm import Algorithm
from metarl.checkpoint import config_from, load_checkpoint
from metarl.errors import MetaRLError
from metarl.family import TaskFamily, make_family
from metarl.files import write_atomic
from metarl.tasks import Split

_ABOUT, _SPLITS, _CHECKPOINT = "run.json", "splits.json", "checkpoint.safetensors"


class RunFolder:
    """What the run folders of agents and of few-shot learners have in common."""

    path: Path
    seeds: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in a folder; raises where there is none."""
        raise NotImplementedError

    @property
    def budget(self) -> int:
        """Steps or iterations of a seed's training."""
        raise NotImplementedError

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


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise unless there is a seed, and each is there once."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise MetaRLError(f"seeds={list(seeds)}: give at least one seed, each once.")


def make_room(path: Path, about: str, overwrite: bool, unfinished: tuple[str, ...] = ()) -> None:
    """See that a new run can take a folder, whose file ``about`` makes it one.

    Files that begin as those ``unfinished`` are what a kill left behind while a folder was made, which is no run.
    """
    if not path.exists() or all(file.name.startswith((*unfinished, f".{about}")) for file in path.iterdir()):
        return
    if not (path / about).exists():
        raise MetaRLError(f"{path} is there and is no run folder; choose another --name.")
    if not overwrite:
        raise MetaRLError(
            f"{path} is there already; continue it with --resume, replace it with --overwrite, or choose another "
            "--name."
        )
    shutil.rmtree(path)


@dataclass(frozen=True)
class Run(RunFolder):
    """A run folder. ``agent`` and ``family`` are as they were given, so ``module:id`` is found again."""

    path: Path
    agent: str
    family_name: str
    variant: str
    config: Any
    seeds: tuple[int, ...]
    command: str

    @classmethod
    def create(
        cls,
        path: Path,
        agent: str,
        family: str,
        variant: str | None,
        config: Any,
        seeds: Sequence[int],
        command: str = "",
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> "Run":
        """Make the folder, or with ``resume`` open the one that is there, which must be of the same making.

        A run that was killed before its folder was made begins anew, so that a job may always say ``--resume``.
        """
        made = make_family(family, variant)
        check_seeds(seeds)
        run = cls(path, agent, family, made.variant, config, tuple(seeds), command)
        if resume and (path / _ABOUT).exists():
            return run._same_as(cls.open(path))
        # Whatever is wrong with the family, its split or the agent shows here, before anything is written or removed.
        agent_class(agent)(made, config)
        split = made.splits
        # A kill between the two writes below leaves no more than the first behind.
        make_room(path, _ABOUT, overwrite, unfinished=(_SPLITS, f".{_SPLITS}"))
        split.save(path / _SPLITS)
        about = {
            "agent": agent,
            "family": family,
            "variant": made.variant,
            "seeds": list(seeds),
            "config": asdict(config),
            "split": split.hash,
            "command": command,
            "version": __version__,
        }
        # Last: a folder is a run once it says so.
        write_atomic(path / _ABOUT, json.dumps(about, indent=2))
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """The run in a folder; raises where there is none."""
        if not (path / _ABOUT).is_file():
            raise MetaRLError(f"{path} is no run folder: it has no {_ABOUT}; train first: metarl train AGENT FAMILY.")
        try:
            about = json.loads((path / _ABOUT).read_text())
            config = config_from(agent_class(about["agent"]).config_class, about["config"])
            return cls(
                path, about["agent"], about["family"], about["variant"], config, tuple(about["seeds"]), about["command"]
            )
        except MetaRLError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{path / _ABOUT} is damaged ({error!r}); restore it or train anew.") from error

    def _same_as(self, saved: "Run") -> "Run":
        if make_family(self.family_name, self.variant).id != saved.family().id:
            raise MetaRLError(
                f"{self.path} holds family {saved.family_name}, not {self.family_name}; choose another --name."
            )
        self.check_same(saved, ("agent", "variant", "config", "seeds"))
        return saved

    @property
    def budget(self) -> int:
        return int(self.config.total_timesteps)

    @property
    def label(self) -> str:
        """How results call the agent of this run."""
        return agent_class(self.agent).label(self.config)

    def family(self) -> TaskFamily:
        """The family; raises where its split is no longer the one that the run was trained with."""
        family = make_family(self.family_name, self.variant)
        saved = Split.load(self.path / _SPLITS, family.tasks)
        if saved.hash != family.splits.hash:
            raise MetaRLError(
                f"{self.path} was trained with split {saved.hash}, but {family.name} has {family.splits.hash} now: the "
                "family has changed. Train anew, or go back to its version."
            )
        return family

    def new_agent(self, seed: int, device: str | torch.device = "cpu") -> Algorithm:
        """One seed's agent as it was before training."""
        return agent_class(self.agent)(self.family(), self.config, seed=seed, device=device)

    def trained(self, seed: int, device: str | torch.device = "cpu") -> Algorithm:
        """One seed's agent as its checkpoint has it."""
        return self.new_agent(seed, device).restore(self.trained_checkpoint(seed))

    def about_training(self, seed: int) -> dict[str, Any]:
        """What the seed's checkpoint says of itself."""
        return load_checkpoint(self.checkpoint(seed))[1]


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether there is a run folder."""
    return (Path(path) / _ABOUT).is_file()
