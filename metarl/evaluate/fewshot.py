"""What scoring a run gives: every seed on the same episodes, its figures with their intervals, files and tables."""

import csv
import io
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import config_from
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluate.statistics import Estimate, Interval, estimate, median_score
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.registry import label
from metarl.fewshot.scoring import Scores, point_of


@dataclass(frozen=True, kw_only=True)
class FewShotEvaluation:
    """The scores of a run. ``values`` are accuracies in percent, or squared errors."""

    learner: str
    dataset: str
    part: str
    shape: EpisodeSpec
    measure: str  # accuracy or mse
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
    made_of: str = ""  # the run and the checkpoints that were scored; see RunFolder.fingerprint

    @property
    def figure(self) -> str:
        """What the setting is called: 5w1s, or mse 10-shot."""
        return figure_name(self.shape, self.measure)

    @property
    def figures(self) -> dict[str, Estimate]:
        """Every figure by its name, with intervals over seeds × episodes: of errors one for each step, and medians."""
        if self.measure == "accuracy":
            return {self.figure: self.at(self.adaptations[-1])}
        steps = [f" step {k}" for k in self.adaptations] if len(self.adaptations) > 1 else [""]
        named = {}
        for step, k in zip(steps, self.adaptations, strict=True):
            named[self.figure + step] = self.at(k)
            values = self.values[:, self.adaptations.index(k)]
            named[f"median {self.figure}{step}"] = estimate(values, statistic=median_score, bounds=self._bounds)
        return named

    def at(self, step: int) -> Estimate:
        """The mean after so many steps of adaptation."""
        return estimate(self.values[:, point_of(self.adaptations, step)], bounds=self._bounds)

    @property
    def _bounds(self) -> Interval:
        """Between which accuracies, or errors, lie."""
        return Interval(0.0, 1.0 if self.measure == "accuracy" else math.inf)

    @property
    def mark(self) -> str:
        """Whether queries were predicted from the support alone."""
        return "transductive" if self.transductive else "inductive"

    def to_csv(self) -> str:
        """One row for each seed and step: mean, median and standard deviation over episodes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["figure", "seed", "step", "episodes", "mean", "median", "sd"])
        for seed, points in zip(self.seeds, self.values, strict=True):
            for step, values in zip(self.adaptations, points, strict=True):
                numbers = (values.mean(), np.median(values), values.std(ddof=1) if len(values) > 1 else 0.0)
                writer.writerow([self.figure, seed, step, len(values), *(f"{each:.9g}" for each in numbers)])
        return text.getvalue()

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_atomic(path, seal(json.dumps({**asdict(self), "values": self.values.tolist()})))

    @classmethod
    def load(cls, path: Path) -> "FewShotEvaluation":
        """What ``save`` wrote."""
        try:
            content = json.loads(unseal(path.read_text(), "delete it and evaluate anew"))
            values, shape = np.array(content.pop("values"), np.float64), config_from(EpisodeSpec, content.pop("shape"))
            tuples = {name: tuple(content[name]) for name in ("seeds", "adaptations")}
            return cls(**{**content, **tuples, "values": values, "shape": shape})
        except MetaRLError as error:
            raise MetaRLError(f"{path}: {error}.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetaRLError(f"{path} is damaged ({error!r}); delete it and evaluate anew.") from error


def figure_name(shape: EpisodeSpec, measure: str) -> str:
    """Such as 5w1s, or mse 10-shot."""
    return f"{shape.way}w{shape.shot}s" if measure == "accuracy" else f"mse {shape.shot}-shot"


def setting_of(figure: str, *, functions: bool) -> EpisodeSpec:
    """The episodes that a figure's name asks for, with 15 queries of a class or 100 of a function."""
    pattern = r"(?:median )?mse (\d+)-shot(?: step \d+)?" if functions else r"(\d+)w(\d+)s"
    match = re.fullmatch(pattern, figure)
    if match is None:
        raise MetaRLError(f"{figure!r} is no figure of {'functions' if functions else 'classes'}, such as 5w1s.")
    numbers = [int(each) for each in match.groups()]
    return EpisodeSpec(1, numbers[0], 100) if functions else EpisodeSpec(numbers[0], numbers[1], 15)


def evaluate_run(
    run: FewShotRun,
    shape: EpisodeSpec,
    episodes: int = 600,
    part: str = "test",
    device: str = "cpu",
    *,
    transductive: bool = False,
) -> FewShotEvaluation:
    """Score every seed of a run on the same episodes of a part that training has not seen."""
    dataset = run.dataset()
    if part == "train":
        raise MetaRLError("Scores are of classes that training has not seen; choose --split test or --split val.")
    tasks = dataset.split(part)
    made_of = run.fingerprint()
    models = [run.trained(seed, device) for seed in run.seeds]
    scores: list[Scores] = [model.score(tasks, shape, episodes, transductive=transductive) for model in models]
    spent = models[0].cost(tasks, shape)
    return FewShotEvaluation(
        learner=label(run.learner, run.config),
        dataset=run.dataset_name,
        part=part,
        shape=shape,
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
        values=np.stack([each.values for each in scores]) * (100 if scores[0].measure == "accuracy" else 1),
        made_of=made_of,
    )


def evaluation_file(folder: Path, shape: EpisodeSpec, part: str, transductive: bool) -> Path:
    """Where the evaluation of a setting lies in a folder."""
    name = f"{shape.way}w{shape.shot}s" if shape.way > 1 else f"{shape.shot}-shot"
    extra = [f"{shape.unlabelled}-unlabelled"] * bool(shape.unlabelled) + ["transductive"] * transductive
    return folder / f"evaluation-{'-'.join([part, name, *extra])}.json"


def evaluation_of(
    run: FewShotRun, shape: EpisodeSpec, episodes: int, part: str, device: str, *, transductive: bool
) -> FewShotEvaluation:
    """The saved evaluation of a run if it is of this setting and its checkpoints as they are, else a new one, saved.

    Of a published result it is always a new one, and nothing is saved.
    """
    for seed in run.seeds:
        run.warn_if_unfinished(seed, run.trained_amount(seed), "iterations")
    if not run.keeps_evaluations:
        return evaluate_run(run, shape, episodes, part, device, transductive=transductive)
    saved = evaluation_file(run.path, shape, part, transductive)
    if saved.exists():
        found = FewShotEvaluation.load(saved)
        if run.check_evaluation(saved, found.made_of) and found.shape == shape and found.values.shape[2] == episodes:
            return found
    made = evaluate_run(run, shape, episodes, part, device, transductive=transductive)
    save_evaluation(made, saved)
    return made


def save_evaluation(made: FewShotEvaluation, path: Path) -> None:
    """Write an evaluation as JSON, and beside it as a table."""
    made.save(path)
    write_atomic(path.with_suffix(".csv"), made.to_csv())
