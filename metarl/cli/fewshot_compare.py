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
    from metarl.fewshot.data.dataset import FewShotDataset


@dataclass(frozen=True, kw_only=True)
class FewShotCompare(FewShotScoring):
    """Several runs and baselines in one table and one plot, all on the same episodes."""

    paths: RunPaths
    """run folders, or those of published results with weights, all of one data set, whatever its encoder"""
    baselines: Option[tuple[str, ...]] = ()
    """all, or some of nearest-mean, logistic-regression, knn, random-forest, setfit and tabpfn, on the same features;
    of ratings user-mean, biases, item-knn, matrix-factorisation and popularity"""
    encoders: Option[tuple[str, ...]] = ()
    """further encoders, such as wordllama, on whose features the first of the baselines is scored too"""
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
        from metarl.fewshot.data.names import DataName
        from metarl.fewshot.data.registry import make_dataset

        runs = [self.open(path) for path in self.paths]
        places = {DataName.parsed(run.dataset_name).place for run in runs}
        if len(places) > 1:
            raise MetaRLError(
                f"The runs are of different data sets, {', '.join(sorted(places))}; compare those of one."
            )
        found = [(run.dataset_name, self.evaluation(run)) for run in runs]
        data = {run.dataset_name: run.dataset() for run in runs}
        asked = {name: self._baselines(each) for name, each in data.items()}
        if self.encoders and not self.baselines:
            raise MetaRLError("--encoders are for baselines; name one, as in --baselines nearest-mean.")
        for encoder in self.encoders:
            named = DataName.parsed(runs[0].dataset_name)
            another = make_dataset(str(DataName(named.place, {**named.options, "encoder": encoder})))
            data.setdefault(another.name, another)
            asked.setdefault(another.name, self._baselines(another)[:1])
        called = {name: each.encoder for name, each in data.items()}
        for name, baselines in asked.items():
            spec = self.spec(data[name].split(self.split))
            for baseline in baselines:
                each = evaluate_baseline(
                    baseline, data[name], spec, self.episodes, self.split, measure=self.measure, quiet=self.quiet
                )
                found.append((name, each))
        if len({name for name, _ in found}) == 1:
            return [each for _, each in found]
        (place,) = places
        return [replace(each, learner=f"{each.learner}, {called[name]}", dataset=place) for name, each in found]

    def _baselines(self, data: "FewShotDataset") -> list[str]:
        """Return the baselines that are asked for and that suit a data set."""
        from metarl.fewshot.baselines.ratings import rating_baseline_names
        from metarl.fewshot.baselines.registry import baseline_names
        from metarl.fewshot.data.ratings import RatingDataset

        of_ratings = rating_baseline_names(self.measure) if isinstance(data, RatingDataset) else ()
        return baseline_names(self.baselines, of_ratings)

    def reference(self, made: "list[FewShotEvaluation]") -> "FewShotEvaluation | None":
        """Return the evaluation that differences are taken from; none where there is one alone."""
        known = {each.learner: each for each in made}
        if self.against is not None and self.against not in known:
            raise MetaRLError(f"--against {self.against}: it is none of {', '.join(known)}.")
        first = made[min(len(self.paths), len(made) - 1)] if self.baselines else made[0]
        return known.get(self.against or "", first) if len(made) > 1 else None
