"""The returns that a family's reference policies earn on given tasks."""

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import privileged_params
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks


def policy_returns(
    family: TaskFamily, name: str, tasks: Tasks, *, episodes: int = 1, repeats: int = 1, seed: int = 0
) -> NDArray[np.float64]:
    """Return a reference policy's mean returns ``(task, episode)`` over ``repeats`` independent trials of each task.

    Every reference policy of a family meets the same starts and random streams. Scores are not made of this: their
    references play the agents' own streams (``metarl.evaluation.references``).
    """
    reference_policies = family.reference_policies()
    if name not in reference_policies:
        raise MetaRLError(
            f"{family.name} has no reference policy {name!r}; it has {', '.join(reference_policies) or 'none'}."
        )
    every = tasks.repeat(repeats)
    batch = family.batch(every, stream_keys(len(every), "player", family.name, seed))
    params = privileged_params(every)
    reference = reference_policies[name]
    trajectory, _ = rollout(
        reference, params, reference.initial(params, len(every)), batch, n_envs=1, episodes=episodes
    )
    returns = trajectory.returns[:, 0].double().unflatten(0, (len(tasks), repeats)).mean(1)
    return np.asarray(returns.numpy())
