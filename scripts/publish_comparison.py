"""Score learners on the same episodes, and write the comparison into ``results/``; then ``make results``.

``python scripts/publish_comparison.py compare runs/A runs/B --baselines all --shot 1`` takes the options of
``metarl fewshot compare``, and ``... trust runs/A --way 10 --shot 5`` those of ``metarl fewshot trust``.
``... super-learner runs/A runs/B`` scores a super learner of each run's learner and the baselines.
"""

import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from matplotlib.figure import Figure

from metarl.cli.fewshot_compare import FewShotCompare
from metarl.cli.fewshot_trust import FewShotTrust
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.process import prepare_process
from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_super_learner import TaskStream, rows_of, stream_of
from metarl.evaluation.fewshot_trust import nearest_mean_of
from metarl.evaluation.published import open_fewshot_run
from metarl.evaluation.rows import Row, csv_of_rows
from metarl.evaluation.statistics import estimate
from metarl.evaluation.tables import fewshot_rows
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.names import DataName
from metarl.fewshot.learners.registry import label
from metarl.fewshot.measures import PERCENT
from metarl.plotting.charts import Ranked, ranking_figure
from metarl.plotting.fewshot.run_figures import ranking_of
from metarl.plotting.fewshot.trust import reliability_figure, words_of_measure
from metarl.version import __version__
from results.comparisons import ROW, write_comparison
from results.publishing import machine


@dataclass(frozen=True, kw_only=True)
class _Publishing:
    results: Path = Path("results")
    """the folder of results"""
    tuned_on: Literal["published recipe", "train", "val", "test"] = "val"
    """the split that the recipes were chosen by"""
    note: str = ""
    """what a reader must know beside the table"""
    headline: bool = False
    """show it in docs/few_shot.md too"""

    def write(
        self,
        runs: Mapping[str, FewShotRun],
        command: str,
        rows: Sequence[Mapping[str, Any]],
        picture: Figure,
        **about: Any,
    ) -> None:
        """Write a comparison; ``runs`` are the trained learners by their names in it."""
        content = {
            "lower_is_better": False,
            "tuned_on": self.tuned_on,
            "note": self.note,
            "headline": self.headline,
            "commands": [*(run.command for run in runs.values()), command],
            "configs": {name: asdict(run.config) for name, run in runs.items()},
            "machine": machine("cpu"),
            "version": __version__,
            **about,
        }
        none = dict.fromkeys(("difference", "difference_low", "difference_high"))
        kept = [{name: row[name] for name in ROW} for row in rows]
        content["rows"] = [row | (none if row["learner"] == content["against"] else {}) for row in kept]
        print(f"Wrote {write_comparison(self.results, content, picture)}")


@dataclass(frozen=True, kw_only=True)
class Compare(FewShotCompare, _Publishing):
    """Publish how runs and baselines compare on the same episodes."""

    def run(self, command: str) -> None:
        self.check(*self.paths)
        prepare_process(self.more.threads)
        runs = [self.open(path) for path in self.paths]
        for made in self.evaluations():
            self._publish(made, runs, command)

    def _publish(self, made: Sequence[FewShotEvaluation], runs: Sequence[FewShotRun], command: str) -> None:
        """Publish the comparison on one data set."""
        reference = self.reference(list(made))
        if reference is None:
            raise MetaRLError("One learner alone is no comparison; name a second run or --baselines.")
        rows = [{**row, "repeats": row["episodes"]} for row in fewshot_rows(made, reference)]
        about = {"setting": made[0].figure, "measure": words_of_measure(made[0]), "split": made[0].split}
        about |= {"lower_is_better": made[0].of_errors, "against": reference.called}
        about["subject"] = DataName.parsed(made[0].dataset).place.replace("/", "-")
        here = {each.made_of for each in made}
        scored = [run for run in runs if run.fingerprint() in here]
        trained = {each.called: run for each, run in zip(made, scored, strict=False)}
        self.write(trained, command, rows, ranking_of(made), **about)


@dataclass(frozen=True, kw_only=True)
class Trust(FewShotTrust, _Publishing):
    """Publish the calibration of a run before and after its temperature, and how well it tells what is out of scope."""

    def run(self, command: str) -> None:
        self.check(self.path)
        run, spec, made, scopes = self.measured()
        data = run.dataset()
        before = PERCENT * np.array([[each.before.error] for each in made])
        after = PERCENT * np.array([[each.after.error] for each in made])
        name = label(run.learner, run.config)
        runs = {name: run}
        setting, size = f"{spec.way}w{spec.shot}s", {"seeds": len(made), "repeats": self.episodes}
        picture = reliability_figure(made[0], title=f"{name} on {run.dataset_name}, {setting}")
        rows = [
            {"learner": words, **_cells("", errors), **_cells("difference", errors - before), **size}
            for words, errors in (("as trained", before), ("with its temperature", after))
        ]
        subject = DataName.parsed(run.dataset_name).place
        about = {
            "subject": subject,
            "measure": "expected calibration error, points",
            "lower_is_better": True,
            "split": self.split,
        }
        named = f"{setting} calibration, {data.encoder}"
        self.write(runs, command, rows, picture, setting=named, against="as trained", **about)
        if not scopes:  # of tasks with labels of their own
            return
        size = {"seeds": 1, "repeats": self.episodes}
        for row in scopes:
            row.update(learner=row["score"], value=row["auroc"], **size)
        against = nearest_mean_of([row["score"] for row in scopes])
        about = {"subject": subject, "measure": "AUROC, %", "split": self.split, "against": against}
        named = f"{setting} out of scope, {data.encoder}"
        self.write(runs, command, scopes, ranking_of_rows(scopes, subject, named, "AUROC, %"), setting=named, **about)


@dataclass(frozen=True, kw_only=True)
class SuperLearners(_Publishing):
    """Publish a super learner beside its base learners, on the tasks of each run and on all together, shots pooled."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """folders of few-shot learners trained on classes, each on a data set of its own"""
    shots: tuple[int, ...] = (1, 2, 5, 10, 20)
    """labelled samples of each class"""
    way: int = 5
    """classes of an episode"""
    training: int = 40
    """episodes of each number of shots by which the gate is learned"""
    episodes: int = 100
    """of each that are scored"""
    output: Path = Path("super_learner.csv")
    """the table as CSV, which has the scores by number of shots too"""

    def run(self, command: str) -> None:
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # that small folds lack samples
        if not self.runs:
            raise MetaRLError("Name run folders: python scripts/publish_comparison.py super-learner RUN RUN ...")
        runs = [open_fewshot_run(path) for path in self.runs]
        made = [(stream_of(run, self.shots, self.training, self.episodes, self.way), run) for run in runs]
        rows: list[Row] = []
        for some in [*([each] for each in made), *([made] if len(made) > 1 else [])]:
            rows += self._publish([stream for stream, _ in some], [run for _, run in some], command)
        names = list(dict.fromkeys(name for row in rows for name in row))  # shots may differ
        write_atomic(self.output, csv_of_rows([{name: row.get(name) for name in names} for row in rows]))

    def _publish(self, streams: list[TaskStream], runs: list[FewShotRun], command: str) -> list[Row]:
        """Publish the scores on the tasks of some streams, and return them."""
        rows = rows_of(streams)
        subject, setting = str(rows[0]["data"]), f"{', '.join(map(str, self.shots))} shots pooled"
        measures = {"ROC-AUC" if stream.scored[0].asked.shape[-1] == 2 else "accuracy" for stream in streams}
        about = {"subject": subject, "setting": setting, "split": "test", "against": rows[0]["against"]}
        about["measure"] = f"{' or '.join(sorted(measures))}, %"
        trained = {f"meta-learned on {run.dataset_name}": run for run in runs}
        self.write(trained, command, rows, ranking_of_rows(rows, subject, setting, about["measure"]), **about)
        return rows


def ranking_of_rows(rows: Sequence[Mapping[str, Any]], subject: str, setting: str, measure: str) -> Figure:
    """Draw the rows of a comparison, the best at the top."""
    ranked = [Ranked(row["learner"], *(row[name] for name in ("value", "low", "high"))) for row in rows]
    repeats = f"{rows[0]['repeats']} episodes, 95% intervals"
    return ranking_figure(ranked, title=f"{setting} on {subject}", subtitle=repeats, x_label=measure)


def _cells(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the mean over seeds and its interval as a row's fields."""
    found = estimate(values)
    low, high = found.interval
    prefix = f"{name}_" if name else ""
    return {name or "value": found.value, f"{prefix}low": low, f"{prefix}high": high}


if __name__ == "__main__":
    commands = (
        Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[Trust, tyro.conf.subcommand("trust")]
        | Annotated[SuperLearners, tyro.conf.subcommand("super-learner")]
    )
    try:
        tyro.cli(commands).run(f"python scripts/publish_comparison.py {shlex.join(sys.argv[1:])}")
    except MetaRLError as error:
        sys.exit(f"error: {error}")
