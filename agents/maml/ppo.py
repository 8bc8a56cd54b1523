"""The PPO outer loop; with a KL penalty on the inner steps it is ProMP (Rothfuss et al. 2019, algorithm 1)."""

from typing import Any

import torch
from torch import Tensor

from metarl.adapt.gradient import meta_gradient
from metarl.agents.maml.learner import MAMLLearner
from metarl.agents.maml.outer import MetaBatch, adapted_outputs, kl
from metarl.agents.maml.surrogates import masked_mean
from metarl.distributions import ActionDistribution
from metarl.learner import Params


class PPO:
    """Adam on the clipped surrogate of the adapted policies, several epochs on each meta-batch."""

    def __init__(self, learner: MAMLLearner, params: Params) -> None:
        self.learner, self.config = learner, learner.config
        self.params = {name: value.clone().requires_grad_() for name, value in params.items()}
        self.optimizer = torch.optim.Adam(self.params.values(), lr=self.config.learning_rate)

    def update(self, data: MetaBatch, progress: float) -> tuple[Params, dict[str, float]]:
        """New parameters, and what to log. ``progress`` is the share of training that is done."""
        final = self.config.final_learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1 - (1 - final) * min(progress, 1.0))
        old = self._collected(data) if self.config.inner_kl else []
        logged: dict[str, float] = {}
        for _ in range(self.config.epochs):
            gradients, logged = meta_gradient(
                lambda params, rows: self._objective(params, data.rows(rows), old, rows),
                self.params,
                data.n_tasks,
                self.config.chunk,
            )
            for name, value in self.params.items():
                value.grad = gradients[name]
            self.optimizer.step()
        return {name: value.detach().clone() for name, value in self.params.items()}, logged

    def _collected(self, data: MetaBatch) -> list[ActionDistribution]:
        with torch.no_grad():
            outputs = adapted_outputs(self.learner, self.params, data)
        return [self.learner.distribution(output).detach() for output in outputs]

    def _objective(
        self, params: Params, data: MetaBatch, old: list[ActionDistribution], rows: slice
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each task row ``(task,)``."""
        outputs = adapted_outputs(self.learner, params, data)
        last = len(outputs) - 1
        scored = range(1, last + 1) if self.config.outer_steps == "each" and last else [last]
        total = torch.zeros(data.n_tasks, device=outputs[0][next(iter(outputs[0]))].device)
        clipped = torch.zeros_like(total)
        for k in scored:
            trajectory = data.trajectories[k]
            log_prob = self.learner.distribution(outputs[k]).log_prob(trajectory.action)
            ratio = torch.exp(log_prob - trajectory.record["log_prob"])
            bounded = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
            advantage = trajectory.record["advantage"]
            total = total - masked_mean(torch.minimum(ratio * advantage, bounded * advantage), trajectory.valid)
            outside = ((ratio - 1).abs() > self.config.clip).float().detach()
            clipped = clipped + masked_mean(outside, trajectory.valid) / len(scored)
        for k in range(last if old else 0):
            before = _rows(old[k], rows)
            penalty = kl(before, self.learner.distribution(outputs[k]), data.trajectories[k])
            total = total + self.config.inner_kl * penalty
        return total, {"clip_fraction": clipped}

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments, for an exact resume."""
        return {
            f"{slot}.{name}": self.optimizer.state[value][slot]
            for name, value in self.params.items()
            for slot in ("exp_avg", "exp_avg_sq", "step")
            if value in self.optimizer.state
        }

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        for name, value in self.params.items():
            if f"step.{name}" in saved:
                moments: dict[str, Any] = {
                    slot: saved[f"{slot}.{name}"].to(value.device) for slot in ("exp_avg", "exp_avg_sq")
                }
                # Adam counts its steps on the CPU.
                self.optimizer.state[value] = {**moments, "step": saved[f"step.{name}"]}


def _rows(distribution: ActionDistribution, rows: slice) -> ActionDistribution:
    return type(distribution)(*(value[rows] for value in vars(distribution).values()))
