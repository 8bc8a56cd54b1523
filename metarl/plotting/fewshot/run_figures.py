"""The pictures of a run: what its learner makes of one episode, and its scores by adaptation step."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from metarl.evaluate.fewshot import FewShotEvaluation
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.episodes import Classes, Episodes
from metarl.fewshot.data.functions import Functions
from metarl.fewshot.learners.base import LOGITS, SCALE, VALUE
from metarl.fewshot.learners.metric import MetricLearner, Prototypical
from metarl.fewshot.model import FewShot
from metarl.fewshot.scoring import first_scored
from metarl.plotting.fewshot.charts import comparison_figure, regression_figure, steps_figure
from metarl.plotting.fewshot.embedding import embedding_figure
from metarl.plotting.fewshot.episode import episode_figure

_DRAWN = (0, 1, 5, 10)  # steps whose prediction of a function is drawn


def pictures(run: FewShotRun, made: FewShotEvaluation, device: str = "cpu") -> dict[str, Figure]:
    """By name: scores by step, and the first scored episode of the first seed."""
    model = run.trained(run.seeds[0], device)
    part = run.dataset().split(made.part).to(model.device)
    episodes = first_scored(part, made.shape, made.values.shape[2])
    found = {"steps": steps(made)} if len(made.adaptations) > 1 else {}
    if isinstance(part, Functions):
        return {**found, "function": _function(model, made, episodes)}
    return {**found, **_classified(model, part, made, episodes)}


def steps(made: FewShotEvaluation) -> Figure:
    """Accuracy or error by adaptation step."""
    ends = [made.at(step) for step in made.adaptations]
    low, high = np.array([score.interval for score in ends]).T
    curve = (np.array(made.adaptations), np.array([score.value for score in ends]), low, high)
    label = "accuracy, %" if made.measure == "accuracy" else "mean squared error"
    return steps_figure({made.learner: curve}, title=_title(made), subtitle=_subtitle(made), y_label=label)


def comparison(made: Sequence[FewShotEvaluation]) -> Figure:
    """Learners beside one another, the best at the top."""
    errors = made[0].measure == "mse"
    listed = []
    for each in made:
        score = each.at(each.adaptations[-1])
        low, high = score.interval
        listed.append((each.learner, score.value, low, high, each.mark))
    return comparison_figure(
        listed,
        title=f"{made[0].figure} on {made[0].dataset}",
        subtitle=f"{made[0].values.shape[2]} episodes of the {made[0].part} part, 95% intervals",
        floor=None if errors else (100 / made[0].shape.way, "chance"),
        x_label="mean squared error" if errors else "accuracy, %",
        form=".3f" if errors else ".1f",
        lower_is_better=errors,
    )


def _title(made: FewShotEvaluation) -> str:
    return f"{made.learner} on {made.dataset}, {made.figure}"


def _subtitle(made: FewShotEvaluation) -> str:
    size = f"{made.values.shape[2]} episodes of the {made.part} part, {len(made.seeds)} seed"
    return f"{size}{'s' * (len(made.seeds) > 1)}, {made.mark}, 95% interval"


def _classified(model: FewShot, part: Classes, made: FewShotEvaluation, episodes: Episodes) -> dict[str, Figure]:
    """The images of one episode with what is predicted, and their features."""
    learner = model.learner_for(made.shape.way)
    assert episodes.classes is not None  # for mypy: a part of classes
    names = [part.names[i] for i in episodes.classes[0].tolist()]
    state = model.adapted(episodes.support, made.shape.way, episodes.unlabelled)
    with torch.no_grad():
        if made.transductive:
            state = learner.refine(model.params, state, episodes.query.inputs)
        outputs = learner.query(model.params, state, episodes.query.inputs)[LOGITS][0, :, : made.shape.way]
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
    """One function, what is seen of it, and what is predicted after some steps."""
    (x, y), (grid, true) = episodes[:2]
    predicted, spread = {}, {}
    with torch.no_grad():
        for step, state in model.learner.points(model.params, episodes.support):
            if step in _DRAWN or step == made.adaptations[-1]:
                name = f"step {step}" if len(made.adaptations) > 1 else made.learner
                outputs = model.learner.query(model.params, state, grid)
                predicted[name] = outputs[VALUE][0].cpu().numpy()
                if SCALE in outputs:
                    spread[name] = outputs[SCALE][0].cpu().numpy()
    seen_x, seen_y, asked_x, asked_y = (each[0].cpu().numpy() for each in (x, y, grid, true))
    return regression_figure(
        seen_x,
        seen_y,
        asked_x,
        asked_y,
        predicted,
        title=_title(made),
        subtitle=f"one task, {made.shape.shot} points seen",
        deviations=spread,
    )
