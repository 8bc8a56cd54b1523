"""Evaluating the run of an agent: its seeds pooled, on the tasks of a split, beside the family's floor and optimum."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.parallel import TaskParallel
from metarl.core.process import log_mujoco_in
from metarl.evaluation.agent import held_out, score_agents
from metarl.evaluation.driver import Curve
from metarl.evaluation.probe import Beliefs, Probe, parameter_names, probe
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.scores_csv import scores_csv
from metarl.experiments.run import Run
from metarl.family.base import TaskFamily
from metarl.tasks import Tasks

_TASKS_DRAWN = 6


@dataclass(frozen=True)
class Paths:
    """The paths in the plane of a few tasks, for the picture."""

    positions: NDArray[np.float64]  # (step, task, env, time, 2), the start and the end included
    goals: NDArray[np.float64]  # (task, 2)
    valid: NDArray[np.bool_]  # (step, task, env, time)


class Outcome(NamedTuple):
    """The evaluation of a run, and what else was seen of it."""

    evaluation: Evaluation
    paths: Paths | None  # where the family lives in the plane
    beliefs: Beliefs | None  # of the first tasks, where the agent has any
    probe: Probe | None  # how well the tasks can be read from them


def evaluate_run(
    run: Run,
    split: str = "test",
    n_tasks: int | None = None,
    points: int | None = None,
    device: str = "cpu",
    *,
    deterministic: bool = True,
    ablation: str | None = None,
    quiet: bool = True,
    env_workers: int | None = None,
    parallel: TaskParallel | None = None,
) -> Outcome:
    """Score every seed of a run on held-out tasks, all on the same random streams, and so the floor and the optimum.

    Args:
        run: of an agent, its own or a published one.
        split: ``val``, ``test`` or ``ood``.
        n_tasks: as of ``held_out``.
        points: of the adaptation curve; the agent's own number unless given.
        device: to play on.
        deterministic: whether extra episodes without exploration noise are scored too.
        ablation: the driver's; it stands behind the agent's name, as in "rl2-wiped".
        quiet: whether no progress is shown.
        env_workers: as of ``TrainingOptions``.
        parallel: as of ``adaptation_curve``.
    """
    if split == "train":
        raise MetaRLError("Scores are of held-out tasks; choose --split val, test or ood.")
    family = run.family()
    tasks = held_out(family, split, n_tasks)
    made_of = run.fingerprint()
    agents = [run.trained(seed, device) for seed in run.seeds]
    if env_workers is not None:
        for agent in agents:
            agent.family.use_workers(env_workers)
    if run.keeps_evaluations and (parallel is None or parallel.leads):
        log_mujoco_in(run.path)
    for seed, agent in zip(run.seeds, agents, strict=True):
        run.warn_if_unfinished(seed, agent.num_timesteps)
    evaluation, curves = score_agents(
        agents,
        tasks,
        split,
        points=points,
        device=device,
        deterministic=deterministic,
        ablation=ablation,
        made_of=made_of,
        quiet=quiet,
        parallel=parallel,
    )
    beliefs = _beliefs(run.seeds, curves, tasks, agents[0].learner.gaussian_belief)
    read = None if beliefs is None else probe(beliefs)
    if read is not None:
        evaluation = replace(evaluation, extra={**evaluation.extra, **read.last})
    return Outcome(evaluation, _paths(family, tasks, curves[0]), beliefs, read)


def outcome_file(run: Run, evaluation: Evaluation, name: str, folder: Path | None = None) -> Path:
    """Return the path of one of an evaluation's files, such as "curve.png", in the run's folder or another.

    Those of an ablation lie beside the ordinary ones.
    """
    stem, suffix = name.split(".")
    ablated = evaluation.agent.removeprefix(run.label)
    return (run.path if folder is None else folder) / f"{stem}-{evaluation.split}{ablated}.{suffix}"


def save_outcome(run: Run, outcome: Outcome, folder: Path | None = None) -> list[Path]:
    """Write JSON and CSV, and beliefs with what a probe reads from them where there are any; returns the files.

    They go into the run's folder unless another is given. ``metarl.plotting.outcome`` draws the pictures.
    """
    evaluation, _, beliefs, read = outcome
    files = [outcome_file(run, evaluation, f"evaluation.{suffix}", folder) for suffix in ("json", "csv")]
    evaluation.save(files[0])
    write_atomic(files[1], scores_csv(evaluation))
    if beliefs is not None:
        files.append(outcome_file(run, evaluation, "beliefs.npz", folder))
        beliefs.save(files[-1])
    if read is not None:
        files.append(outcome_file(run, evaluation, "probe.csv", folder))
        write_atomic(files[-1], read.to_csv())
    return files


def saved_or_new_outcome(
    run: Run, split: str = "test", device: str = "cpu", *, quiet: bool = True
) -> tuple[Evaluation, Outcome | None]:
    """Return the saved evaluation of a run if it is of all tasks and of its checkpoints as they are, else a new one.

    A new one is saved, but not that of a published result, and comes with all that was seen.
    """
    saved = run.path / f"evaluation-{split}.json"
    if saved.exists():
        evaluation = Evaluation.load(saved)
        every = held_out(run.family(), split).vector
        points = run.new_model(run.seeds[0]).evaluation_points  # may depend on the family and the config
        current = run.check_evaluation(saved, evaluation.made_of)
        if current and np.array_equal(evaluation.task_vectors, every) and len(evaluation.episodes) == points:
            return evaluation, None
    outcome = evaluate_run(run, split, device=device, quiet=quiet)
    if run.keeps_evaluations:
        save_outcome(run, outcome)
    return outcome.evaluation, outcome


def distinct(evaluations: list[Evaluation], runs: list[Run]) -> list[Evaluation]:
    """Rename evaluations by run folder where two share an agent's name."""
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
