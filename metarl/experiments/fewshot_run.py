"""The run folders of few-shot learners.

runs/NAME/fewshot.json; of an evaluation NAME-FIGURE.json, .csv and pictures, such as evaluation-5w1s.json
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from metarl.core.checkpoint import check_owner, config_from
from metarl.core.errors import MetaRLError
from metarl.experiments.logs import RunLogger
from metarl.experiments.options import Report
from metarl.experiments.run_folder import RunFolder, check_seeds, new_id
from metarl.experiments.saving import CheckpointSaver
from metarl.fewshot.config import FewShotConfig, used
from metarl.fewshot.data.dataset import FewShotDataset, make_dataset
from metarl.fewshot.model import FewShot

_ROWS = 1000  # of a training's log, each the mean of the iterations since the last one


@dataclass(frozen=True)
class FewShotRun(RunFolder):
    """A run folder of a few-shot learner; ``dataset_name`` is as it was given.

    ``config`` has the defaults in what the learner does not look at: where those change, a run goes on all the same.
    """

    about_file: ClassVar[str] = "fewshot.json"
    called: ClassVar[str] = "run of a few-shot learner"
    trained_by: ClassVar[str] = "metarl fewshot train LEARNER"
    path: Path
    config: FewShotConfig
    dataset_name: str
    seeds: tuple[int, ...]
    command: str
    id: str = ""

    @classmethod
    def create(
        cls,
        path: Path,
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
        run = cls(path, used(config), dataset, tuple(seeds), command, new_id())
        if resume and cls.is_at(path):
            saved = cls.open(path)
            run.check_same(saved, ("config", "dataset_name", "seeds"))
            return saved
        # Whatever is wrong with the data set or the learner shows here, before anything is written or removed.
        made = run.dataset()
        FewShot(config, made).check(made.part("train"), config.episode)
        with run.in_making(overwrite):
            run._write_about({"dataset": dataset})
        return run

    @classmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        config = used(config_from(FewShotConfig, about["config"]))
        return cls(path, config, about["dataset"], tuple(about["seeds"]), about["command"], about["id"])

    @property
    def budget(self) -> int:
        return self.config.iterations

    def dataset(self) -> FewShotDataset:
        """Make the data set that its tasks come from."""
        return make_dataset(self.dataset_name)

    def new_model(self, seed: int, device: str = "cpu") -> FewShot:
        """Make one seed's learner as it was before training."""
        model = FewShot(self.config, self.dataset(), seed=seed, device=device)
        model.run_id = self.id
        return model

    def trained(self, seed: int, device: str = "cpu") -> FewShot:
        """Load one seed's learner from its checkpoint."""
        path = self.trained_checkpoint(seed)
        model = FewShot.load(path, device)
        check_owner(path, (model.run_id, model.seed), (self.id, seed))
        if used(model.config) != self.config:
            raise MetaRLError(f"{path} was trained with another config than {self.path} has; train anew.")
        return model

    def trained_amount(self, seed: int) -> int:
        return self.trained(seed).iteration

    def log_digest(self, seed: int) -> str:
        return self.trained(seed).log_digest

    def _amount(self, model: FewShot) -> int:
        return model.iteration

    def _train(self, model: FewShot, logger: RunLogger, saver: CheckpointSaver, report: Report) -> None:
        apart = max(1, self.budget // _ROWS)
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
