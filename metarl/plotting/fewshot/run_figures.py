"""The figures of few-shot runs: what a learner makes of one episode, its scores by step, a ranking of several."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_baselines import paired
from metarl.evaluation.fewshot_domains import Domain
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Episodes
from metarl.fewshot.data.functions import Functions
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.learners.base import LOGITS, SCALE, VALUE
from metarl.fewshot.learners.metric import MetricLearner, Prototypical
from metarl.fewshot.measures import ACCURACY, DELTA_AUPRC, PERCENT, ROC_AUC
from metarl.fewshot.model import FewShot
from metarl.fewshot.scoring import first_scored
from metarl.plotting.charts import Line, Ranked, lines_figure, ranking_figure
from metarl.plotting.fewshot.embedding import embedding_figure
from metarl.plotting.fewshot.episode import episode_figure
from metarl.plotting.fewshot.function import function_figure
from metarl.plotting.fewshot.trust import words_of_measure

_DRAWN = (0, 1, 5, 10)  # steps whose prediction of a function is drawn


def fewshot_figures(
    run: FewShotRun, made: FewShotEvaluation, device: str = "cpu", dataset: FewShotDataset | None = None
) -> dict[str, Figure]:
    """Draw by name: scores by step, and the first scored episode of the first seed.

    Args:
        run: of a few-shot learner.
        made: its evaluation.
        device: to adapt on.
        dataset: that it was scored on, its own unless given.
    """
    model = run.trained(run.seeds[0], device)
    part = (dataset or run.dataset()).split(made.split).to(model.device)
    episodes = first_scored(part, made.spec, made.values.shape[2])
    found = {"steps": steps_figure(made)} if len(made.adaptations) > 1 else {}
    if isinstance(part, Functions):
        return {**found, "function": _function(model, made, episodes)}
    if made.spec.way == 1 or made.normalised:  # of labels that are no function of a line; with other features
        return found
    called = part.classes if isinstance(part, Groups) else part.names
    return {**found, **_classified(model, called, made, episodes)}


def steps_figure(made: FewShotEvaluation) -> Figure:
    """Draw accuracy or error by adaptation step."""
    line = Line(made.adaptations, [made.at(step) for step in made.adaptations])
    labels = {"x_label": "adaptation steps", "y_label": words_of_measure(made)}
    return lines_figure({made.called: line}, title=_title(made), subtitle=_subtitle(made), **labels)[0]


def ranking_of(made: Sequence[FewShotEvaluation]) -> Figure:
    """Draw the learners of evaluations in one setting in rows, the best at the top."""
    first = made[0]
    chance = {ACCURACY: PERCENT / first.spec.way, ROC_AUC: PERCENT / 2, DELTA_AUPRC: 0.0}.get(first.measure)
    last = [each.at(each.adaptations[-1]) for each in made]
    rows = [
        Ranked(each.called, score.value, *score.interval, each.mark) for each, score in zip(made, last, strict=True)
    ]
    return ranking_figure(
        rows,
        title=f"{first.figure} on {first.dataset}",
        subtitle=f"{first.values.shape[2]} episodes of the {first.split} split, 95% intervals",
        floor=None if chance is None else (chance, "chance"),
        x_label=words_of_measure(first),
        form=".3f" if first.of_errors else ".1f",
        lower_is_better=first.of_errors,
    )


def differences_of(domains: Sequence[Domain]) -> Figure:
    """Draw by data set how far learners are above or below the one that each is compared with, paired by episode."""
    pairs = [
        (each, reference)
        for made, reference in domains
        for each in made
        if reference is not None and each is not reference
    ]
    learners, others = (list(dict.fromkeys(each.called for each in part)) for part in zip(*pairs, strict=True))
    rows = []
    for each, reference in pairs:
        apart = paired(each, reference)
        ends = (apart["difference"], apart["difference_low"], apart["difference_high"])
        rows.append(Ranked(f"{each.called} on {each.dataset}" if len(learners) > 1 else each.dataset, *ends))
    first = domains[0][0][0]
    return ranking_figure(
        rows,
        title=f"{first.figure if len(learners) > 1 else learners[0]} against {' and '.join(others)}",
        subtitle="paired, 95% intervals",
        floor=(0.0, "equal"),
        x_label=f"difference of {words_of_measure(first)}",
        form="+.3f" if first.of_errors else "+.1f",
        lower_is_better=first.of_errors,
    )


def _title(made: FewShotEvaluation) -> str:
    return f"{made.called} on {made.dataset}, {made.figure}"


def _subtitle(made: FewShotEvaluation) -> str:
    size = f"{made.values.shape[2]} episodes of the {made.split} split, {len(made.seeds)} seed"
    return f"{size}{'s' * (len(made.seeds) > 1)}, {made.mark}, 95% interval"


def _classified(
    model: FewShot, called: Sequence[str], made: FewShotEvaluation, episodes: Episodes
) -> dict[str, Figure]:
    """Draw the images of one episode with what is predicted, and their features."""
    learner = model.learner_for(made.spec.way)
    assert episodes.classes is not None  # for mypy: a part of classes
    names = [called[i] for i in episodes.classes[0].tolist()]
    state = model.adapted(episodes.support, made.spec.way, episodes.unlabelled)
    with torch.no_grad():
        if made.transductive:
            state = learner.refine(model.params, state, episodes.query.inputs)
        outputs = learner.query(model.params, state, episodes.query.inputs)[LOGITS][0, :, : made.spec.way]
    shown = [each.cpu().numpy() for pair in zip(episodes.support, episodes.query, strict=True) for each in pair]
    given, asked, labels, true = (each[0] for each in shown)
    predicted = outputs.argmax(-1).cpu().numpy()
    right = f"{(predicted == true).mean():.0%} of this episode's queries right"
    found = {}
    if len(model.spec.shape) > 1:
        found["episode"] = episode_figure(
            given, labels, asked, true, predicted, names, title=_title(made), subtitle=right
        )
    if isinstance(learner, MetricLearner):
        with torch.no_grad():
            encoded = [learner.encode(model.params, each.inputs)[0].cpu().numpy() for each in episodes[:2]]
        prototypes = learner.pool.read(state)[0].cpu().numpy() if isinstance(learner, Prototypical) else None
        found["embedding"] = embedding_figure(
            encoded[0], labels, encoded[1], true, prototypes, names, title=_title(made), subtitle=right
        )
    return found


def _function(model: FewShot, made: FewShotEvaluation, episodes: Episodes) -> Figure:
    """Draw one function, what is seen of it, and what is predicted after some steps."""
    (x, y), (grid, true) = episodes[:2]
    predicted, spread = {}, {}
    with torch.no_grad():
        for step, state in model.learner.points(model.params, model.learner.presented(episodes)):
            if step in _DRAWN or step == made.adaptations[-1]:
                name = f"step {step}" if len(made.adaptations) > 1 else made.learner
                outputs = model.learner.query(model.params, state, grid)
                predicted[name] = outputs[VALUE][0].cpu().numpy()
                if SCALE in outputs:
                    spread[name] = outputs[SCALE][0].cpu().numpy()
    support, query = ([each[0].cpu().numpy() for each in pair] for pair in ((x, y), (grid, true)))
    subtitle = f"one task, {made.spec.shot} points seen"
    return function_figure(
        (support[0], support[1]),
        (query[0], query[1]),
        predicted,
        title=_title(made),
        subtitle=subtitle,
        deviations=spread,
    )
