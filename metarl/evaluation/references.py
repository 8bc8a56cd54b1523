"""Reference policies on the tasks that agents are scored on: as floor and optimum, and as rows beside agents."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.core.parallel import TaskParallel
from metarl.core.types import Params
from metarl.evaluation.driver import adaptation_curve, chunk_of, evaluation_keys, mean_returns
from metarl.evaluation.scores import Evaluation
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import privileged_params
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks


@torch.no_grad()
def reference_returns(
    family: TaskFamily,
    reference: str | None,
    tasks: Tasks,
    *,
    part: str = "test",
    episodes: Sequence[int],
    n_envs: int = 1,
    device: torch.device | str = "cpu",
    parallel: TaskParallel | None = None,
) -> NDArray[np.float64] | None:
    """Return the returns ``(episode, task)`` of a reference policy where agents are scored; None for no policy.

    It plays the very environments and random streams of the agents' scored episodes, each as if it were its first: it
    remembers nothing of the earlier ones.

    Args:
        tasks: the first ones of a ``part`` of the split.
        episodes: the numbers of the episodes, which are the points of an agent's curve.
        n_envs: environments of a task, over which the mean is taken.
        device: to play on.
        parallel: as of ``adaptation_curve``.
    """
    if reference is None:
        return None
    learner = family.reference_policies()[reference]
    keys = evaluation_keys(family, part, len(tasks), n_envs)
    chunk = chunk_of(family, n_envs)
    parts, firsts, shared = [], range(0, len(tasks), chunk), parallel or TaskParallel()
    for first in [first for chunks in shared.rows(len(firsts)) for first in firsts[chunks]]:
        some = tasks[first : first + chunk].repeat(n_envs)
        batch = family.batch(some, keys[first * n_envs : first * n_envs + len(some)], device)
        params = privileged_params_on(device)(some)
        start = learner.initial(params, len(some))
        played = [
            rollout(learner, params, start, batch, n_envs=1, first_episode=number)[0].returns for number in episodes
        ]
        means = np.stack([mean_returns(returns.reshape(-1, n_envs, 1)) for returns in played])
        parts.append({"returns": torch.from_numpy(means)})
    return np.concatenate([part["returns"].cpu().numpy() for part in shared.gather(parts, "references")], axis=1)


def privileged_params_on(device: torch.device | str) -> Callable[[Tasks], Params]:
    """Return ``privileged_params`` on a device."""
    return lambda tasks: {name: value.to(device) for name, value in privileged_params(tasks).items()}


def check_reference_policies(names: Sequence[str], family: TaskFamily) -> None:
    """Raise for names that are not reference policies of the family, with those that are."""
    known = family.reference_policies()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MetaRLError(
            f"{family.name} has no reference policy {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(known) or 'none'}."
        )


def reference_evaluations(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    family: TaskFamily,
    tasks: Tasks,
    device: torch.device | str = "cpu",
) -> list[Evaluation]:
    """Score a family's reference policies on the tasks of agents' evaluations, after as many episodes as the agents.

    They are played by the agents' own driver, as the online learners that they are, on the same random streams as the
    agents; nothing is known of seeds. Their episode n is number n of its environment's streams, as it is of an agent
    that has one environment a task.
    """
    check_reference_policies(names, family)
    like = evaluations[0]
    wanted = sorted({count for each in evaluations for count in each.episodes})
    floor, optimum = (
        reference_returns(family, name, tasks, part=like.split, episodes=wanted, device=device)
        for name in (family.floor, family.optimum)
    )
    lasting = copy(family)
    lasting.episodes_per_trial = wanted[-1] + 1  # Gittins plans for as many pulls as there are
    reference_policies = lasting.reference_policies()
    found = []
    for name in dict.fromkeys(names):
        curve = adaptation_curve(
            reference_policies[name],
            privileged_params_on(device),
            family,
            tasks,
            points=wanted[-1] + 1,
            part=like.split,
            device=device,
            deterministic=False,
        )
        found.append(
            replace(
                like,
                agent=f"{name} (reference policy)",
                seeds=(0,),
                episodes=tuple(wanted),
                adaptations=tuple(wanted),
                returns=curve.returns[None, wanted],
                returns_deterministic=None,
                floor=floor,
                optimum=optimum,
                steps=0,
                wall_seconds=0.0,
                extra={},
                trial=wanted == list(range(len(wanted))),
                reference=True,
            )
        )
    return found
