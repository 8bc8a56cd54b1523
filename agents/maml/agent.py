"""The agent MAML."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from metarl.agents.maml.config import PRESETS, USES, MAMLConfig
from metarl.agents.maml.learner import LOG_STD, MAMLLearner
from metarl.agents.maml.outer import Blocks, MetaBatch, collect
from metarl.agents.maml.ppo import PPO
from metarl.agents.maml.trpo import TRPO
from metarl.algorithm.algorithm import Algorithm
from metarl.core.normalisation import trained
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State
from metarl.tasks import Tasks

_STEPS, _RETURN = "steps.", "return."


class MAML(Algorithm):
    """Learns initial parameters from which few policy-gradient steps adapt to a task: MAML-RL (Finn et al. 2017).

    Presets: ``default``, our recipe of three inner steps with learned step sizes; ``locomotion``, the same for MuJoCo
    families; ``trpo``, MAML-TRPO as pytorch-maml-rl has it, and ``trpo-subsampled`` with a quarter of the states in its
    curvature; ``promp`` (Rothfuss et al. 2019).
    """

    name = "maml"
    adapts_by = "gradient steps"
    in_blocks = True
    config_class = MAMLConfig
    presets: ClassVar[Mapping[str, MAMLConfig]] = PRESETS
    uses: ClassVar[Mapping[str, tuple[str, float]]] = USES
    config: MAMLConfig
    learner: MAMLLearner

    def build_learner(self) -> MAMLLearner:
        return MAMLLearner(self.family.observation_space, self.family.action_space, self.config)

    def init_params(self, generator: torch.Generator) -> Params:
        return self.learner.init(generator)

    @property
    def n_envs(self) -> int:
        return self.config.episodes

    @cached_property
    def outer(self) -> PPO | TRPO:
        """The outer loop's optimiser, made when training begins."""
        return (PPO if self.config.outer == "ppo" else TRPO)(self.learner, trained(self.params))

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        n_tasks, n_envs = self.config.tasks, self.config.episodes
        tasks = self.family.splits.train(stream_keys(n_tasks, self.seed, "task", self.iteration))
        keys = stream_keys(n_tasks * n_envs, self.seed, "train", self.iteration)
        data = Blocks(n_tasks, {rows.start: self._collect(tasks, keys, rows) for rows in self.parallel.rows(n_tasks)})
        played = [part.trajectories for part in data.parts.values()]
        kept = self.learner.update_baseline(self.params, played, self.parallel)
        values, logged = self.outer.update(data, self.progress, self.parallel)
        self.params = {**values, **kept}
        every = self.parallel.rejoin(
            [{f"{what}{k}": x for k, t in enumerate(each) for what, x in _summary(t).items()} for each in played],
            "returns",
        )
        steps = sum(int(value.sum()) for name, value in every.items() if name.startswith(_STEPS))
        metrics = {
            f"rollout/return_step_{k}": float(every[f"{_RETURN}{k}"].mean()) for k in range(self.config.inner_steps + 1)
        }
        metrics |= {f"train/{name}": value for name, value in logged.items()}
        if LOG_STD in self.params:
            metrics["train/std"] = float(self.params[LOG_STD].exp().mean())
        return steps, metrics

    def _collect(self, tasks: Tasks, keys: Tensor, rows: slice) -> MetaBatch:
        """Collect a block of an iteration's tasks."""
        n = self.n_envs
        own = keys[rows.start * n : rows.stop * n]
        return collect(
            self.learner, self.params, self.family.batch(tasks[rows].repeat(n), own, self.device), self.rollouts
        )

    def describe(self, states: Sequence[State]) -> dict[str, float]:
        """Return the mean standard deviation of the actions, in the policy's [-1, 1], at each point of the curve."""
        if not self.learner.actions.axes:
            return {}
        return {f"sd step {k}": float(state[LOG_STD].exp().mean()) for k, state in enumerate(states)}

    def training_state(self) -> dict[str, Tensor]:
        return self.outer.state_dict()

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        vars(self).pop("outer", None)  # its parameters are those before the load
        self.outer.load_state_dict(saved)


def _summary(trajectory: Trajectory) -> dict[str, Tensor]:
    """Return the steps and the returns of a trajectory's tasks, as they are logged."""
    return {_STEPS: trajectory.lengths.sum((1, 2)), _RETURN: trajectory.returns}
