"""The commands ``metarl fewshot train | evaluate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from metarl.cli.base import TrainCommand, results_folder, save_comparison, show, show_saved
from metarl.cli.fewshot_scoring import FewShotScoring
from metarl.cli.options import More, Option, RunPath

if TYPE_CHECKING:  # they import torch
    from metarl.evaluation.fewshot import FewShotEvaluation
    from metarl.experiments.fewshot_run import FewShotRun
    from metarl.fewshot.data.dataset import FewShotDataset
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
        self.train_together(command, "Score it on unseen tasks: metarl fewshot evaluate RUN")

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
        from metarl.core.process import prepare_process
        from metarl.evaluation.tables import fewshot_rows, fewshot_table

        prepare_process(self.more.threads)
        run = self.open(self.path)
        datasets, rows, files = self.datasets(run), list[Any](), list[Path]()
        for dataset in datasets:
            made, saved = (self._by_shots if self.shots else self._scored)(run, dataset)
            rows += [row for each in made for row in fewshot_rows([each])]
            files += saved
            if not self.more.json:
                show(False, None, fewshot_table(made))
        if self.more.json:
            show(True, rows, None)
        show_saved(files, as_json=self.more.json)

    def _scored(self, run: "FewShotRun", dataset: "FewShotDataset") -> "tuple[list[FewShotEvaluation], list[Path]]":
        """Score the run on a data set; return the evaluation and the files written."""
        from metarl.evaluation.fewshot_saved import evaluation_file
        from metarl.plotting.fewshot.run_figures import fewshot_figures
        from metarl.plotting.style import save_figure

        made = self.evaluation(run, dataset)
        if (folder := results_folder(run, self.output)) is None:
            return [made], []
        file = evaluation_file(
            folder,
            made.spec,
            made.split,
            made.transductive,
            made.measure,
            other=made.other,
            normalised=made.normalised,
        )
        if folder != run.path:  # where it lies already
            made.save(file)
        files = [file, file.with_suffix(".csv")]
        for name, figure in fewshot_figures(run, made, self.more.device, dataset).items():
            files.append(file.with_name(f"{file.stem}-{name}.png"))
            save_figure(figure, files[-1])
        return [made], files

    def _by_shots(self, run: "FewShotRun", dataset: "FewShotDataset") -> "tuple[list[FewShotEvaluation], list[Path]]":
        """Score the run at each number of samples and draw the curve; return the evaluations and the files written."""
        from metarl.evaluation.fewshot_saved import in_names
        from metarl.evaluation.fewshot_trust import shots_curve
        from metarl.evaluation.rows import csv_of_rows
        from metarl.evaluation.tables import fewshot_rows
        from metarl.plotting.fewshot.trust import shots_figure

        spec, setting = self.spec(dataset.split(self.split)), (self.shots, self.episodes, self.split, self.more.device)
        made = shots_curve(run, spec, *setting, dataset=dataset, **self.options)
        if (folder := results_folder(run, self.output)) is None:
            return made, []
        file = folder / f"shots-{self.split}-{spec.way}w{in_names(made[0].other)}.png"
        table = csv_of_rows([row for each in made for row in fewshot_rows([each])])
        return made, save_comparison(shots_figure(made), table, file)
