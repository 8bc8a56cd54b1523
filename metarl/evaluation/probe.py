"""How well the task can be read from what an agent knows of it: probes of its belief, episode by episode.

A probe is a small regression from the belief to the true task parameters (Alain and Bengio 2016,
arxiv.org/abs/1610.01644). What it gets right on tasks that it was not fitted to is in the belief; what it misses may be
in there in a form that it cannot read.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.rows import Row, csv_of_rows
from metarl.evaluation.scores import evenly
from metarl.evaluation.statistics import Array
from metarl.tasks import Tasks

FOLDS = 5
FEWEST_TASKS = 2 * FOLDS  # a fold of one task says nothing
MOST_POINTS = 11  # probed, evenly chosen
PROBES = ("linear", "nonlinear")
_PENALTIES = np.logspace(-2, 4, 7)
_CENTRES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Beliefs:
    """The beliefs that each seed's agent had of every task after each number of episodes, and the tasks themselves."""

    values: NDArray[np.float32]  # (seed, point, task, d); hidden units of two seeds have nothing to do with each other
    episodes: tuple[int, ...]  # (point,) of interaction: 0 before any data
    seeds: tuple[int, ...]
    tasks: Array  # (task, parameter)
    names: tuple[str, ...]  # (parameter,)
    gaussian: bool = False  # whether values are a Gaussian's mean and log variance

    def __post_init__(self) -> None:
        wanted = (len(self.seeds), len(self.episodes), len(self.tasks))
        if self.values.ndim != 4 or self.values.shape[:3] != wanted:
            raise MetaRLError(f"beliefs of shape {self.values.shape}; (seed, point, task, d) with {wanted} is needed")
        if self.tasks.shape[1:] != (len(self.names),):
            raise MetaRLError(f"{len(self.names)} names for tasks of shape {self.tasks.shape}; give (task, parameter)")
        if not np.isfinite(self.values).all():
            raise MetaRLError("beliefs hold NaN or infinity; the agent has diverged: lower its step sizes")

    @property
    def varying(self) -> list[int]:
        """The parameters that are not the same in all tasks; of the others there is nothing to read."""
        return [i for i, column in enumerate(self.tasks.T) if np.ptp(column) > 0]

    def save(self, path: str | Path) -> None:
        """Write all arrays as .npz, which ``numpy.load`` reads without pickle."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            beliefs=self.values,
            episodes=np.array(self.episodes),
            seeds=np.array(self.seeds),
            tasks=self.tasks,
            names=np.array(self.names),
        )
        write_atomic(path, content.getvalue())


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """The cross-validated R² of each probe: 1 where a parameter is read exactly, about 0 where not at all."""

    episodes: tuple[int, ...]  # (point,)
    seeds: tuple[int, ...]
    names: tuple[str, ...]  # (parameter,) those that vary
    r2: Mapping[str, Array]  # of each of PROBES, (seed, point, parameter)

    @property
    def last(self) -> dict[str, float]:
        """The mean R² of each probe over seeds and parameters, after the last episode, by its name in tables."""
        after = f"probe R² episode {self.episodes[-1]}"
        return {
            (after if name == "linear" else f"{name} {after}"): float(r2[:, -1].mean()) for name, r2 in self.r2.items()
        }

    def to_csv(self) -> str:
        """Write one row for each seed, number of episodes and parameter."""
        rows: list[Row] = []
        for i, j, k in np.ndindex(self.r2[PROBES[0]].shape):
            place = {"seed": self.seeds[i], "episodes": self.episodes[j], "parameter": self.names[k]}
            rows.append({**place, **{name: float(self.r2[name][i, j, k]) for name in PROBES}})
        return csv_of_rows(rows)


def parameter_names(tasks: Tasks) -> tuple[str, ...]:
    """Return a name for each number of ``tasks.vector``: "velocity", "goal[0]", "goal[1]"."""
    names = []
    for name, value in tasks.values.items():
        shape = value.shape[1:]
        names += [name + (f"[{','.join(map(str, index))}]" if shape else "") for index in np.ndindex(shape)]
    return tuple(names)


def probe(beliefs: Beliefs) -> Probe | None:
    """Score probes by ``FOLDS``-fold cross-validation over tasks, after at most MOST_POINTS numbers of episodes.

    The linear probe is a ridge regression, the nonlinear one the same on radial basis functions around some of the
    tasks' beliefs; both choose their own penalty. A parameter of few values, such as a sign, is read as a number like
    any other. None where there are fewer than FEWEST_TASKS tasks, or where they are all alike.
    """
    if len(beliefs.tasks) < FEWEST_TASKS or not beliefs.varying:
        return None
    points = evenly(range(len(beliefs.episodes)), MOST_POINTS)
    true = beliefs.tasks[:, beliefs.varying]
    r2 = {
        name: np.array([[_r2(_regression(name, len(true)), seen[point], true) for point in points] for seen in values])
        for name, values in ((name, beliefs.values) for name in PROBES)
    }
    return Probe(
        episodes=tuple(beliefs.episodes[point] for point in points),
        seeds=beliefs.seeds,
        names=tuple(beliefs.names[i] for i in beliefs.varying),
        r2=r2,
    )


def linear_reading(beliefs: Beliefs) -> tuple[str, Array, Array, Array]:
    """Read the parameter that the first seed's Gaussian beliefs tell best off them.

    Returns its name and true values ``(task,)``; mean and standard deviation ``(point, task)`` of every belief through
    the linear map that fits the last means best.
    """
    from sklearn.linear_model import RidgeCV

    mean, log_variance = np.split(np.asarray(beliefs.values[0], dtype=np.float64), 2, axis=-1)
    scale = np.maximum(mean[-1].std(axis=0), 1e-12)  # or a penalty would flatten what a narrow latent tells
    mean, log_variance = mean / scale, log_variance - 2 * np.log(scale)
    fits = [RidgeCV(alphas=_PENALTIES).fit(mean[-1], beliefs.tasks[:, i]) for i in beliefs.varying]
    scores = [fit.score(mean[-1], beliefs.tasks[:, i]) for fit, i in zip(fits, beliefs.varying, strict=True)]
    best, i = fits[int(np.argmax(scores))], beliefs.varying[int(np.argmax(scores))]
    read = mean @ best.coef_ + best.intercept_
    return beliefs.names[i], beliefs.tasks[:, i], read, np.sqrt(np.exp(log_variance) @ best.coef_**2)


# scikit-learn is imported in the functions: it takes a second, and few agents have beliefs to read.


def _regression(name: str, n_tasks: int) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps: list[object] = [StandardScaler()]
    if name == "nonlinear":
        # As many centres as the smallest training set has tasks, at most.
        steps.append(Nystroem(n_components=min(_CENTRES, n_tasks - -(-n_tasks // FOLDS)), random_state=0))
    return make_pipeline(*steps, RidgeCV(alphas=_PENALTIES, alpha_per_target=True))


def _r2(regression: Any, belief: NDArray[np.float32], true: Array) -> Array:
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(FOLDS, shuffle=True, random_state=0)  # a split may list its tasks in order
    # Standardised, so that all parameters share one range of penalties.
    target = (true - true.mean(axis=0)) / true.std(axis=0)
    guess = cross_val_predict(regression, belief.astype(np.float64), target, cv=folds)
    return np.asarray(r2_score(target, guess.reshape(target.shape), multioutput="raw_values"))
