"""Evaluating an agent in Python: what ``metarl evaluate`` does for a run's seeds, for one agent at hand."""

from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.evaluate.driver import adaptation_curve
from metarl.evaluate.references import reference_returns
from metarl.evaluate.run import held_out
from metarl.evaluate.scores import Evaluation


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
    family = agent.family
    chosen = held_out(family, split, tasks)
    curve = adaptation_curve(
        agent.learner,
        agent.params,
        family,
        chosen,
        points=points,
        n_envs=n_envs,
        part=split,
        device=agent.device,
        deterministic=deterministic,
        context=agent.rollouts,
    )
    floor, optimum = (
        reference_returns(
            family, name, chosen, part=split, episodes=range(points), n_envs=n_envs, device=str(agent.device)
        )
        for name in (family.floor, family.optimum)
    )
    return Evaluation(
        agent=agent.label(agent.config),
        family=family.id,
        variant=family.variant,
        split=split,
        split_kind=family.splits.kind,
        seeds=(agent.seed,),
        episodes=curve.episodes,
        adaptations=curve.adaptations,
        returns=curve.returns[None],
        returns_deterministic=None if curve.deterministic is None else curve.deterministic[None],
        floor=floor,
        optimum=optimum,
        exact_optimum=family.exact_optimum,
        floor_name=family.floor or "",
        optimum_name=family.optimum or "",
        task_vectors=chosen.vector,
        steps=agent.num_timesteps,
        wall_seconds=agent.wall_seconds,
        extra=agent.describe(curve.states),
        trial=n_envs == 1,
    )
