"""Published results of few-shot learners as runs, which can be scored and compared as one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from metarl.core.checkpoint import config_from
from metarl.core.errors import MetaRLError
from metarl.evaluate.weights import about_published, is_published, weights_file
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.model import FewShot
from metarl.fewshot.registry import learner_class


@dataclass(frozen=True)
class PublishedFewShotRun(FewShotRun):
    """A result's folder with weights, such as ``results/fewshot/prototypical/omniglot``. Nothing is written into it."""

    about_file: ClassVar[str] = "summary.json"
    keeps_evaluations: ClassVar[bool] = False
    called: ClassVar[str] = "published result of a few-shot learner"

    @classmethod
    def open(cls, path: Path, **_: str | None) -> Self:
        """Return the result in a folder; raise where it keeps no weights, or those of several makings."""
        summary, abouts = about_published(path)
        saved = [each.get("fewshot", {}) for each in abouts.values()]
        if any("learner" not in each or each["config"] != saved[0]["config"] for each in saved):
            raise MetaRLError(f"The weights in {path} are not of one few-shot learner; restore them.")
        return cls(
            path=path,
            learner=saved[0]["learner"],
            config=config_from(learner_class(saved[0]["learner"]).config_class, saved[0]["config"]),
            dataset_name=summary["family"],
            seeds=tuple(sorted(abouts)),
            command=summary["command"],
        )

    def checkpoint(self, seed: int) -> Path:
        return weights_file(self.path, seed)

    def trained(self, seed: int, device: Any = "cpu") -> FewShot:
        return FewShot.load(self.trained_checkpoint(seed), device)


def open_fewshot_run(
    path: Path, learner: str | None = None, data: str | None = None, backbone: str | None = None
) -> FewShotRun:
    """Return the run or the published result in a folder; what is one's own has to be named."""
    if not FewShotRun.is_at(path) and is_published(path):
        return PublishedFewShotRun.open(path)
    return FewShotRun.open(path, learner=learner, data=data, backbone=backbone)
