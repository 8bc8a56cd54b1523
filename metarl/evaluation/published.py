"""Published results as runs: their weights can be scored, compared and shown as those of one's own run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from metarl.algorithm.registry import agent_class
from metarl.core.checkpoint import config_from
from metarl.core.errors import MetaRLError
from metarl.core.plugins import trusted_config
from metarl.evaluation.weights import about_published, is_published, weights_file
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.experiments.run_folder import RunFolder
from metarl.family import TaskFamily, make_family
from metarl.fewshot.learners.registry import learner_class
from metarl.fewshot.model import FewShot


class _Published(RunFolder):
    """A result's folder with weights, into which nothing is written."""

    about_file: ClassVar[str] = "summary.json"
    keeps_evaluations: ClassVar[bool] = False

    def checkpoint(self, seed: int) -> Path:
        return weights_file(self.path, seed)


@dataclass(frozen=True)
class PublishedRun(_Published, Run):
    """A published result of an agent, such as ``results/maml/PointNavigation-maml``."""

    called: ClassVar[str] = "published result"

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        family: str | None = None,
        agent: str | Sequence[str] = (),
        trust: str | Sequence[str] = (),
    ) -> Self:
        """Open the result in a folder; raises where it keeps no weights, or those of several makings.

        Args:
            path: the result's folder.
            family: ``module:id`` of a family that is not installed; no module is imported that is not named so.
            agent: ``module:Class`` of an agent that is not installed, or several of which the result has one.
            trust: each ``module:Class`` that the config may name.
        """
        summary, abouts = about_published(path)
        keys = ("agent", "family", "variant", "split")
        first = next(iter(abouts.values()))
        wrong = [
            key for key in keys if key not in first or any(each.get(key) != first[key] for each in abouts.values())
        ]
        if wrong or any("config" not in each for each in abouts.values()):
            names = ", ".join(wrong or ["config"])
            raise MetaRLError(f"The weights in {path} differ in {names}, or do not say it; restore them.")
        named = {"family": (family,), "agent": (agent,) if isinstance(agent, str) else tuple(agent)}
        for key, allowed in named.items():
            if ":" in str(first[key]) and first[key] not in allowed:  # importing what a file names would run code
                raise MetaRLError(
                    f"{path} is of {key} {first[key]}, which is not installed; allow it: --{key} {first[key]}."
                )
        # A setting that is newer than some of the weights has its default there.
        config_class = agent_class(first["agent"]).config_class
        config, *others = (config_from(config_class, each["config"]) for each in abouts.values())
        if any(other != config for other in others):
            raise MetaRLError(f"The weights in {path} differ in config; restore them.")
        named_family: str = first["family"]
        if family is not None and family.rpartition(":")[2] == named_family:  # of one's own its id alone is kept
            named_family = family
        return cls(
            path=path,
            agent=first["agent"],
            family_name=named_family,
            variant=first["variant"],
            config=trusted_config(config, path, trust),
            seeds=tuple(sorted(abouts)),
            command=summary["command"],
        )

    def family(self) -> TaskFamily:
        family = make_family(self.family_name, self.variant, self.engine)
        split = self.about_training(self.seeds[0])["split"]
        if split != family.splits.hash:
            raise MetaRLError(
                f"{self.path} was trained with split {split}, but {family.name} has {family.splits.hash} now: the "
                "family has changed. Go back to its version."
            )
        return family


@dataclass(frozen=True)
class PublishedFewShotRun(_Published, FewShotRun):
    """A published result of a few-shot learner, such as ``results/fewshot/prototypical/omniglot``."""

    called: ClassVar[str] = "published result of a few-shot learner"

    @classmethod
    def open(cls, path: Path, **_: Any) -> Self:
        """Open the result in a folder; raises where it keeps no weights, or those of several makings."""
        summary, abouts = about_published(path)
        saved = [each.get("fewshot", {}) for each in abouts.values()]
        if any("learner" not in each or each["config"] != saved[0]["config"] for each in saved):
            raise MetaRLError(f"The weights in {path} are not of one few-shot learner; restore them.")
        learner = saved[0]["learner"]
        return cls(
            path=path,
            learner=learner,
            config=config_from(learner_class(learner).config_class, saved[0]["config"]),
            dataset_name=summary["family"],
            seeds=tuple(sorted(abouts)),
            command=summary["command"],
        )

    def trained(self, seed: int, device: Any = "cpu") -> FewShot:
        return FewShot.load(self.trained_checkpoint(seed), device)


def is_run(path: str | Path) -> bool:
    """Return whether a folder is a run or a published result of an agent."""
    return Run.is_at(path) or is_published(Path(path))


def open_run(path: str | Path, **named: Any) -> Run:
    """Open the run or the published result in a folder; ``named`` is what ``Run.open`` takes beside the path."""
    path = Path(path)
    published = not Run.is_at(path) and is_published(path)
    return PublishedRun.open(path, **named) if published else Run.open(path, **named)


def open_fewshot_run(path: Path, **named: Any) -> FewShotRun:
    """Open the run or the published result in a folder; ``named`` is what ``FewShotRun.open`` takes beside the path."""
    published = not FewShotRun.is_at(path) and is_published(path)
    return PublishedFewShotRun.open(path) if published else FewShotRun.open(path, **named)
