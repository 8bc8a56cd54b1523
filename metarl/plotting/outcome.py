"""All figures of an agent's evaluation: its curve, its paths in the plane, and what it knows of its tasks."""

from pathlib import Path

from matplotlib.figure import Figure

from metarl.evaluation.outcome import Outcome, outcome_file
from metarl.evaluation.tables import title
from metarl.experiments.run import Run
from metarl.plotting.belief import belief_figure, posterior_figure
from metarl.plotting.curves import curve_figure, overview_figure
from metarl.plotting.style import save_figure


def outcome_figures(outcome: Outcome) -> dict[str, Figure]:
    """Draw every figure that an outcome has something for, by name: curve, overview, belief, posterior."""
    evaluation, paths, beliefs, read = outcome
    figures = {"curve": curve_figure(evaluation)}
    if paths is not None:
        figures["overview"] = overview_figure(evaluation, paths.positions, paths.goals, paths.valid)
    if beliefs is not None and read is not None:
        figures["belief"] = belief_figure(beliefs, read, title(evaluation))
        if beliefs.gaussian:
            figures["posterior"] = posterior_figure(beliefs, title(evaluation))
    return figures


def save_outcome_figures(run: Run, outcome: Outcome, folder: Path | None = None) -> list[Path]:
    """Write every figure of an outcome beside the files of ``save_outcome``; returns them."""
    files = []
    for name, figure in outcome_figures(outcome).items():
        files.append(outcome_file(run, outcome.evaluation, f"{name}.png", folder))
        save_figure(figure, files[-1])
    return files
