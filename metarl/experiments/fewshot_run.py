"""Run folders of few-shot learners: one run of one or several seeds, resumed exactly.

runs/NAME/fewshot.json; of an evaluation NAME-FIGURE.json, .csv and pictures, such as evaluation-5w1s.json
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from metarl.core.checkpoint import check_owner, config_from
from metarl.core.errors import MetaRLError
from metarl.core.files import using
from metarl.core.plugins import BACKBONES, DATA, LEARNERS, trusted
from metarl.core.process import prepare_process
from metarl.experiments import signals
from metarl.experiments.logs import RunLogger
from metarl.experiments.run_folder import RunFolder, check_seeds, new_id
from metarl.experiments.training import Report, TrainingOptions
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.model import FewShot
from metarl.fewshot.registry import learner_class

_ROWS = 1000  # of a training's log, each the mean of the iterations since the last one


@dataclass(frozen=True)
class FewShotRun(RunFolder):
    """A run folder of a few-shot learner; ``learner`` and ``dataset_name`` are as they were given."""

    about_file: ClassVar[str] = "fewshot.json"
    called: ClassVar[str] = "run of a few-shot learner"
    trained_by: ClassVar[str] = "metarl fewshot train LEARNER"
    path: Path
    learner: str
    config: FewShotConfig
    dataset_name: str
    seeds: tuple[int, ...]
    command: str
    id: str = ""

    @classmethod
    def create(
        cls,
        path: Path,
        learner: str,
        config: FewShotConfig,
        dataset: str,
        seeds: Sequence[int],
        command: str = "",
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> "FewShotRun":
        """Make the folder, or with ``resume`` open the one that is there, which must be of the same making."""
        check_seeds(seeds)
        run = cls(path, learner, config, dataset, tuple(seeds), command, new_id())
        if resume and cls.is_at(path):
            saved = cls.open(path, learner=learner, data=dataset, backbone=config.backbone)
            run.check_same(saved, ("learner", "config", "dataset_name", "seeds"))
            return saved
        # Whatever is wrong with the data set or the learner shows here, before anything is written or removed.
        made = run.dataset()
        FewShot(learner, made, config).check(made.split("train"), config.episode)
        with run.in_making(overwrite):
            run._write_about({"learner": learner, "dataset": dataset})
        return run

    @classmethod
    def open(
        cls, path: Path, *, learner: str | None = None, data: str | None = None, backbone: str | None = None
    ) -> Self:
        """Return the run in a folder; raise where there is none, or what it says of itself is damaged.

        No module is imported that is neither installed, imported already, nor named by ``learner`` as ``module:Class``,
        ``data`` as ``module:Name`` or ``backbone`` as ``module:Class``.
        """

        def made_of(path: Path, about: dict[str, Any]) -> Any:
            file, named = path / cls.about_file, {LEARNERS: learner, DATA: data, BACKBONES: backbone}

            def name(group: str, saved: str) -> str:
                return trusted(group, saved, file, [own] if (own := named[group]) else [])

            if "learner" not in about:
                raise MetaRLError(f"{file} is of an older version of metarl; train anew.")
            config = about["config"]
            if config.get("backbone"):
                config = {**config, "backbone": name(BACKBONES, config["backbone"])}
            dataset = about["dataset"]
            dataset = dataset if dataset.startswith("folder:") else name(DATA, dataset)
            names = {"learner": name(LEARNERS, about["learner"]), "dataset": dataset}
            return cls._from_about(path, {**about, **names, "config": config})

        return cls._open(path, made_of)

    @classmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        config = config_from(learner_class(about["learner"]).config_class, about["config"])
        facts = (about["learner"], config, about["dataset"], tuple(about["seeds"]), about["command"])
        return cls(path, *facts, about["id"])

    @property
    def budget(self) -> int:
        return self.config.iterations

    def dataset(self) -> FewShotDataset:
        """Return the data set that its tasks come from."""
        return make_dataset(self.dataset_name)

    def new_model(self, seed: int, device: str | torch.device = "cpu") -> FewShot:
        """One seed's learner as it was before training."""
        model = FewShot(self.learner, self.dataset(), self.config, seed=seed, device=device)
        model.run_id = self.id
        return model

    def trained(self, seed: int, device: str | torch.device = "cpu") -> FewShot:
        """One seed's learner as its checkpoint has it."""
        path = self.trained_checkpoint(seed)
        model = FewShot.load(path, device, learner=self.learner, backbone=self.config.backbone)
        check_owner(path, (model.run_id, model.seed), (self.id, seed))
        if model.config != self.config:
            raise MetaRLError(f"{path} was trained with another config than {self.path} has; train anew.")
        return model

    def trained_amount(self, seed: int) -> int:
        return self.trained(seed).iteration

    def log_digest(self, seed: int) -> str:
        return self.trained(seed).log_digest


def train_seed(run: FewShotRun, seed: int, report: Report, how: TrainingOptions) -> None:
    """Train one seed to the config's number of iterations, from its checkpoint if there is one."""
    prepare_process(how.threads)
    dataset, checkpoint = run.dataset(), run.checkpoint(seed)
    model = (run.trained if checkpoint.exists() else run.new_model)(seed, how.device)
    signals.stop_if_asked()
    folder = run.seed_folder(seed)
    with using(folder):
        folder.mkdir(exist_ok=True)
    logger = RunLogger(folder, model.iteration, model.log_digest)
    apart = max(1, run.budget // _ROWS)
    rows: list[dict[str, float]] = []  # since the last one of the log
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        run.check_there()
        model.log_digest = logger.digest
        model.save(checkpoint)
        saved = time.monotonic()

    def after(model: FewShot, logged: dict[str, float]) -> None:
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
            if time.monotonic() - saved >= how.seconds or signals.asked() is not None:
                save()
                signals.stop_if_asked()

    try:
        begun = model.iteration
        model.fit(dataset, callback=after)
        # What was finished before stays as it is, and its evaluations newer than it.
        if model.iteration > begun or not checkpoint.exists():
            save()
    finally:
        logger.close()
