"""The command ``metarl fewshot predict``: from a file of few labelled samples and one of many to predictions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from metarl.cli.base import Command, MoreOfScoring, show, show_saved
from metarl.cli.options import More, Option
from metarl.core.errors import MetaRLError

if TYPE_CHECKING:  # they import torch
    from metarl.fewshot.data.dataset import TaskSource
    from metarl.fewshot.data.own.pair import Samples
    from metarl.fewshot.model import FewShot
    from metarl.fewshot.prediction import Predictions

NONE = "none of these"
_SHOWN = 10  # rows on the terminal
_WIDTHS = {"item": 30, "decided_by": 20}  # characters of a column at a terminal of 80; others have 16


@dataclass(frozen=True, kw_only=True)
class _MoreOfPredicting(MoreOfScoring):
    """These options are seldom needed."""

    learner: More[str | None] = None
    """module:Class of your own learner, where the run trained one"""
    data: More[str | None] = None
    """module:Name of your own data set, likewise"""
    backbone: More[str | None] = None
    """module:Class of your own backbone, likewise"""
    columns: More[str] = ""
    """columns to go by, with commas between; all others unless given"""


@dataclass(frozen=True, kw_only=True)
class FewShotPredict(Command):
    """Predict the labels of a file from a few labelled samples, by a run or a learner that needs no training.

    Without a run: metarl fewshot predict ridge --support few.csv --query many.csv --text sentence --label intent
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|LEARNER")]
    """a run folder, or without training ridge, feature-map, gp or logistic on frozen features"""
    support: Path
    """a .csv, .tsv or .parquet file of labelled samples, or a folder of pictures by class"""
    query: Path
    """a file or folder of those to predict"""
    output: Option[Path] = Path("predictions.csv")
    """CSV of the predictions"""
    text: Option[str] = ""
    """column of sentences; that of the run unless given"""
    smiles: Option[str] = ""
    """column of molecules; likewise, and without both the other columns are numbers and categories"""
    label: Option[str] = ""
    """column of labels in the support; that of the run unless given"""
    encoder: Option[str] = ""
    """turns items into vectors: minilm, wordllama, morgan-counts, timm:NAME, ...; a run has its own"""
    more: _MoreOfPredicting = field(default_factory=_MoreOfPredicting)

    def run(self, command: str) -> None:
        for path in (self.support, self.query):
            if not path.exists():
                raise MetaRLError(f"There is no file or folder {path}.")
        if not self.output.parent.is_dir():
            raise MetaRLError(f"There is no folder {self.output.parent} to write {self.output.name} to; make it.")
        from metarl.core.files import write_atomic
        from metarl.core.process import prepare_process
        from metarl.evaluation.rows import csv_of_rows, terminal_table
        from metarl.fewshot.prediction import predict

        prepare_process(self.more.threads)
        named = {each: getattr(self, each) for each in ("text", "smiles", "label")} | {"columns": self.more.columns}
        given = {each: value for each, value in named.items() if value}
        model, source, support, queries = (self._by_run if Path(self.model).is_dir() else self._untrained)(given)
        if model.spec.outputs is not None:
            rows, note = _numbers(model, support, queries), ""
        else:
            found = predict(model, support.values, support.labels, queries.values, source)
            rows = _classes(found, support, queries)
            note = f"Temperature {found.temperature:.3g}, and what is out of scope, learned on {found.learned_on}."
        write_atomic(self.output, csv_of_rows(rows))
        heads = [each for each in ("line", "item", "label", "probability", "std", "decided_by") if each in rows[0]]
        cells = [[_short(row[each], _WIDTHS.get(each, 16)) for each in heads] for row in rows[:_SHOWN]]
        show(self.more.json, rows, terminal_table(heads, cells, left=2, kept=len(heads)))
        if not self.more.json and note:
            print(note)
        show_saved([self.output], as_json=self.more.json)

    def _by_run(self, given: dict[str, str]) -> "tuple[FewShot, TaskSource | None, Samples, Samples]":
        """Return a run's first seed with its training tasks, and the samples as it takes them."""
        import warnings

        from metarl.evaluation.published import open_fewshot_run
        from metarl.fewshot.data.names import DataName
        from metarl.fewshot.data.own.pair import read_pair

        more = self.more
        run = open_fewshot_run(
            Path(self.model),
            learner=more.learner,
            data=more.data,
            backbone=more.backbone,
            encoder=self.encoder or None,
        )
        model = run.trained(run.seeds[0], more.device)
        options = {**DataName.parsed(run.dataset_name).options, **given}
        support, queries, _ = read_pair(
            self.support, self.query, options, model.spec.shape, model.spec.encoder, model.spec.fitted
        )
        try:
            source: TaskSource | None = run.dataset().split("train")
        except MetaRLError as error:
            source = None
            warnings.warn(f"The training tasks are not there, so the support has to calibrate: {error}", stacklevel=2)
        return model, source, support, queries

    def _untrained(self, given: dict[str, str]) -> "tuple[FewShot, TaskSource | None, Samples, Samples]":
        """Return a learner that needs no training, and the samples by frozen features."""
        from metarl.fewshot.data.dataset import DataSpec
        from metarl.fewshot.data.own.pair import read_pair
        from metarl.fewshot.learners.registry import learner_class, learner_names
        from metarl.fewshot.untrained import untrained

        if "/" in self.model or (self.model not in learner_names() and ":" not in self.model):
            raise MetaRLError(
                f"{self.model} is neither a run folder nor a learner; name one of them, such as ridge or feature-map."
            )
        numbers = None if learner_class(self.model).of_classes else 1
        untrained(self.model, DataSpec((2,), 2, numbers))  # raises before files are encoded
        support, queries, encoder = read_pair(self.support, self.query, given, None, self.encoder, "")
        spec = DataSpec(support.values.shape[1:], len(set(support.labels)), numbers, encoder)
        return untrained(self.model, spec), None, support, queries


def _classes(found: "Predictions", support: "Samples", queries: "Samples") -> list[dict[str, Any]]:
    """Return a row for each query."""
    rows = []
    for i, (line, word) in enumerate(zip(queries.lines, queries.words, strict=True)):
        best = int(found.probable[i].argmax())
        decided = [j for j in found.decided[i].tolist() if j >= 0]
        rows.append(
            {
                "line": line,
                "item": word,
                "label": found.classes[best] if found.known[i] else NONE,
                "probability": float(found.probable[i, best]),
                "likeliest": found.classes[best],
                "decided_by": " | ".join(support.words[j] for j in decided),
                "decided_lines": " ".join(str(support.lines[j]) for j in decided),
                **{f"p({name})": float(p) for name, p in zip(found.classes, found.probable[i], strict=True)},
            }
        )
    return rows


def _numbers(model: "FewShot", support: "Samples", queries: "Samples") -> list[dict[str, Any]]:
    """Return a row for each query of a learner of numbers, with its standard deviation where the learner states one."""
    from metarl.fewshot.adapted import Regressor
    from metarl.fewshot.estimators import adapted_as

    try:
        values = [float(each) for each in support.labels]
    except ValueError as error:
        raise MetaRLError(f"{support.file}: a label is no number ({error}); this learner predicts numbers.") from None
    adapted = adapted_as(model, support.values, values, Regressor)
    predicted = adapted.predict(queries.values)[:, 0]
    try:
        spread = adapted.predict_std(queries.values)[:, 0]
    except MetaRLError:  # it states none
        spread = None
    return [
        {"line": line, "item": word, "label": float(predicted[i]), "std": None if spread is None else float(spread[i])}
        for i, (line, word) in enumerate(zip(queries.lines, queries.words, strict=True))
    ]


def _short(value: Any, width: int) -> str:
    """Return a cell for the terminal, of at most so many characters."""
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"
