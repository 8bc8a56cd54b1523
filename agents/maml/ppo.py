"""The outer loop of MAML by PPO; with a KL penalty on the inner steps it is ProMP."""

from collections.abc import Mapping

import torch
from torch import Tensor

from metarl.adapt.gradient import meta_gradient
from metarl.agents.maml.learner import MAMLLearner
from metarl.agents.maml.outer import Blocks, MetaBatch, adapted_outputs, kl
from metarl.core.distributions import ActionDistribution
from metarl.core.losses import clipped_surrogate, masked_mean
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.parallel import TaskParallel
from metarl.core.types import Params


class PPO:
    """Trains the meta-parameters by Adam on the clipped surrogate of the adapted policies, in several epochs.

    Schulman et al. 2017, equation 7; with ``inner_kl`` ProMP (Rothfuss et al. 2019, algorithm 1).
    """

    def __init__(self, learner: MAMLLearner, params: Params) -> None:
        self.learner, self.config = learner, learner.config
        self.adam = Adam(params, self.config.learning_rate)

    def update(
        self, data: MetaBatch | Blocks, progress: float, parallel: TaskParallel | None = None
    ) -> tuple[Params, dict[str, float]]:
        """Return new parameters, and what to log; ``progress`` is the share of training that is done."""
        parallel = parallel or TaskParallel()
        config = self.config
        self.adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
        blocks = parallel.rows(data.n_tasks) if config.inner_kl else []
        old = {block.start: self._collected(data.rows(block)) for block in blocks}
        logged: dict[str, float] = {}
        for _ in range(config.epochs):
            gradients, logged = meta_gradient(
                lambda params, rows: self._objective(params, data.rows(rows), old, rows.start),
                self.adam.params,
                data.n_tasks,
                config.chunk,
                parallel,
            )
            self.adam.step(gradients)
        return self.adam.values(), logged

    def _collected(self, data: MetaBatch) -> list[ActionDistribution]:
        with torch.no_grad():
            outputs = adapted_outputs(self.learner, self.adam.params, data)
        return [self.learner.distribution(output).detach() for output in outputs]

    def _objective(
        self, params: Params, data: MetaBatch, collected: Mapping[int, list[ActionDistribution]], row: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the clipped fraction of each task row, ``(task,)``.

        Args:
            params: at which they are taken.
            data: some tasks of a block.
            collected: policies that collected each block, by its first task row, where the KL to them is penalised.
            row: the number of the first task.
        """
        outputs = adapted_outputs(self.learner, params, data)
        last = len(outputs) - 1
        scored = range(1, last + 1) if self.config.outer_steps == "each" and last else [last]
        total = torch.zeros(data.n_tasks, device=outputs[0][next(iter(outputs[0]))].device)
        clipped = torch.zeros_like(total)
        for k in scored:
            trajectory = data.trajectories[k]
            policy = self.learner.distribution(outputs[k])
            log_prob = policy.log_prob(trajectory.action)
            gain, outside = clipped_surrogate(
                log_prob, trajectory.record["log_prob"], trajectory.record["advantage"], self.config.clip
            )
            total = total - masked_mean(gain, trajectory.valid)
            if self.config.entropy_coef:
                total = total - self.config.entropy_coef * masked_mean(policy.entropy(), trajectory.valid)
            clipped = clipped + masked_mean(outside.float(), trajectory.valid) / len(scored)
        first = max((start for start in collected if start <= row), default=0)
        rows = slice(row - first, row - first + data.n_tasks)
        for k in range(last if collected else 0):
            penalty = kl(collected[first][k].tasks(rows), self.learner.distribution(outputs[k]), data.trajectories[k])
            total = total + self.config.inner_kl * penalty
        return total, {"clip_fraction": clipped}

    def state_dict(self) -> dict[str, Tensor]:
        """Return Adam's moments, for an exact resume."""
        return self.adam.state_dict()

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        self.adam.load_state_dict(saved)
