"""Evaluating a run folder: its seeds pooled, on the tasks of one split, beside the family's floor and optimum."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.process import log_mujoco_in
from metarl.evaluate.driver import Curve, adaptation_curve
from metarl.evaluate.probe import Beliefs, Probe, parameter_names, probe
from metarl.evaluate.references import reference_returns
from metarl.evaluate.scores import Evaluation
from metarl.evaluate.scores_csv import scores_csv
from metarl.evaluate.tables import title
from metarl.experiments.run import Run
from metarl.family.base import TaskFamily
from metarl.plotting.belief import belief_figure
from metarl.plotting.curves import curve_figure, overview_figure
from metarl.plotting.posterior import posterior_figure
from metarl.plotting.style import save_figure
from metarl.tasks import Tasks

_TASKS_DRAWN = 6


@dataclass(frozen=True)
class Paths:
    """Paths in the plane of a few tasks, for the picture."""

    positions: NDArray[np.float64]  # (step, task, env, time, 2), the start and the end included
    goals: NDArray[np.float64]  # (task, 2)
    valid: NDArray[np.bool_]  # (step, task, env, time)


class Outcome(NamedTuple):
    """What evaluating a run gives."""

    evaluation: Evaluation
    paths: Paths | None  # where the family lives in the plane
    beliefs: Beliefs | None  # of the first tasks, where the agent has any
    probe: Probe | None  # how well the tasks can be read from them


def evaluate_run(
    run: Run,
    split: str = "test",
    n_tasks: int | None = None,
    points: int | None = None,
    device: str | torch.device = "cpu",
    *,
    deterministic: bool = True,
    ablation: str | None = None,
) -> Outcome:
    """Score every seed of a run on the tasks of a split: ``val``, ``test`` or ``ood``.

    Every run plays the same random streams there, and so do the floor and the optimum.

    ``deterministic=False`` leaves out the extra episodes without exploration noise. An ``ablation`` is the
    driver's, and stands behind the agent's name: "rl2-wiped".
    """
    if split == "train":
        raise MetaRLError("Scores are of held-out tasks; choose --split val, test or ood.")
    family = run.family()
    tasks = held_out(family, split, n_tasks)
    made_of = run.fingerprint()
    curves, extras, agents = [], [], [run.trained(seed, device) for seed in run.seeds]
    if run.keeps_evaluations:
        log_mujoco_in(run.path)
    for seed, agent in zip(run.seeds, agents, strict=True):
        curve = adaptation_curve(
            agent.learner,
            agent.params,
            agent.family,  # an oracle's shows it the task
            tasks,
            points=agent.evaluation_points if points is None else points,
            n_envs=agent.n_envs,
            part=split,
            device=device,
            deterministic=deterministic,
            ablation=ablation,
        )
        curves.append(curve)
        extras.append(agent.describe(curve.states))
        run.warn_if_unfinished(seed, agent.num_timesteps, "steps")
    floor, optimum = (
        reference_returns(
            family,
            reference,
            tasks,
            part=split,
            episodes=range(len(curves[0].episodes)),
            n_envs=agents[0].n_envs,
            device=device,
        )
        for reference in (family.floor, family.optimum)
    )
    quiet = [curve.deterministic for curve in curves if curve.deterministic is not None]
    beliefs = _beliefs(run.seeds, curves, tasks, agents[0].learner.gaussian_belief)
    read = None if beliefs is None else probe(beliefs)
    extra = {name: float(np.mean([extra[name] for extra in extras])) for name in extras[0]}
    evaluation = Evaluation(
        agent=run.label if ablation is None else f"{run.label}-{ablation}",
        family=family.id,
        variant=family.variant,
        split=split,
        split_kind=family.splits.kind,
        seeds=run.seeds,
        episodes=curves[0].episodes,
        adaptations=curves[0].adaptations,
        returns=np.stack([curve.returns for curve in curves]),
        returns_deterministic=np.stack(quiet) if quiet else None,
        floor=floor,
        optimum=optimum,
        exact_optimum=family.exact_optimum,
        floor_name=family.floor or "",
        optimum_name=family.optimum or "",
        task_vectors=tasks.vector,
        steps=int(np.mean([agent.num_timesteps for agent in agents])),
        wall_seconds=float(np.mean([agent.wall_seconds for agent in agents])),
        extra=extra if read is None else {**extra, **read.last},
        trial=agents[0].n_envs == 1,
        made_of=made_of,
    )
    return Outcome(evaluation, _paths(family, tasks, curves[0]), beliefs, read)


def held_out(family: TaskFamily, split: str, n_tasks: int | None = None) -> Tasks:
    """The tasks of a split, or another number of them.

    A fresh split has as many test tasks as are asked for. Of every other part the first ``n_tasks`` are taken, for more
    of them would be tasks that the run was trained on.
    """
    if n_tasks is not None and n_tasks < 1:
        raise MetaRLError(f"--tasks {n_tasks}: it must be at least 1.")
    if n_tasks is not None and split == "test" and family.splits.kind == "fresh":
        return family.make_split(n_tasks).part(split)
    tasks = family.splits.part(split)
    if n_tasks is not None and n_tasks > len(tasks):
        raise MetaRLError(
            f"--tasks {n_tasks}: the {split} part of {family.name} has {len(tasks)} tasks; ask for fewer."
        )
    return tasks[:n_tasks]


def save_evaluation(run: Run, outcome: Outcome, folder: Path | None = None) -> list[Path]:
    """Write JSON, CSV and the curve; paths, beliefs and what a probe reads from them where there are any.

    They go into the run's folder unless another is given. Returns the files. Those of an ablation lie beside the
    ordinary ones.
    """
    evaluation, paths, beliefs, read = outcome
    files: list[Path] = []
    ablated = evaluation.agent.removeprefix(run.label)

    def file(name: str) -> Path:
        stem, suffix = name.split(".")
        files.append((run.path if folder is None else folder) / f"{stem}-{evaluation.split}{ablated}.{suffix}")
        return files[-1]

    evaluation.save(file("evaluation.json"))
    write_atomic(file("evaluation.csv"), scores_csv(evaluation))
    save_figure(curve_figure(evaluation), file("curve.png"))
    if paths is not None:
        picture = overview_figure(evaluation, paths.positions, paths.goals, paths.valid)
        save_figure(picture, file("overview.png"))
    if beliefs is not None:
        beliefs.save(file("beliefs.npz"))
    if beliefs is not None and read is not None:
        write_atomic(file("probe.csv"), read.to_csv())
        for name, picture in belief_figures(beliefs, read, title(evaluation)).items():
            save_figure(picture, file(name))
    return files


def belief_figures(beliefs: Beliefs, read: Probe, title: str) -> dict[str, Figure]:
    """Pictures of what an agent knows, by file name."""
    figures = {"belief.png": belief_figure(beliefs, read, title)}
    return {**figures, "posterior.png": posterior_figure(beliefs, title)} if beliefs.gaussian else figures


def evaluation_of(run: Run, split: str = "test", device: str | torch.device = "cpu") -> Evaluation:
    """The saved evaluation of a run if it is of all tasks and of its checkpoints as they are, else a new one, saved.

    Of a published result it is always a new one, and nothing is saved.
    """
    saved = run.path / f"evaluation-{split}.json"
    if saved.exists():
        evaluation = Evaluation.load(saved)
        every = held_out(run.family(), split).vector
        points = run.new_agent(run.seeds[0]).evaluation_points  # may depend on the family and the config
        current = run.check_evaluation(saved, evaluation.made_of)
        if current and np.array_equal(evaluation.task_vectors, every) and len(evaluation.episodes) == points:
            return evaluation
    outcome = evaluate_run(run, split, device=device)
    if run.keeps_evaluations:
        save_evaluation(run, outcome)
    return outcome.evaluation


def distinct(evaluations: list[Evaluation], runs: list[Run]) -> list[Evaluation]:
    """The same, named by run folder where two share an agent's name."""
    names = [evaluation.agent for evaluation in evaluations]
    return [
        replace(each, agent=f"{each.agent} ({run.path.name})") if names.count(each.agent) > 1 else each
        for each, run in zip(evaluations, runs, strict=True)
    ]


def _beliefs(seeds: tuple[int, ...], curves: list[Curve], tasks: Tasks, gaussian: bool) -> Beliefs | None:
    known = [curve.beliefs for curve in curves if curve.beliefs is not None]
    if not known:
        return None
    seen = tasks[: known[0].shape[1]]
    # Before each point, and after the last.
    counts = tuple(i * (curves[0].trajectories[0].n_envs) for i in range(len(curves[0].episodes) + 1))
    names = parameter_names(seen)
    values = np.stack(known)
    return Beliefs(values=values, episodes=counts, seeds=seeds, tasks=seen.vector, names=names, gaussian=gaussian)


def _paths(family: TaskFamily, tasks: Tasks, curve: Curve) -> Paths | None:
    goals = family.goals(tasks[:_TASKS_DRAWN])
    if goals is None:
        return None
    longest = max(t.n_steps for t in curve.trajectories) + 1
    # Behind the position there may be the task.
    positions, valid = [], []
    for trajectory in curve.trajectories:
        drawn = trajectory.tasks(slice(0, _TASKS_DRAWN))
        seen = (
            torch.cat([drawn.observation[:, :, 0, :1], drawn.next_observation()[:, :, 0]], 2)[..., :2].double().numpy()
        )
        real = torch.cat([drawn.valid[:, :, 0, :1], drawn.valid[:, :, 0]], 2).numpy()
        missing = longest - seen.shape[2]
        positions.append(np.pad(seen, ((0, 0), (0, 0), (0, missing), (0, 0))))
        valid.append(np.pad(real, ((0, 0), (0, 0), (0, missing))))
    return Paths(np.stack(positions), np.asarray(goals), np.stack(valid))
