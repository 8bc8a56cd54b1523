"""Evaluating the run of a few-shot learner: every seed on the same episodes, its figures with their intervals."""

import json
import math
import re
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import config_from
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.rows import Row, Tabular, csv_of_rows
from metarl.evaluation.statistics import Array, Estimate, Interval, estimate, median_score
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.progress import Reporter
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.learners.registry import label
from metarl.fewshot.measures import ACCURACY, DELTA_AUPRC, ERRORS, MSE, PERCENT, RMSE, scale_of
from metarl.fewshot.scoring import Scores, cost_of, point_of, score
from metarl.fewshot.target_normalisation import renormalised

_ARRAYS = ("values", "queries")


def root_of_mean(squares: Array, queries: Array) -> Array:
    """Return the root of the mean over all queries of squared errors: (..., seed, task), (..., task) -> (...).

    Args:
        squares: the mean over a task's queries.
        queries: how many a task has.
    """
    weights = queries / queries.sum(-1, keepdims=True)
    return np.asarray(np.sqrt((squares * weights[..., None, :]).sum(-1).mean(-1)))


@dataclass(frozen=True, kw_only=True)
class FewShotEvaluation(Tabular):
    """The scores of a run. ``values`` are accuracies, areas or gains in percent, or squared errors."""

    learner: str
    dataset: str
    split: str
    spec: EpisodeSpec
    measure: str  # of ``metarl.fewshot.measures``
    transductive: bool
    seeds: tuple[int, ...]
    iterations: int  # the mean over seeds
    tasks: int  # an iteration's
    wall_seconds: float  # of a seed's training
    adapt_seconds: float  # of one task
    adapt_bytes: int  # the most that adapting to one task holds beside the parameters
    parameters: int
    adaptations: tuple[int, ...]
    values: NDArray[np.float64]  # (seed, point, episode)
    queries: NDArray[np.float64] | None = None  # (episode,) how many of each task, where they are of unlike numbers
    made_of: str = ""  # the run and the checkpoints that were scored; see RunFolder.fingerprint
    trained_on: str = ""  # the data set of the training; empty where there was none
    normalised: bool = False  # whether features were renormalised by samples of the scored split without labels

    @property
    def figure(self) -> str:
        """The name of the setting: 5w1s, or mse 10-shot."""
        spec = self.spec
        size = f"{spec.way}w{spec.shot}s" if self.measure != MSE else f"{spec.shot}-shot"
        size = size if spec.support is None else f"{spec.support} samples"
        return size if self.measure == ACCURACY else f"{self.measure} {size}"

    @property
    def of_errors(self) -> bool:
        """Whether less is better."""
        return self.measure in ERRORS

    @property
    def figures(self) -> dict[str, Estimate]:
        """Every figure by its name, with intervals over seeds × episodes; errors have one a step, and medians."""
        if self.measure != MSE:
            return {self.figure: self.at(self.adaptations[-1])}
        steps = [f" step {k}" for k in self.adaptations] if len(self.adaptations) > 1 else [""]
        named = {}
        for step, k in zip(steps, self.adaptations, strict=True):
            named[self.figure + step] = self.at(k)
            values = self.values[:, self.adaptations.index(k)]
            named[f"median {self.figure}{step}"] = estimate(values, statistic=median_score, bounds=self._bounds)
        return named

    def at(self, step: int) -> Estimate:
        """Return the mean after so many steps of adaptation."""
        values = self.values[:, point_of(self.adaptations, step)]
        if self.measure == RMSE and self.queries is not None:
            return estimate(values, (self.queries,), statistic=root_of_mean, bounds=self._bounds)
        return estimate(values, bounds=self._bounds)

    @property
    def _bounds(self) -> Interval:
        """The range of percentages or errors."""
        return Interval(-PERCENT if self.measure == DELTA_AUPRC else 0.0, math.inf if self.of_errors else PERCENT)

    @property
    def mark(self) -> str:
        """The words that say whether queries were predicted from the support alone: inductive or transductive."""
        word = "transductive" if self.transductive else "inductive"
        return f"{word}, normalised by unlabelled target samples" if self.normalised else word

    @property
    def other(self) -> str:
        """The scored data set where it is another than that of training, else nothing."""
        return self.dataset if self.trained_on not in ("", self.dataset) else ""

    @property
    def called(self) -> str:
        """The learner, and the data set that it was trained on where it is scored on another."""
        return f"{self.learner} trained on {self.trained_on}" if self.other else self.learner

    @property
    def rows(self) -> list[Row]:
        """One flat row a figure: its value with the wider interval, seeds and episodes."""
        size = {"seeds": len(self.seeds), "episodes": self.values.shape[2]}
        about = {name: (score.value, *score.interval) for name, score in self.figures.items()}
        return [
            {"learner": self.called, "figure": name, "value": value, "low": low, "high": high, **size}
            for name, (value, low, high) in about.items()
        ]

    def to_csv(self) -> str:
        """Write one row for each seed and step: mean, median and standard deviation over episodes."""
        rows: list[Row] = []
        for seed, points in zip(self.seeds, self.values, strict=True):
            for step, values in zip(self.adaptations, points, strict=True):
                sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
                place = {"figure": self.figure, "seed": seed, "step": step, "episodes": len(values)}
                rows.append({**place, "mean": float(values.mean()), "median": float(np.median(values)), "sd": sd})
        return csv_of_rows(rows)

    def save(self, path: Path) -> None:
        """Write the evaluation as JSON, and beside it its table as CSV."""
        arrays = {name: None if (array := getattr(self, name)) is None else array.tolist() for name in _ARRAYS}
        write_atomic(path, seal(json.dumps({**asdict(self), **arrays})))
        write_atomic(path.with_suffix(".csv"), self.to_csv())

    @classmethod
    def load(cls, path: Path) -> "FewShotEvaluation":
        """Read what ``save`` wrote; raises MetaRLError, with the path, for a missing or damaged file."""
        try:
            content = json.loads(unseal(path.read_text(), "delete it and evaluate anew"))
            spec = config_from(EpisodeSpec, content.pop("spec"))
            arrays = {
                name: np.array(each, np.float64) for name in _ARRAYS if (each := content.pop(name, None)) is not None
            }
            tuples = {name: tuple(content[name]) for name in ("seeds", "adaptations")}
            return cls(**{**content, **tuples, **arrays, "spec": spec})
        except MetaRLError as error:
            raise MetaRLError(f"{path}: {error}.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetaRLError(f"{path} is damaged ({error!r}); delete it and evaluate anew.") from error


def setting_of(figure: str, *, functions: bool) -> EpisodeSpec:
    """Return the episodes that a figure's name asks for, with 15 queries of a class or 100 of a function."""
    pattern = r"(?:median )?mse (\d+)-shot(?: step \d+)?" if functions else r"(\d+)w(\d+)s"
    match = re.fullmatch(pattern, figure)
    if match is None:
        raise MetaRLError(f"{figure!r} is no figure of {'functions' if functions else 'classes'}, such as 5w1s.")
    numbers = [int(each) for each in match.groups()]
    return EpisodeSpec(1, numbers[0], 100) if functions else EpisodeSpec(numbers[0], numbers[1], 15)


def evaluate_fewshot_run(
    run: FewShotRun,
    spec: EpisodeSpec,
    episodes: int = 600,
    split: str = "test",
    device: str = "cpu",
    *,
    dataset: FewShotDataset | None = None,
    transductive: bool = False,
    normalise: bool = False,
    measure: str = ACCURACY,
    quiet: bool = True,
) -> FewShotEvaluation:
    """Score every seed of a run on the same episodes of a split that training has not seen.

    Args:
        run: of a few-shot learner, its own or a published one.
        spec: of the episodes.
        episodes: their number.
        split: ``test`` or ``val``.
        device: to adapt on.
        dataset: another than that of training, from ``metarl.fewshot.data.other.other_dataset``.
        transductive: whether prototypes are refined by the queries themselves.
        normalise: whether features are renormalised by samples of the split without labels; see ``renormalised``.
        measure: of classes, one of ``metarl.fewshot.measures``.
        quiet: whether no progress is shown.
    """
    tested = run.dataset_name if dataset is None else dataset.name
    trained = run.dataset() if dataset is None or normalise else None
    dataset = dataset or trained
    assert dataset is not None  # for mypy
    if split == "train":
        raise MetaRLError("Scores are of classes that training has not seen; choose --split test or --split val.")
    check_way(dataset, split, spec)
    tasks = dataset.split(split).to(device)
    made_of = run.fingerprint()
    models = [run.trained(seed, device) for seed in run.seeds]
    taken = [(each.encoder, each.fitted, each.shape) for each in (dataset.spec, *(model.spec for model in models))]
    if len(set(taken)) > 1:
        raise MetaRLError(
            f"{tested} is not the data that {run.path} was trained on, or not as it takes it; restore it or train anew."
        )
    names = {seed: f"seed {seed}" for seed in run.seeds}
    learners = [model.learner_for(spec.largest.way) for model in models]
    if normalise and trained is not None:
        source = trained.split("train").to(device)
        learners = [
            renormalised(learner, model.params, source, tasks, spec)
            for learner, model in zip(learners, models, strict=True)
        ]
    scores: list[Scores] = []
    with Reporter(names, episodes, "episodes", quiet=quiet) as reporter:
        for learner, model in zip(learners, models, strict=True):
            report, made_of_seed = partial(reporter, model.seed), (learner, model.params, tasks, spec, episodes)
            scores.append(score(*made_of_seed, transductive=transductive, measure=measure, report=report))
    spent = cost_of(learners[0], models[0].params, tasks, spec)
    return FewShotEvaluation(
        learner=label(run.learner, run.config),
        dataset=tested,
        split=split,
        spec=spec,
        measure=scores[0].measure,
        transductive=transductive,
        seeds=run.seeds,
        iterations=int(np.mean([model.iteration for model in models])),
        tasks=run.config.tasks,
        wall_seconds=float(np.mean([model.wall_seconds for model in models])),
        adapt_seconds=spent.seconds,
        adapt_bytes=spent.bytes,
        parameters=sum(value.numel() for value in models[0].params.values()),
        adaptations=scores[0].adaptations,
        values=np.stack([each.values for each in scores]) * scale_of(scores[0].measure),
        queries=scores[0].queries,
        made_of=made_of,
        trained_on=run.dataset_name,
        normalised=normalise,
    )


def check_way(dataset: FewShotDataset, split: str, spec: EpisodeSpec) -> None:
    """Raise where a split has fewer classes than an episode."""
    tasks, ways = dataset.split(split), spec.largest.way
    if isinstance(tasks, Classes) and len(tasks) < ways:
        raise MetaRLError(
            f"The {split} split of {dataset.name} has {len(tasks)} classes, fewer than the {ways} ways asked for; "
            "lower --way."
        )
