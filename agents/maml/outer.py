"""What both outer loops need: a collected meta-batch, and its chain of adaptations as a function of the parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.agents.maml.learner import MAMLLearner
from metarl.core.distributions import ActionDistribution
from metarl.core.losses import masked_mean
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params
from metarl.rollout.batch import Batch
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout


@dataclass(frozen=True)
class MetaBatch:
    """Trajectories of a batch of tasks, of which item k was collected after k adaptations and has its advantage."""

    trajectories: tuple[Trajectory, ...]

    @property
    def n_tasks(self) -> int:
        """Number of task rows."""
        return self.trajectories[0].n_tasks

    def rows(self, rows: slice) -> "MetaBatch":
        """Return the meta-batch of some of the tasks."""
        return MetaBatch(tuple(trajectory.tasks(rows) for trajectory in self.trajectories))


@dataclass(frozen=True)
class Blocks:
    """The blocks of a meta-batch that this process has, by the number of their first task row.

    Each is kept as it was collected: padded to the longest episode of all, its sums would round otherwise.
    """

    n_tasks: int  # of the whole meta-batch
    parts: Mapping[int, MetaBatch]

    def rows(self, rows: slice) -> MetaBatch:
        """Return the meta-batch of some tasks of one block."""
        first = max(start for start in self.parts if start <= rows.start)
        return self.parts[first].rows(slice(rows.start - first, rows.stop - first))


@torch.no_grad()
def collect(learner: MAMLLearner, params: Params, batch: Batch, context: RolloutContext | None = None) -> MetaBatch:
    """Collect a meta-batch: roll out, then adapt and roll out again, ``inner_steps`` times.

    ``batch`` has ``episodes`` environments for each task, side by side.
    """
    n_envs = learner.config.episodes
    state = learner.initial(params, batch.num_envs // n_envs)
    trajectories = []
    for k in range(learner.config.inner_steps + 1):
        trajectory, _ = rollout(learner, params, state, batch, n_envs=n_envs, first_episode=k, context=context)
        trajectories.append(learner.with_advantage(params, trajectory))
        if k < learner.config.inner_steps:
            state = learner.adapt(params, state, trajectories[-1])
    return MetaBatch(tuple(trajectories))


def adapted_outputs(learner: MAMLLearner, params: Params, data: MetaBatch) -> list[Outputs]:
    """Return the policy's outputs on each trajectory, at the parameters to which adapting from ``params`` leads.

    They are differentiable in ``params`` through every inner step.
    """
    state = learner.initial(params, data.n_tasks)
    outputs = []
    for trajectory in data.trajectories[:-1]:
        state, before = learner.adapt_and_replay(params, state, trajectory)
        outputs.append(before)
    outputs.append(learner.replay(params, state, data.trajectories[-1])[0])
    return outputs


def kl(old: ActionDistribution, new: ActionDistribution, trajectory: Trajectory) -> Tensor:
    """Return the mean KL(old || new) over the valid steps of each task, ``(task,)``."""
    return masked_mean(old.kl_to(new), trajectory.valid)
