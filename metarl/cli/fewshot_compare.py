"""The command ``metarl fewshot compare``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metarl.cli.base import save_comparison, show
from metarl.cli.fewshot import FewShotScoring
from metarl.cli.options import Option, RunPaths
from metarl.core.errors import MetaRLError

if TYPE_CHECKING:  # it imports torch
    from metarl.evaluation.fewshot import FewShotEvaluation


@dataclass(frozen=True, kw_only=True)
class FewShotCompare(FewShotScoring):
    """Several runs and baselines in one table and one plot, all on the same episodes."""

    paths: RunPaths
    """run folders, or those of published results with weights, all of one data set, whatever its encoder"""
    baselines: Option[tuple[str, ...]] = ()
    """all, or some of nearest-mean, logistic-regression, knn, random-forest, setfit and tabpfn, on the same features;
    and of what combines the first four: super-learner, super-learner-select, mean-of-learners and stacking"""
    against: Option[str | None] = None
    """the learner from which differences are taken, paired by episode; the first baseline or run unless given"""
    output: Option[Path] = Path("comparison.png")
    """the plot; beside it a CSV of the same name"""

    def run(self, command: str) -> None:
        if not self.paths:
            raise MetaRLError("Name the run folders: metarl fewshot compare RUN RUN ...")
        self.check(*self.paths)
        from metarl.core.process import prepare_process
        from metarl.evaluation.rows import csv_of_rows
        from metarl.evaluation.tables import fewshot_rows, fewshot_table
        from metarl.plotting.fewshot.run_figures import ranking_of

        prepare_process(self.more.threads)
        made = self.evaluations()
        reference = self.reference(made)
        rows = fewshot_rows(made, reference)
        show(self.more.json, rows, fewshot_table(made, reference))
        save_comparison(ranking_of(made), csv_of_rows(rows), self.output, as_json=self.more.json)

    def evaluations(self) -> "list[FewShotEvaluation]":
        """Return the evaluations of the runs, then those of the baselines on each encoder's features."""
        from metarl.evaluation.fewshot_baselines import evaluate_baseline
        from metarl.fewshot.baselines.registry import baseline_names
        from metarl.fewshot.data.names import DataName

        runs = [self.open(path) for path in self.paths]
        places = {DataName.parsed(run.dataset_name).place for run in runs}
        if len(places) > 1:
            raise MetaRLError(
                f"The runs are of different data sets, {', '.join(sorted(places))}; compare those of one."
            )
        found = [(run.dataset_name, self.evaluation(run)) for run in runs]
        called = {}  # the encoder of each data set
        for name, run in {run.dataset_name: run for run in runs}.items():
            data = run.dataset()
            spec, called[name] = self.spec(data.split(self.split)), data.encoder
            for baseline in baseline_names(self.baselines):
                each = evaluate_baseline(
                    baseline, data, spec, self.episodes, self.split, measure=self.measure, quiet=self.quiet
                )
                found.append((name, each))
        if len({name for name, _ in found}) == 1:
            return [each for _, each in found]
        (place,) = places
        return [replace(each, learner=f"{each.learner}, {called[name]}", dataset=place) for name, each in found]

    def reference(self, made: "list[FewShotEvaluation]") -> "FewShotEvaluation | None":
        """Return the evaluation that differences are taken from; none where there is one alone."""
        known = {each.learner: each for each in made}
        if self.against is not None and self.against not in known:
            raise MetaRLError(f"--against {self.against}: it is none of {', '.join(known)}.")
        first = made[min(len(self.paths), len(made) - 1)] if self.baselines else made[0]
        return known.get(self.against or "", first) if len(made) > 1 else None
