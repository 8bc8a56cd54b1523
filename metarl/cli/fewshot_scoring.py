"""What the commands that score few-shot runs share: the setting, and the data sets that it is of."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metarl.cli.base import MoreOfScoring, ScoreCommand, check_runs
from metarl.cli.options import More, Option

if TYPE_CHECKING:  # they import torch
    from metarl.evaluation.fewshot import FewShotEvaluation
    from metarl.experiments.fewshot_run import FewShotRun
    from metarl.fewshot.data.dataset import FewShotDataset, TaskSource
    from metarl.fewshot.data.episodes import EpisodeSpec


@dataclass(frozen=True, kw_only=True)
class _MoreOfScoring(MoreOfScoring):
    """These options are seldom needed."""

    learner: More[str | None] = None
    """module:Class of your own learner, where the run trained one: no module is imported that is not named"""
    backbone: More[str | None] = None
    """module:Class of your own backbone, likewise"""
    encoder: More[str | None] = None
    """module:Name of your own encoder, likewise"""


@dataclass(frozen=True, kw_only=True)
class FewShotScoring(ScoreCommand):
    """The setting that learners are scored in."""

    more: _MoreOfScoring = field(default_factory=_MoreOfScoring)
    data: Option[tuple[str, ...]] = ()
    """data sets to score on, of the same modality; the run's own unless given; module:Name of your own has to be"""
    way: Option[int | None] = None
    """classes of an episode; 5 unless given, of tasks with labels of their own all"""
    shot: Option[int | None] = None
    """labelled samples of each; 1 unless given, of functions 10"""
    support: Option[int | None] = None
    """of tasks with labels of their own: labelled samples, however many of each class; 16 unless a shot is given"""
    queries: Option[int | None] = None
    """samples of each to predict; 15 unless given, of functions 100, of tasks with labels of their own 256 in all"""
    unlabelled: Option[int] = 0
    """further samples of each, with which learners that have prototypes refine them"""
    transductive: Option[bool] = False
    """refine prototypes with the queries themselves"""
    normalise_target: Option[bool] = False
    """give features the mean and scale of training, by samples of the scored split without labels, queries too"""
    episodes: Option[int] = 1000
    """scored episodes"""
    split: Option[str] = "test"
    """test or val"""
    measure: Option[Literal["accuracy", "roc-auc", "delta-auprc", "rmse", "ndcg@10"]] = "accuracy"
    """of classes, the areas of two such as active or not; of numbers rmse or ndcg@10, squared errors unless given"""

    def spec(self, source: "TaskSource") -> "EpisodeSpec":
        """Return the specification of the scored episodes of a split."""
        from metarl.fewshot.data.episodes import EpisodeSpec
        from metarl.fewshot.data.functions import Functions
        from metarl.fewshot.data.groups import Groups

        usual, support = (5, 1, 15), self.support
        if isinstance(source, Functions):
            usual = (1, 10, 100)  # Finn et al. score functions on 100 points
        elif isinstance(source, Groups):
            usual = (max(1, len(source.classes)), 1, 256)
            support = 16 if support is None and self.shot is None else support
        given = (self.way, self.shot, self.queries)
        way, shot, queries = (other if mine is None else mine for mine, other in zip(given, usual, strict=True))
        spec = EpisodeSpec(way, shot, queries, self.unlabelled, support=support)
        # What was not asked for is made less where a small data set has not so much.
        return source.fitting(spec) if given == (None, None, None) and self.support is None else spec

    @staticmethod
    def check(*paths: Path) -> None:
        """Raise where a folder is no run."""
        check_runs(paths, "run of a few-shot learner", "fewshot.json", "metarl fewshot train LEARNER")

    def open(self, path: Path) -> "FewShotRun":
        """Open the run or the published result in a folder."""
        from metarl.evaluation.published import open_fewshot_run

        more = self.more
        return open_fewshot_run(
            path, learner=more.learner, data=self.data, backbone=more.backbone, encoder=more.encoder
        )

    def datasets(self, run: "FewShotRun") -> "list[FewShotDataset]":
        """Return the data sets that a run is scored on, its own unless others are named, with samples as it takes."""
        from metarl.fewshot.data.other import is_named, other_dataset

        own, found = run.dataset_name, []
        for name in self.data or (own,):
            if is_named(name, own):
                found.append(replace(run.dataset(), name=own))
            else:
                found.append(other_dataset(name, run.trained(run.seeds[0]).spec))
        return found

    def evaluation(self, run: "FewShotRun", dataset: "FewShotDataset") -> "FewShotEvaluation":
        """Return the evaluation of a run on a data set in this setting."""
        from metarl.evaluation.fewshot_saved import saved_or_new_evaluation

        spec, device = self.spec(dataset.split(self.split)), self.more.device
        return saved_or_new_evaluation(run, spec, self.episodes, self.split, device, dataset=dataset, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """Return how a run is scored on its episodes, as ``saved_or_new_evaluation`` takes it."""
        how = {"transductive": self.transductive, "normalise": self.normalise_target}
        return {**how, "measure": self.measure, "quiet": self.quiet}
