"""The command ``metarl fewshot compare``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metarl.cli.base import save_comparison, show, show_saved
from metarl.cli.fewshot_scoring import FewShotScoring
from metarl.cli.options import Option, RunPaths
from metarl.core.errors import MetaRLError

if TYPE_CHECKING:  # they import torch
    from metarl.evaluation.fewshot import FewShotEvaluation
    from metarl.fewshot.data.dataset import FewShotDataset

_Scored = list[tuple["FewShotDataset", "FewShotEvaluation"]]


@dataclass(frozen=True, kw_only=True)
class FewShotCompare(FewShotScoring):
    """Several runs and baselines in one table and one plot, all on the same episodes.

    On several data sets each has its own episodes, and the table says on which of them a learner is worse.
    """

    paths: RunPaths
    """run folders, or those of published results with weights; with --data or --baselines of several data sets"""
    baselines: Option[tuple[str, ...]] = ()
    """all, or some of nearest-mean, logistic-regression, knn, random-forest, setfit and tabpfn, on the same features;
    of what combines the first four super-learner, super-learner-select, mean-of-learners and stacking; of ratings
    user-mean, biases, item-knn, matrix-factorisation and popularity"""
    encoders: Option[tuple[str, ...]] = ()
    """further encoders, such as wordllama, on whose features the first of the baselines is scored too"""
    against: Option[str | None] = None
    """the learner from which differences are taken, paired by episode; the first baseline or run unless given"""
    output: Option[Path] = Path("comparison.png")
    """the plot; beside it a CSV of the same name"""

    def run(self, command: str) -> None:
        if not self.paths:
            raise MetaRLError("Name the run folders: metarl fewshot compare RUN RUN ...")
        if len(self.paths) == 1 and len(self.data) > 1 and not self.baselines:
            raise MetaRLError(
                "One run on several data sets has nothing to be compared with; add --baselines nearest-mean or further "
                "runs, or take metarl fewshot evaluate."
            )
        self.check(*self.paths)
        from metarl.core.process import prepare_process
        from metarl.evaluation.fewshot_domains import domains_rows, domains_table
        from metarl.evaluation.rows import csv_of_rows
        from metarl.evaluation.tables import fewshot_rows, fewshot_table
        from metarl.plotting.fewshot.run_figures import differences_of, ranking_of

        prepare_process(self.more.threads)
        groups = [(made, self.reference(made)) for made in self.evaluations()]
        if len(groups) == 1:
            ((made, reference),) = groups
            rows, table, figure = fewshot_rows(made, reference), fewshot_table(made, reference), ranking_of(made)
        else:
            rows, table, figure = domains_rows(groups), domains_table(groups), differences_of(groups)
        show(self.more.json, rows, table)
        show_saved(save_comparison(figure, csv_of_rows(rows), self.output), as_json=self.more.json)

    def evaluations(self) -> "list[list[FewShotEvaluation]]":
        """Return by scored data set the evaluations of the runs, then of the baselines on each encoder's features."""
        from metarl.fewshot.data.names import DataName

        runs, groups = [self.open(path) for path in self.paths], dict[str, _Scored]()
        places = {DataName.parsed(run.dataset_name).place for run in runs}
        if len(places) > 1 and not self.data and not self.baselines:
            raise MetaRLError(
                f"The runs are of different data sets, {', '.join(sorted(places))}; compare those of one, name those "
                "to score all of them on (--data), or a baseline to compare each with on its own (--baselines)."
            )
        for run in runs:
            for dataset in self.datasets(run):
                place = DataName.parsed(dataset.name).place
                groups.setdefault(place, []).append((dataset, self.evaluation(run, dataset)))
        return [self._with_baselines(place, scored) for place, scored in groups.items()]

    def _with_baselines(self, place: str, scored: "_Scored") -> "list[FewShotEvaluation]":
        """Return the evaluations of one data set, those of the baselines behind those of the runs."""
        from metarl.evaluation.fewshot_baselines import evaluate_baseline
        from metarl.fewshot.data.names import DataName
        from metarl.fewshot.data.registry import make_dataset

        found, asked = (
            list(scored),
            {(each.encoder, each.spec.shape): (each, self._baselines(each)) for each, _ in scored},
        )
        if self.encoders and not self.baselines:
            raise MetaRLError("--encoders are for baselines; name one, as in --baselines nearest-mean.")
        for encoder in self.encoders:
            named = DataName.parsed(scored[0][0].name)
            another = make_dataset(str(DataName(named.place, {**named.options, "encoder": encoder})))
            asked.setdefault((another.encoder, another.spec.shape), (another, self._baselines(another)[:1]))
        for dataset, baselines in asked.values():
            spec = self.spec(dataset.split(self.split))
            for baseline in baselines:
                made = evaluate_baseline(
                    baseline, dataset, spec, self.episodes, self.split, measure=self.measure, quiet=self.quiet
                )
                found.append((dataset, made))
        if len({dataset.encoder for dataset, _ in found}) == 1:
            return [made for _, made in found]
        return [
            replace(
                made,
                learner=f"{made.learner}, {dataset.encoder}",
                dataset=place,
                trained_on=DataName.parsed(made.trained_on).place,
            )
            for dataset, made in found
        ]

    def _baselines(self, data: "FewShotDataset") -> list[str]:
        """Return the baselines that are asked for and that suit a data set."""
        from metarl.fewshot.baselines.ratings import rating_baseline_names
        from metarl.fewshot.baselines.registry import baseline_names
        from metarl.fewshot.data.ratings import RatingDataset

        of_ratings = rating_baseline_names(self.measure) if isinstance(data, RatingDataset) else ()
        return baseline_names(self.baselines, of_ratings)

    def reference(self, made: "list[FewShotEvaluation]") -> "FewShotEvaluation | None":
        """Return the evaluation that differences are taken from; none where there is one alone."""
        known = {each.called: each for each in made}
        if self.against is not None and self.against not in known:
            raise MetaRLError(f"--against {self.against}: it is none of {', '.join(known)}.")
        n_runs = sum(bool(each.made_of) for each in made)  # baselines are made of no run
        first = made[min(n_runs, len(made) - 1)] if self.baselines else made[0]
        return known.get(self.against or "", first) if len(made) > 1 else None
