"""Pictures of trust: how often predictions are right by how sure they are, and scores by the number of samples."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.fewshot_trust import Calibration, labelled
from metarl.fewshot.measures import MSE, PERCENT, RMSE
from metarl.plotting.charts import Line, lines_figure
from metarl.plotting.style import AGENTS, DASHES, MUTED, framed_figure, heading, key


def reliability_figure(made: Calibration, *, title: str) -> Figure:
    """Draw the share of right predictions by their confidence, before and after the temperature."""
    figure, axes = framed_figure("confidence, %", "right, %")
    axes.plot([0, PERCENT], [0, PERCENT], color=MUTED, linestyle=DASHES, linewidth=1.2)
    ends = {}
    for name, each, colour in (("before", made.before, AGENTS[1]), ("after", made.after, AGENTS[0])):
        x, y = PERCENT * each.confidence, PERCENT * each.accuracy
        axes.plot(x, y, color=colour, linewidth=2, label=name)
        axes.scatter(x, y, s=12 + 300 * each.share, color=colour, alpha=0.6, linewidths=0, clip_on=False)
        ends[name] = float(y[-1])
    axes.set(xlim=(0, PERCENT + 2), ylim=(0, PERCENT + 2))
    key(axes, ends)
    errors = f"expected error {PERCENT * made.before.error:.1f}, after {PERCENT * made.after.error:.1f} points"
    heading(
        figure, title, axes, f"temperature {made.temperature:.2f}; {errors}; the larger a point, the more predictions"
    )
    return figure


def shots_figure(evaluations: Sequence[FewShotEvaluation]) -> Figure:
    """Draw accuracy, or error, by how many samples are labelled: of each class, or in all."""
    first = evaluations[0]
    line = Line([labelled(each) for each in evaluations], [each.at(each.adaptations[-1]) for each in evaluations])
    x_label = "labelled samples of each class" if first.spec.support is None else "labelled samples"
    if first.spec.way == 1:
        x_label = "labelled samples"
    size = f"{first.values.shape[2]} episodes of the {first.split} split, 95% interval"
    labels = {"x_label": x_label, "y_label": words_of_measure(first)}
    ways = "" if first.spec.way == 1 else f", {first.spec.way} ways"
    return lines_figure(
        {first.called: line}, title=f"{first.called} on {first.dataset}{ways}", subtitle=size, **labels
    )[0]


def words_of_measure(made: FewShotEvaluation) -> str:
    """Return what an axis says of an evaluation's measure."""
    return {MSE: "mean squared error", RMSE: "root mean squared error"}.get(made.measure, f"{made.measure}, %")
