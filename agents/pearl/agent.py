"""PEARL as an agent."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from metarl.agents.pearl.config import PRESETS, PEARLConfig
from metarl.agents.pearl.learner import PEARLLearner
from metarl.agents.pearl.replay import ContextReplay, TaskReplay
from metarl.agents.pearl.sac import SAC
from metarl.algorithm import Algorithm
from metarl.checkpoint import prefixed, with_prefix
from metarl.errors import MetaRLError
from metarl.learner import Params
from metarl.rollout.random import stream_keys
from metarl.rollout.rollout import rollout
from metarl.rollout.trajectory import Trajectory


class PEARL(Algorithm):
    """PEARL: soft actor-critic on a latent task, inferred from the transitions so far (Rakelly et al. 2019).

    Each training task has a replay of its own for actor and critics. What the encoder is given in training is separate
    from it and recent, as it will be at test. Presets: ``default`` and ``semicircle``, our recipes for the plane;
    ``locomotion``, the paper's.
    """

    name = "pearl"
    config_class = PEARLConfig
    presets: ClassVar[Mapping[str, PEARLConfig]] = PRESETS
    config: PEARLConfig
    learner: PEARLLearner

    def build_learner(self) -> PEARLLearner:
        self._outer: SAC | None = None
        learner = PEARLLearner(self.family.observation_space, self.family.action_space, self.config)
        config, horizon = self.config, self.family.horizon
        self._by_trial = config.context == "episodes"  # else contexts are transitions of exploration alone
        self._episodes = config.prior_episodes + config.posterior_episodes
        listed = self.family.splits.train_set
        drawn = self.family.splits.train(stream_keys(config.train_tasks, self.seed, "task"))
        self._tasks = drawn if listed is None else listed[: config.train_tasks]
        n, row = len(self._tasks), 2 * learner.inputs.n_observation + learner.inputs.n_action + 2
        self._replay = TaskReplay(n, config.replay, row, self.device)
        episodes = self._episodes if self._by_trial else config.prior_episodes
        self._contexts = ContextReplay(n, config.context_trials, episodes, horizon, learner.n_element, self.device)
        return learner

    def init_params(self, generator: torch.Generator) -> Params:
        return self.learner.init(generator)

    @property
    def lanes(self) -> int:
        return 1

    @property
    def evaluation_points(self) -> int:
        return max(self.config.prior_episodes + 1, self.family.episodes_per_trial)

    @property
    def outer(self) -> SAC:
        """Actor, critics and their optimisers, made when training begins."""
        if self._outer is None:
            generator = torch.Generator().manual_seed(int(stream_keys(1, self.seed, "critics")[0, 0]))
            self._outer = SAC(self.learner, self.params, generator)
        return self._outer

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        config = self.config
        generator = torch.Generator().manual_seed(int(stream_keys(1, self.seed, "order", self.iteration)[0, 0]))
        # At first from every task, for each must have something to learn from.
        known = len(self._tasks)
        chosen = torch.randperm(known, generator=generator)[: config.tasks if self.iteration else known]
        trials = self.collect(chosen)
        steps = sum(part.environment_steps for part in trials)
        self.store(chosen, trials)
        logged: dict[str, Tensor] = {}
        for _ in range(config.updates):
            tasks = torch.randperm(max(known, config.meta_batch), generator=generator)[: config.meta_batch] % known
            tasks = tasks.to(self.device)
            batch = self._replay.sample(tasks, config.batch, generator)
            if self._by_trial:
                context = self._contexts.first_episodes(tasks, config.prior_episodes, generator)
            else:
                context = self._contexts.transitions(tasks, config.context_size, generator)
            logged = self.outer.update(batch, *context, self.progress, generator)
        self.params = self.outer.values()
        metrics = {"rollout/return_prior": float(trials[0].returns.mean())}
        metrics |= {"rollout/return_posterior": float(trials[-1].returns.mean())} if len(trials) > 1 else {}
        return steps, metrics | {f"train/{name}": float(value) for name, value in logged.items()}

    @torch.no_grad()
    def collect(self, chosen: Tensor) -> list[Trajectory]:
        """A trial of each of these training tasks: the exploration episodes, and then one after the other."""
        n, config = len(chosen), self.config
        keys = stream_keys(n, self.seed, "train", self.iteration)
        batch = self.family.batch(self._tasks[chosen.numpy()], keys, self.device)
        state = self.learner.initial(self.params, n)
        parts: list[Trajectory] = []
        for first in (0, *range(config.prior_episodes, self._episodes)):
            episodes = 1 if first else config.prior_episodes
            part, state = rollout(
                self.learner, self.params, state, batch, lanes=1, episodes=episodes, first_episode=first
            )
            parts.append(part)
            if first + episodes < self._episodes:
                state = self.learner.adapt(self.params, state, part)
        return parts

    def store(self, chosen: Tensor, trials: list[Trajectory]) -> None:
        """Keep what was collected: all of it for actor and critics, and what contexts are made of."""
        chosen, inputs = chosen.to(self.device), self.learner.inputs
        for part in trials:
            rows = self.outer.rows(
                inputs.observation({}, part.observation),
                inputs.action(part.action),
                self._learned_reward(part),
                part.terminated,
                inputs.observation({}, part.next_observation()),
            )
            self._replay.add(chosen, rows.flatten(1, 3), part.valid.flatten(1))
        shown = Trajectory.concatenate(trials, axis="episode") if self._by_trial else trials[0]
        self._contexts.add(chosen, self.learner.elements(shown)[:, 0], shown.valid[:, 0])

    def _learned_reward(self, part: Trajectory) -> Tensor:
        name = self.config.dense_reward
        if name is None:
            return part.reward
        if name not in part.extras:
            raise MetaRLError(
                f"dense_reward={name!r}: {self.family.name} has no such extra, but {', '.join(part.extras) or 'none'}."
            )
        return part.extras[name]

    def training_state(self) -> dict[str, Tensor]:
        return {
            **prefixed("outer", self.outer.state_dict()),
            **prefixed("replay", self._replay.state_dict()),
            **prefixed("contexts", self._contexts.state_dict()),
        }

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        self._outer = None  # its parameters are those before the load
        self.outer.load_state_dict(with_prefix("outer", saved))
        self._replay.load_state_dict(with_prefix("replay", saved))
        self._contexts.load_state_dict(with_prefix("contexts", saved))
