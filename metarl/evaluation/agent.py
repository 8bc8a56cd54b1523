"""Scoring agents on held-out tasks: seeds of a run together, or one agent that is at hand in Python."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.parallel import TaskParallel
from metarl.evaluation.driver import Curve, adaptation_curve, chunk_of
from metarl.evaluation.references import reference_returns
from metarl.evaluation.scores import Evaluation
from metarl.experiments.progress import Reporter
from metarl.family.base import TaskFamily
from metarl.family.views.single import TaskEnv
from metarl.tasks import Tasks


def evaluate(
    agent: Algorithm,
    split: str = "test",
    tasks: int | None = None,
    episodes: int | None = None,
    *,
    deterministic: bool = True,
) -> Evaluation:
    """Return what an agent earns on held-out tasks, point by point of its adaptation.

    Floor and optimum of the family play the same tasks and random streams, so that scores can be normalised.

    Args:
        agent: trained, or loaded from a file.
        split: ``"val"``, ``"test"`` or ``"ood"``.
        tasks: how many of its tasks; all unless given.
        episodes: of interaction before the last scored ones, a multiple of those between two adaptations; the agent's
            own number unless given.
        deterministic: whether extra episodes without exploration noise are scored too, which takes twice the time.

    Returns:
        an ``Evaluation``; its ``returns`` are ``(1, point, task)``, and ``episodes`` what each point has seen.
    """
    if split == "train":
        raise MetaRLError("Scores are of held-out tasks; choose split 'val', 'test' or 'ood'.")
    n_envs, points = agent.n_envs, agent.evaluation_points
    if episodes is not None:
        if episodes < 0 or episodes % n_envs:
            raise MetaRLError(f"episodes={episodes}: this agent adapts to {n_envs} at a time; give a multiple of that.")
        points = episodes // n_envs + 1
    chosen, device = held_out(agent.family, split, tasks), str(agent.device)
    return score_agents([agent], chosen, split, points=points, device=device, deterministic=deterministic)[0]


def score_agents(
    agents: Sequence[Algorithm],
    tasks: Tasks,
    split: str,
    *,
    points: int | None = None,
    n_envs: int | None = None,
    ends: tuple[str, str] | None = None,
    device: str = "cpu",
    deterministic: bool = True,
    ablation: str | None = None,
    made_of: str = "",
    quiet: bool = True,
    parallel: TaskParallel | None = None,
) -> tuple[Evaluation, list[Curve]]:
    """Score agents that differ in their seed on the same tasks, beside the family's floor and optimum.

    Args:
        agents: one for each seed.
        tasks: of the split.
        split: that they are of; every evaluation plays the same random streams there.
        points: of the adaptation curve; the agents' own number unless given.
        n_envs: episodes of a point, side by side; as many as the agents adapt to unless given.
        ends: the reference policies that are floor and optimum; the family's own unless given.
        device: to play on.
        deterministic: whether extra episodes without exploration noise are scored too.
        ablation: the driver's; it stands behind the agent's name, as in "rl2-wiped".
        made_of: the fingerprint of the checkpoints.
        quiet: whether no progress is shown.
        parallel: as of ``adaptation_curve``.
    """
    first, curves, extras = agents[0], [], []
    points = first.evaluation_points if points is None else points
    n_envs = first.n_envs if n_envs is None else n_envs
    total = max(1, points * math.ceil(len(tasks) / chunk_of(first.family, n_envs)))
    names = {i: f"seed {agent.seed}" for i, agent in enumerate(agents)}
    with Reporter(names, total, "points", quiet=quiet) as reporter:
        for i, agent in enumerate(agents):
            curve = adaptation_curve(
                agent.learner,
                agent.params,
                agent.family,  # an oracle's shows it the task
                tasks,
                points=points,
                n_envs=n_envs,
                part=split,
                device=device,
                deterministic=deterministic,
                ablation=ablation,
                context=agent.rollouts,
                report=partial(reporter, i),
                parallel=parallel,
            )
            curves.append(curve)
            extras.append(agent.describe(curve.states) | _success(curve))
    family, episodes = first.family, range(len(curves[0].episodes))
    place: dict[str, Any] = {"part": split, "n_envs": n_envs, "device": device, "parallel": parallel}
    names_of_ends = (family.floor, family.optimum) if ends is None else ends
    floor, optimum = (reference_returns(family, name, tasks, episodes=episodes, **place) for name in names_of_ends)
    noiseless = [curve.deterministic for curve in curves if curve.deterministic is not None]
    label = first.label(first.config)
    evaluation = Evaluation(
        agent=label if ablation is None else f"{label}-{ablation}",
        family=family.id,
        variant=family.variant,
        split=split,
        split_kind=family.splits.kind,
        seeds=tuple(agent.seed for agent in agents),
        episodes=curves[0].episodes,
        adaptations=curves[0].adaptations,
        returns=np.stack([curve.returns for curve in curves]),
        returns_deterministic=np.stack(noiseless) if noiseless else None,
        floor=floor,
        optimum=optimum,
        exact_optimum=family.exact_optimum,
        floor_name=names_of_ends[0] or "",
        optimum_name=names_of_ends[1] or "",
        task_vectors=tasks.vector,
        steps=int(np.mean([agent.num_timesteps for agent in agents])),
        wall_seconds=float(np.mean([agent.wall_seconds for agent in agents])),
        extra={name: float(np.mean([each[name] for each in extras if name in each])) for name in extras[0]},
        trial=n_envs == 1,
        made_of=made_of,
    )
    return evaluation, curves


def adapted_to(agent: Algorithm, split: str = "test", task: int = 0, episodes: int | None = None) -> AdaptedPolicy:
    """Return an agent's policy once it has adapted to a held-out task.

    Args:
        agent: trained.
        split: ``"val"``, ``"test"`` or ``"ood"``.
        task: the number of its task.
        episodes: of it; unless given, those between two adaptations, and none where the agent learns while it acts.
    """
    tasks = held_out(agent.family, split)
    if not 0 <= task < len(tasks):
        raise MetaRLError(f"--task {task}: the {split} part has {len(tasks)} tasks; choose 0 to {len(tasks) - 1}.")
    number = episodes if episodes is not None else 0 if agent.learner.online else agent.n_envs
    return agent.adapt(TaskEnv(agent.family, task=tasks[task]), number) if number else agent.policy()


def _success(curve: Curve) -> dict[str, float]:
    """Return by point the share of episodes with a success in one of their steps, and what those earn on average.

    So search and precision are told apart. Nothing where the family tells of no success.
    """
    found: dict[str, float] = {}
    for episodes, trajectory in zip(curve.episodes, curve.trajectories, strict=False):
        if "success" in trajectory.extras:
            done = ((trajectory.extras["success"] > 0) & trajectory.valid).any(-1)
            found[f"success_{episodes}"] = float(done.double().mean())
            if bool(done.any()):
                found[f"return_with_success_{episodes}"] = float(trajectory.returns[done].double().mean())
    return found


def held_out(family: TaskFamily, split: str, n_tasks: int | None = None) -> Tasks:
    """Return the tasks of a split, or another number of them.

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
