"""The commands ``metarl fewshot train | evaluate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from metarl.cli.base import (
    MoreOfScoring,
    ScoreCommand,
    TrainCommand,
    check_runs,
    results_folder,
    save_comparison,
    show,
    show_saved,
)
from metarl.cli.options import More, Option, RunPath

if TYPE_CHECKING:  # they import torch
    from metarl.evaluation.fewshot import FewShotEvaluation
    from metarl.experiments.fewshot_run import FewShotRun
    from metarl.fewshot.data.dataset import TaskSource
    from metarl.fewshot.data.episodes import EpisodeSpec
    from metarl.fewshot.data.names import DataName


@dataclass(frozen=True, kw_only=True)
class _OwnData:
    """How a file of your own is read."""

    text: More[str] = ""
    """column of sentences"""
    smiles: More[str] = ""
    """column of molecules; without it and --text the other columns are numbers and categories"""
    label: More[str] = ""
    """column of labels; several, with commas between, are a task each"""
    task: More[str] = ""
    """column that says of which task a row is, where each task has labels of its own"""
    columns: More[str] = ""
    """columns to go by, with commas between; all others unless given"""
    split: More[str] = ""
    """column that says train, val or test; by chance unless given"""
    encoder: More[str] = ""
    """turns items into vectors: minilm, wordllama, ngrams, st:NAME, morgan, ..., or module:Name"""
    size: More[int | None] = None
    """pixels of a picture's side; as they are unless given"""
    grey: More[bool] = False
    """drop the colour of pictures"""


@dataclass(frozen=True, kw_only=True)
class FewShotTrain(TrainCommand):
    """Train a few-shot learner on a data set of tasks.

    One minute for a first look: metarl fewshot train prototypical --iterations 250
    """

    file_fields: ClassVar[dict[str, str | None]] = {"learner": None, "dataset": "--data"}
    learner: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="LEARNER")]
    """prototypical, maml, ..., or module:Class of your own; an unknown one is answered with the list"""
    data: Option[str] = "strokes"
    """strokes, which needs no file, clinc150-01, ..., your own .csv, .parquet, .npz or folder, or module:Name"""
    iterations: Option[int | None] = None
    """iterations of training, in place of the preset's; a run that is resumed goes on to so many"""
    own: _OwnData = field(default_factory=_OwnData)

    @classmethod
    def default_config(cls, name: str, preset: str) -> Any:
        from metarl.fewshot.learners.registry import preset_config

        return preset_config(name, preset)

    @classmethod
    def presets(cls, name: str) -> list[str]:
        from metarl.fewshot.learners.registry import learner_presets_lines

        return learner_presets_lines(name)

    def data_name(self) -> "DataName":
        """Return the data set's name with the options that say how a file is read."""
        from metarl.fewshot.data.names import OPTIONS, DataName

        named = DataName.parsed(self.data)
        given = {each: str(value) for each in OPTIONS if (value := getattr(self.own, each)) not in ("", None, False)}
        return DataName(named.place, {**named.options, **given, **({"grey": "true"} if self.own.grey else {})})

    def run(self, command: str) -> None:
        self.train_together(command, "Score it on unseen tasks: metarl fewshot evaluate")

    def make(self, command: str, *, resume: bool, overwrite: bool, blocks: int | None) -> "FewShotRun":
        from metarl.experiments.fewshot_run import FewShotRun

        named = self.data_name()
        data = named.place.rstrip("/").rpartition("/")[2].replace(":", "-")
        encoder = named.options.get("encoder", "").rpartition("/")[2].replace(":", "-")
        made_of = (self.learner, self.config, str(named), self.seed)  # type: ignore[attr-defined]  # added by main
        path = self.run_path(self.learner.rpartition(":")[2], data, encoder)
        return FewShotRun.create(
            path, *made_of, command, resume=resume, overwrite=overwrite, length=self.iterations, blocks=blocks
        )


@dataclass(frozen=True, kw_only=True)
class _MoreOfScoring(MoreOfScoring):
    """These options are seldom needed."""

    learner: More[str | None] = None
    """module:Class of your own learner, where the run trained one: no module is imported that is not named"""
    data: More[str | None] = None
    """module:Name of your own data set, likewise"""
    backbone: More[str | None] = None
    """module:Class of your own backbone, likewise"""
    encoder: More[str | None] = None
    """module:Name of your own encoder, likewise"""


@dataclass(frozen=True, kw_only=True)
class FewShotScoring(ScoreCommand):
    """The setting that learners are scored in."""

    more: _MoreOfScoring = field(default_factory=_MoreOfScoring)
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
    episodes: Option[int] = 1000
    """scored episodes"""
    split: Option[str] = "test"
    """test or val"""
    measure: Option[Literal["accuracy", "roc-auc", "delta-auprc"]] = "accuracy"
    """of classes; the areas are of two, such as active or not"""

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
            path, learner=more.learner, data=more.data, backbone=more.backbone, encoder=more.encoder
        )

    def evaluation(self, run: "FewShotRun") -> "FewShotEvaluation":
        """Return the evaluation of a run in this setting."""
        from metarl.evaluation.fewshot import saved_or_new_evaluation

        spec = self.spec(run.dataset().split(self.split))
        return saved_or_new_evaluation(
            run,
            spec,
            self.episodes,
            self.split,
            self.more.device,
            transductive=self.transductive,
            measure=self.measure,
            quiet=self.quiet,
        )


@dataclass(frozen=True, kw_only=True)
class FewShotEvaluate(FewShotScoring):
    """Adapt to tasks of unseen classes and score it."""

    path: RunPath
    """a run folder, or that of a published result with weights"""
    output: Option[Path | None] = None
    """folder for the files; the run folder unless given, and none of a published result's"""
    shots: Option[tuple[int, ...]] = ()
    """numbers of labelled samples to score it at, such as 1 2 5 10: a curve of how much labelling is worth"""

    def run(self, command: str) -> None:
        self.check(self.path)
        if self.shots:
            self._by_shots()
            return
        from metarl.core.process import prepare_process
        from metarl.evaluation.fewshot import evaluation_file
        from metarl.evaluation.tables import fewshot_rows, fewshot_table
        from metarl.plotting.fewshot.run_figures import fewshot_figures
        from metarl.plotting.style import save_figure

        prepare_process(self.more.threads)
        run = self.open(self.path)
        made = self.evaluation(run)
        files = []
        if (folder := results_folder(run, self.output)) is not None:
            file = evaluation_file(folder, made.spec, made.split, made.transductive, made.measure)
            if folder != run.path:  # where it lies already
                made.save(file)
            files = [file, file.with_suffix(".csv")]
            for name, figure in fewshot_figures(run, made, self.more.device).items():
                files.append(file.with_name(f"{file.stem}-{name}.png"))
                save_figure(figure, files[-1])
        show(self.more.json, fewshot_rows([made]), fewshot_table([made]))
        show_saved(files, as_json=self.more.json)

    def _by_shots(self) -> None:
        """Score the run at each number of samples, and draw the curve."""
        from metarl.core.process import prepare_process
        from metarl.evaluation.fewshot_trust import shots_curve
        from metarl.evaluation.rows import csv_of_rows
        from metarl.evaluation.tables import fewshot_rows, fewshot_table
        from metarl.plotting.fewshot.trust import shots_figure

        prepare_process(self.more.threads)
        run = self.open(self.path)
        spec = self.spec(run.dataset().split(self.split))
        made = shots_curve(
            run,
            spec,
            self.shots,
            self.episodes,
            self.split,
            self.more.device,
            measure=self.measure,
            quiet=self.quiet,
        )
        rows = [row for each in made for row in fewshot_rows([each])]
        show(self.more.json, rows, fewshot_table(made))
        if (folder := results_folder(run, self.output)) is not None:
            file = folder / f"shots-{self.split}-{spec.way}w.png"
            save_comparison(shots_figure(made), csv_of_rows(rows), file, as_json=self.more.json)
