"""The run folders of few-shot learners.

runs/NAME/fewshot.json; of an evaluation NAME-FIGURE.json, .csv and pictures, such as evaluation-5w1s.json
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from stable_baselines3.common.logger import Logger

from metarl.core.checkpoint import check_owner, config_from
from metarl.core.errors import MetaRLError
from metarl.core.plugins import BACKBONES, DATA, FEATURES, LEARNERS, trusted
from metarl.core.schedule import config_differences
from metarl.experiments.extending import continued
from metarl.experiments.options import Report, TrainingOptions, check_seeds
from metarl.experiments.run_folder import RunFolder, new_id
from metarl.experiments.saving import CheckpointSaver
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import words_of
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.own.files import is_own
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.features.registry import is_own_encoder
from metarl.fewshot.learners.registry import learner_class
from metarl.fewshot.model import FewShot

_ROWS = 1000  # of a training's log, each the mean of the iterations since the last one


@dataclass(frozen=True)
class FewShotRun(RunFolder):
    """A run folder of a few-shot learner; ``learner`` and ``dataset_name`` are as they were given."""

    about_file: ClassVar[str] = "fewshot.json"
    called: ClassVar[str] = "run of a few-shot learner"
    trained_by: ClassVar[str] = "metarl fewshot train LEARNER"
    unit: ClassVar[str] = "iterations"
    path: Path
    learner: str
    config: FewShotConfig
    dataset_name: str
    seeds: tuple[int, ...]
    command: str
    id: str = ""
    blocks: int | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        learner: str,
        config: FewShotConfig,
        dataset: str,
        seeds: Sequence[int] | None = None,
        command: str = "",
        *,
        resume: bool = False,
        overwrite: bool = False,
        length: int | None = None,
        blocks: int | None = None,
    ) -> "FewShotRun":
        """Make the folder, or with ``resume`` open the one that is there, which must be of the same making.

        The arguments are those of ``Run.create``; ``length`` counts iterations.
        """
        check_seeds(chosen := (0,) if seeds is None else tuple(seeds))
        run = cls(path, learner, config, dataset, chosen, command, new_id(), blocks)
        if resume and cls.is_at(path):
            encoder = DataName.parsed(dataset).options.get("encoder")
            saved = cls.open(path, learner=learner, data=dataset, backbone=config.backbone, encoder=encoder)
            run.check_same(saved, ("learner", "dataset_name"))
            config = fitting_config(learner, config, saved.dataset())
            return continued(saved, config, () if seeds is None else seeds, length)
        if length is not None:
            config = replace(config, iterations=length)
        # Whatever is wrong with the data set or the learner shows here, before anything is written or removed.
        made = run.dataset()
        config = fitting_config(learner, config, made)
        run = replace(run, config=config)
        FewShot(learner, made, config).check(made.split("train"), config.episode)
        with run.in_making(overwrite):
            run.write_about({"learner": learner, "dataset": dataset})
        return run

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        learner: str | None = None,
        data: str | Sequence[str] | None = None,
        backbone: str | None = None,
        encoder: str | None = None,
    ) -> Self:
        """Return the run in a folder; raise where there is none, or what it says of itself is damaged.

        No module is imported that is neither installed, imported already, nor named by ``learner`` as ``module:Class``,
        ``data`` (one or several) or ``encoder`` as ``module:Name``, or ``backbone`` as ``module:Class``.
        """

        def made_of(path: Path, about: dict[str, Any]) -> Any:
            file = path / cls.about_file
            named: dict[str, str | Sequence[str] | None] = {
                LEARNERS: learner,
                DATA: data,
                BACKBONES: backbone,
                FEATURES: encoder,
            }

            def name(group: str, saved: str) -> str:
                given = named[group] or ()
                return trusted(group, saved, file, [given] if isinstance(given, str) else given)

            if "learner" not in about:
                raise MetaRLError(f"{file} is of an older version of metarl; train anew.")
            config = about["config"]
            if config.get("backbone"):
                config = {**config, "backbone": name(BACKBONES, config["backbone"])}
            dataset = DataName.parsed(about["dataset"])
            if not (dataset.place.startswith("folder:") or is_own(dataset)):
                dataset = DataName(name(DATA, dataset.place), dataset.options)
            if is_own_encoder(used := dataset.options.get("encoder", "")):
                dataset = DataName(dataset.place, {**dataset.options, "encoder": name(FEATURES, used)})
            names = {"learner": name(LEARNERS, about["learner"]), "dataset": str(dataset)}
            return cls._from_about(path, {**about, **names, "config": config})

        return cls._open(path, made_of)

    @classmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        config = config_from(learner_class(about["learner"]).config_class, about["config"])
        facts = (about["learner"], config, about["dataset"], tuple(about["seeds"]), about["command"])
        return cls(path, *facts, about["id"], about.get("blocks"))

    @property
    def budget(self) -> int:
        return self.config.iterations

    def dataset(self) -> FewShotDataset:
        """Make the data set that its tasks come from."""
        return make_dataset(self.dataset_name)

    def new_model(self, seed: int, device: str = "cpu") -> FewShot:
        """Make one seed's learner as it was before training."""
        model = FewShot(self.learner, self.dataset(), self.config, seed=seed, device=device)
        model.run_id = self.id
        return model

    def trained(self, seed: int, device: str = "cpu") -> FewShot:
        """Load one seed's learner from its checkpoint."""
        path = self.trained_checkpoint(seed)
        model = FewShot.load(path, device, learner=self.learner, backbone=self.config.backbone)
        check_owner(path, (model.run_id, model.seed), (self.id, seed))
        if config_differences(asdict(model.config), asdict(self.config)) is not None:
            raise MetaRLError(f"{path} was trained with another config than {self.path} has; train anew.")
        model.config = self.config  # which may be of a longer training
        return model

    def trained_amount(self, seed: int) -> int:
        return self.trained(seed).iteration

    def log_digest(self, seed: int) -> str:
        return self.trained(seed).log_digest

    def _amount(self, model: FewShot) -> int:
        return model.iteration

    def _train(
        self, model: FewShot, logger: Logger, saver: CheckpointSaver, report: Report, options: TrainingOptions
    ) -> None:
        apart = max(1, (self.config.schedule_iterations or self.budget) // _ROWS)
        rows: list[dict[str, float]] = []  # since the last one of the log

        def after(model: FewShot, logged: dict[str, float]) -> None:
            rows.append(logged)
            # Also where training ends, or the last iterations would be missing.
            if model.iteration % apart == 0 or model.iteration == self.budget:
                means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
                rows.clear()
                words = " ".join(f"{name} {value:.3f}" for name, value in means.items() if name != "objective")
                report(model.seed, model.iteration, words)
                for name, value in means.items():
                    logger.record(f"train/{name}", value)
                logger.record("time/seconds", model.wall_seconds)
                logger.record("time/total_timesteps", model.iteration)
                logger.dump(step=model.iteration)
                # After a row of the log, so that a resumed run's rows are means of as many iterations.
                saver.save_if_due()

        begun = model.iteration
        model.fit(self.dataset(), callback=after)
        # What was finished before stays as it is, and its evaluations newer than it.
        if model.iteration > begun or not self.checkpoint(model.seed).exists():
            saver.save()


def fitting_config(learner: str, config: FewShotConfig, dataset: FewShotDataset) -> FewShotConfig:
    """Return a config whose episodes can be drawn, where it has those of a preset that ask for more than there is.

    Episodes that a user gave are left as they are, and refused where they cannot be drawn.
    """
    source = dataset.split("train")
    episode = source.fitting(config.episode)
    presets = learner_class(learner).presets.values()
    if episode == config.episode or all(config.episode != preset.episode for preset in presets):
        return config
    warnings.warn(
        f"{dataset.name} has no training episodes of {words_of(config.episode)}; those of {words_of(episode)} are "
        "taken. --config.episode.way and the like say otherwise.",
        stacklevel=3,
    )
    return replace(config, episode=episode)
