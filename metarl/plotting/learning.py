"""The learning curve of a run, of an agent or of a few-shot learner."""

import csv

from matplotlib.figure import Figure

from metarl.experiments.logs import STEPS
from metarl.experiments.run_folder import RunFolder
from metarl.plotting.curves import learning_figure

_OF_LEARNERS = ("train/accuracy", "train/loss")  # the first that is logged


def learning_of(run: RunFolder) -> Figure:
    """Draw what a run logged while it was trained: an agent's returns, a learner's accuracy or else its loss."""
    logs = [run.progress(seed) for seed in run.seeds]
    with logs[0].open(newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    returns = [name for name in columns if name.startswith("rollout/return")]
    if returns:
        return learning_figure(logs, steps=STEPS, returns=returns)
    shown = next(name for name in _OF_LEARNERS if name in columns)
    return learning_figure(logs, steps=STEPS, returns=[shown], labels=("iterations", shown.removeprefix("train/")))
