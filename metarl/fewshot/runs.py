"""Run folders of few-shot learners: one run of one or several seeds, resumed exactly.

runs/NAME/fewshot.json; of an evaluation NAME-FIGURE.json, .csv and pictures, such as evaluation-5w1s.json
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from metarl import __version__
from metarl.checkpoint import config_from
from metarl.errors import MetaRLError
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.model import FewShot
from metarl.fewshot.sources import Source, make_source
from metarl.files import write_atomic
from metarl.logs import run_logger
from metarl.options import SECONDS_BETWEEN_CHECKPOINTS
from metarl.process import prepare_process
from metarl.runs import RunFolder, check_seeds, make_room
from metarl.training import Report

ABOUT = "fewshot.json"
_ROWS = 1000  # of a training's log, each the mean of the iterations since the last one


@dataclass(frozen=True)
class FewShotRun(RunFolder):
    """A run folder of a few-shot learner; ``source_name`` is as it was given."""

    path: Path
    config: FewShotConfig
    source_name: str
    seeds: tuple[int, ...]
    command: str

    @classmethod
    def create(
        cls,
        path: Path,
        config: FewShotConfig,
        source: str,
        seeds: Sequence[int],
        command: str = "",
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> "FewShotRun":
        """Make the folder, or with ``resume`` open the one that is there, which must be of the same making."""
        check_seeds(seeds)
        run = cls(path, config, source, tuple(seeds), command)
        if resume and (path / ABOUT).exists():
            saved = cls.open(path)
            run.check_same(saved, ("config", "source_name", "seeds"))
            return saved
        # Whatever is wrong with the source or the learner shows here, before anything is written or removed.
        made = run.source()
        FewShot(config, made).check(made.part("train"), config.episode)
        make_room(path, ABOUT, overwrite)
        about = {
            "config": asdict(config),
            "source": source,
            "seeds": list(seeds),
            "command": command,
            "version": __version__,
        }
        write_atomic(path / ABOUT, json.dumps(about, indent=2))
        return run

    @classmethod
    def open(cls, path: Path) -> "FewShotRun":
        """The run in a folder; raises where there is none."""
        if not (path / ABOUT).is_file():
            raise MetaRLError(f"{path} is no run of a few-shot learner: it has no {ABOUT}; train one: metarl fewshot "
                              "train LEARNER.")  # fmt: skip
        try:
            about = json.loads((path / ABOUT).read_text())
            config = config_from(FewShotConfig, about["config"])
            return cls(path, config, about["source"], tuple(about["seeds"]), about["command"])
        except MetaRLError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MetaRLError(f"{path / ABOUT} is damaged ({error!r}); restore it or train anew.") from error

    @property
    def budget(self) -> int:
        return self.config.iterations

    def source(self) -> Source:
        """Where its tasks come from."""
        return make_source(self.source_name)

    def trained(self, seed: int, device: str | torch.device = "cpu") -> FewShot:
        """One seed's learner as its checkpoint has it."""
        return FewShot.load(self.trained_checkpoint(seed), device)


def is_fewshot(path: Path) -> bool:
    """Whether a folder is the run of a few-shot learner."""
    return (path / ABOUT).is_file()


def train_seed(
    run: FewShotRun,
    seed: int,
    report: Report,
    device: str = "cpu",
    threads: int = 1,
    seconds: float = SECONDS_BETWEEN_CHECKPOINTS,
    compile: bool = False,  # noqa: ARG001 - as of agents, whose rollouts it is about
) -> None:
    """Train one seed to the config's number of iterations, from its checkpoint if there is one."""
    prepare_process(threads)
    source, checkpoint = run.source(), run.checkpoint(seed)
    if checkpoint.exists():
        model = FewShot.load(checkpoint, device)
    else:
        model = FewShot(run.config, source, seed=seed, device=device)
    run.seed_folder(seed).mkdir(parents=True, exist_ok=True)
    logger = run_logger(run.seed_folder(seed), model.iteration)
    apart = max(1, run.budget // _ROWS)
    rows: list[dict[str, float]] = []  # since the last one of the log
    saved = time.monotonic()

    def after(model: FewShot, logged: dict[str, float]) -> None:
        nonlocal saved
        rows.append(logged)
        # Also where training ends, or the last iterations would be missing.
        if model.iteration % apart == 0 or model.iteration == run.budget:
            means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
            rows.clear()
            report(seed, model.iteration, " ".join(f"{k} {v:.3f}" for k, v in means.items() if k != "objective"))
            for name, value in means.items():
                logger.record(f"train/{name}", value)
            logger.record("time/seconds", model.wall_seconds)
            logger.record("time/total_timesteps", model.iteration)
            logger.dump(step=model.iteration)
            # After a row of the log, so that a resumed run's rows are means of as many iterations.
            if time.monotonic() - saved >= seconds:
                model.save(checkpoint)
                saved = time.monotonic()

    try:
        model.fit(source, callback=after)
        model.save(checkpoint)
    finally:
        logger.close()
