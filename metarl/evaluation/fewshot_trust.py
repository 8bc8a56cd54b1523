"""How far a few-shot run can be trusted: calibration and what is out of scope, on tasks that training has not seen."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import torch_generator
from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_saved import saved_or_new_evaluation
from metarl.evaluation.rows import Row
from metarl.evaluation.statistics import Interval, estimate
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.sentences import clinc150
from metarl.fewshot.features.cache import encode
from metarl.fewshot.features.registry import make_encoder
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.heads.base import KNOWN
from metarl.fewshot.learners.metric import MetricLearner
from metarl.fewshot.measures import PERCENT
from metarl.fewshot.model import FewShot
from metarl.fewshot.trust.calibration import (
    Reliability,
    brier,
    fitted_temperature,
    logits_of,
    probabilities,
    reliability,
)
from metarl.fewshot.trust.scope import Array, LikelihoodRatio, auroc, features_of, nearest_mean_score

_OUTSIDE = 150  # samples out of scope in an episode
_NEAREST, _GIVEN = "nearest mean", " on features as given"


@dataclass(frozen=True)
class Calibration:
    """The calibration of one seed's probabilities of a test split, before and after its temperature."""

    seed: int
    temperature: float  # learned on training tasks
    before: Reliability
    after: Reliability
    brier_before: float
    brier_after: float

    @property
    def row(self) -> Row:
        """Return the errors, in percent, as a row."""
        errors = {"error_before": PERCENT * self.before.error, "error_after": PERCENT * self.after.error}
        scores = {"brier_before": self.brier_before, "brier_after": self.brier_after}
        return {"seed": self.seed, "temperature": self.temperature, **errors, **scores}


def calibration(
    model: FewShot, dataset: FewShotDataset, spec: EpisodeSpec, episodes: int = 600, split: str = "test"
) -> Calibration:
    """Learn a temperature on as many training tasks as are then scored, and measure what it does on another split.

    Args:
        model: of classes.
        dataset: with a training split.
        spec: of the episodes.
        episodes: of each split.
        split: the scored one.
    """
    source, scored = (dataset.split(each).to(model.device) for each in ("train", split))
    if not isinstance(scored, Classes | Groups) or model.spec.outputs is not None:
        raise MetaRLError(f"{dataset.name} has numbers to predict; calibration and scope are of classes.")
    fitting = source.fitting(spec)
    learned = logits_of(model.learner_for(fitting.way), model.params, source, fitting, episodes)
    temperature = fitted_temperature(*learned)
    logits, targets = logits_of(model.learner_for(spec.way), model.params, scored, spec, episodes)
    both = [probabilities(logits, each) for each in (1.0, temperature)]
    before, after = (reliability(each, targets) for each in both)
    return Calibration(model.seed, temperature, before, after, *(brier(each, targets) for each in both))


def scope_rows(
    model: FewShot, dataset: FewShotDataset, spec: EpisodeSpec, episodes: int = 600, split: str = "test"
) -> list[Row]:
    """Return the areas under the receiver operating characteristic, in percent, of scores of what is out of scope.

    Out of scope are CLINC150's own such sentences, and of other data sets samples of classes that an episode lacks. All
    scores are of the same episodes; each has its paired difference from the distance to the nearest mean of the
    features as given, before a learner maps them.
    """
    scored, source = dataset.split(split).to(model.device), dataset.split("train").to(model.device)
    if not isinstance(scored, Classes) or not isinstance(source, Classes):
        raise MetaRLError(f"{dataset.name} has tasks with labels of their own; nothing there is out of scope.")
    # Vectors are compared as they were given too, where a learner maps them.
    compared: dict[str, FewShotLearner | None] = {"": model.learner}
    if len(model.spec.shape) == 1 and isinstance(model.learner, MetricLearner):
        compared[_GIVEN] = None
    ratios = {name: LikelihoodRatio.of(each, model.params, source) for name, each in compared.items()}
    outside = _out_of_scope(model, dataset)
    drawn = spec if outside is not None else replace(spec, way=min(2 * spec.way, len(scored)))
    found: dict[str, list[float]] = {}
    for number in range(episodes):
        generator = torch_generator(0, "fewshot", "out of scope", number)
        some = scored.draw(drawn, 1, generator)
        (seen, labels), (asked, true) = ((part.inputs[0], part.targets[0]) for part in (some.support, some.query))
        kept, inside = labels < spec.way, asked[true < spec.way]
        others = asked[true >= spec.way]
        if outside is not None:
            others = outside[torch.randperm(len(outside), generator=generator)[:_OUTSIDE]]
        seen, labels = seen[kept], labels[kept]
        of_labels, scores = labels.cpu().numpy(), dict[str, list[Array]]()
        for name, learner in compared.items():
            given, *both = (features_of(learner, model.params, each) for each in (seen, inside, others))
            scores[_NEAREST + name] = [nearest_mean_score(given, of_labels, each) for each in both]
            scores["likelihood ratio" + name] = [ratios[name].score(given, of_labels, each) for each in both]
        state = model.adapted(Support(seen[None], labels[None]), spec.way)
        with torch.no_grad():
            outputs = [model.learner_for(spec.way).query(model.params, state, each[None]) for each in (inside, others)]
        if KNOWN in outputs[0]:
            scores["head's own"] = [each[KNOWN][0].double().cpu().numpy() for each in outputs]
        for name, (one, other) in scores.items():
            found.setdefault(name, []).append(PERCENT * auroc(one, other))
    rows, against = [], nearest_mean_of(found)
    reference = found[against]
    for name, values in found.items():
        area = estimate(np.array(values)[None], bounds=Interval(0.0, PERCENT))
        apart = estimate((np.array(values) - reference)[None], bounds=Interval(-PERCENT, PERCENT))
        ends = {"low": area.interval[0], "high": area.interval[1], "difference": apart.value}
        rows.append(
            {"score": name, "auroc": area.value, **ends, "difference_low": apart.interval[0]}
            | {"difference_high": apart.interval[1], "episodes": episodes}
        )
    return rows


def nearest_mean_of(scores: Collection[str]) -> str:
    """Return which of some scores is the distance to the nearest mean of the features as given."""
    return _NEAREST + _GIVEN if _NEAREST + _GIVEN in scores else _NEAREST


def shots_curve(
    run: FewShotRun,
    spec: EpisodeSpec,
    shots: Sequence[int],
    episodes: int,
    split: str,
    device: str = "cpu",
    *,
    dataset: FewShotDataset | None = None,
    **options: Any,
) -> list[FewShotEvaluation]:
    """Return the evaluations of a run by the number of labelled samples: of each class, or of a task's support.

    Args:
        run: of a few-shot learner.
        spec: of the episodes, but for the number of labelled samples.
        shots: those numbers.
        episodes: of each number.
        split: ``test`` or ``val``.
        device: to adapt on.
        dataset: the run's own unless given.
        options: of ``saved_or_new_evaluation``.
    """
    if not shots or min(shots) < 1 or len(set(shots)) < len(shots):
        raise MetaRLError(f"--shots {' '.join(map(str, shots))}: give different numbers of at least 1.")
    changed = "shot" if spec.support is None else "support"
    specs = [replace(spec, **{changed: each}) for each in sorted(shots)]
    tasks = (dataset or run.dataset()).split(split)
    for each in specs:  # before any of them takes its time
        tasks.draw(each, 1, torch_generator(0, "fewshot", "check"))
    return [saved_or_new_evaluation(run, each, episodes, split, device, dataset=dataset, **options) for each in specs]


def _out_of_scope(model: FewShot, dataset: FewShotDataset) -> torch.Tensor | None:
    """Return the vectors of CLINC150's own sentences out of scope, or None of any other data set."""
    if not DataName.parsed(dataset.name).place.startswith("clinc150"):
        return None
    sentences = clinc150(("oos_test",))["oos"]
    vectors = encode(make_encoder(dataset.encoder, dataset.fitted), sentences)
    return torch.from_numpy(vectors).to(model.device)


def labelled(made: FewShotEvaluation) -> int:
    """Return how many labelled samples an evaluation's tasks have: of each class, or in all."""
    return made.spec.shot if made.spec.support is None else made.spec.support
