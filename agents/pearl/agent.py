"""The agent PEARL."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from metarl.agents.pearl.config import PRESETS, USES, PEARLConfig
from metarl.agents.pearl.learner import PEARLLearner
from metarl.agents.pearl.replay import ContextReplay, TaskReplay
from metarl.agents.pearl.sac import SAC
from metarl.algorithm.algorithm import Algorithm
from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params
from metarl.rollout.blocks import in_blocks
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks


class PEARL(Algorithm):
    """Trains a soft actor-critic on a latent task inferred from transitions: PEARL (Rakelly et al. 2019).

    Each training task has a replay of its own for actor and critics. What the encoder is given in training is separate
    from it and recent, as it will be at test. Presets: ``default``, ``point`` and ``semicircle``, for the plane;
    ``cheetah``, for one core; ``locomotion``, the paper's.
    """

    name = "pearl"
    adapts_by = "belief"
    in_blocks = True
    config_class = PEARLConfig
    presets: ClassVar[Mapping[str, PEARLConfig]] = PRESETS
    uses: ClassVar[Mapping[str, tuple[str, float]]] = USES
    config: PEARLConfig
    learner: PEARLLearner

    def build_learner(self) -> PEARLLearner:
        return PEARLLearner(self.family.observation_space, self.family.action_space, self.config)

    def init_params(self, generator: torch.Generator) -> Params:
        return self.learner.init(generator)

    @property
    def episodes(self) -> int:
        """Episodes of a training trial."""
        return self.config.prior_episodes + self.config.posterior_episodes

    @property
    def by_trial(self) -> bool:
        """Tell whether contexts are episodes of a trial rather than transitions of exploration alone."""
        return self.config.context == "episodes"

    @property
    def evaluation_points(self) -> int:
        return max(self.episodes, self.config.prior_episodes + 1, self.family.episodes_per_trial)

    @cached_property
    def outer(self) -> SAC:
        """Actor, critics and their optimisers, made when training begins."""
        return SAC(self.learner, self.params, self.generator("critics"))

    @cached_property
    def tasks(self) -> Tasks:
        """The training tasks: the split's own, or as many draws where it has none."""
        listed, n = self.family.splits.train_set, self.config.train_tasks
        drawn = self.family.splits.train(stream_keys(n, self.seed, "task")) if listed is None else listed
        return drawn[:n]

    @cached_property
    def replay(self) -> TaskReplay:
        """Transitions that actor and critics learn from: it may be a gigabyte, so it is made when training begins."""
        return TaskReplay(len(self.tasks), self.config.replay, sum(self.learner.row), self.device)

    @cached_property
    def contexts(self) -> ContextReplay:
        """Trials from which the encoder's contexts are drawn in training."""
        episodes = self.episodes if self.by_trial else self.config.prior_episodes
        shape = self.config.context_trials, episodes, self.family.horizon, self.learner.n_element
        return ContextReplay(len(self.tasks), *shape, self.device)

    def train_iteration(self) -> tuple[int, dict[str, float]]:
        config = self.config
        generator = self.generator("order", self.iteration)
        # At first from every task, for each must have something to learn from.
        known = len(self.tasks)
        chosen = torch.randperm(known, generator=generator)[: config.tasks if self.iteration else known]
        trials = self.collect(chosen)
        steps = sum(part.environment_steps for part in trials)
        self.store(chosen, trials)
        logged: dict[str, Tensor] = {}
        for _ in range(config.updates):
            tasks = torch.randperm(max(known, config.meta_batch), generator=generator)[: config.meta_batch] % known
            tasks = tasks.to(self.device)
            batch = self.replay.sample(tasks, config.batch, generator)
            if self.by_trial:
                least = config.prior_episodes
                context = self.contexts.first_episodes(tasks, least, generator, config.refine_every)
                if config.failed_contexts:
                    place, share = self.learner.rewards, config.failed_contexts
                    context = context[0], self.contexts.failed(*context, place, share, generator)
            else:
                every, most = config.refine_every, config.context_size
                if every:
                    most = min(every * int(torch.randint(1, -(-most // every) + 1, (), generator=generator)), most)
                context = self.contexts.transitions(tasks, most, generator)
            logged = self.outer.update(batch, *context, self.progress, generator, self.parallel)
        self.params = self.outer.values()
        metrics = {"rollout/return_prior": float(trials[0].returns.mean())}
        metrics |= {"rollout/return_posterior": float(trials[-1].returns.mean())} if len(trials) > 1 else {}
        return steps, metrics | {f"train/{name}": float(value) for name, value in logged.items()}

    def collect(self, chosen: Tensor) -> list[Trajectory]:
        """Collect a trial of each chosen training task ``(task,)``: first the exploration, then episode by episode."""
        return in_blocks(self.parallel, len(chosen), lambda rows: self._collect(chosen, rows))

    @torch.no_grad()
    def _collect(self, chosen: Tensor, rows: slice) -> list[Trajectory]:
        """Collect the trials of some of the chosen tasks."""
        config = self.config
        keys = stream_keys(len(chosen), self.seed, "train", self.iteration)[rows]
        batch = self.family.batch(self.tasks[chosen[rows].numpy()], keys, self.device)
        state = self.learner.initial(self.params, len(keys))
        parts: list[Trajectory] = []
        for first in (0, *range(config.prior_episodes, self.episodes)):
            episodes = 1 if first else config.prior_episodes
            part, state = rollout(
                self.learner,
                self.params,
                state,
                batch,
                n_envs=1,
                episodes=episodes,
                first_episode=first,
                context=self.rollouts,
            )
            parts.append(part)
            if first + episodes < self.episodes and not self.learner.online:
                state = self.learner.adapt(self.params, state, part)
        return parts

    def store(self, chosen: Tensor, trials: list[Trajectory]) -> None:
        """Keep what was collected: all of it for actor and critics, and what contexts are drawn from."""
        chosen = chosen.to(self.device)
        for part in trials:
            rows = self.outer.rows(part, self._learned_reward(part))
            self.replay.add(chosen, rows.flatten(1, 3), part.valid.flatten(1))
        shown = Trajectory.concatenate(trials, axis="episode") if self.by_trial else trials[0]
        self.contexts.add(chosen, self.learner.elements(shown)[:, 0], shown.valid[:, 0])

    def _learned_reward(self, part: Trajectory) -> Tensor:
        name = self.config.dense_reward
        return part.reward if name is None else part.extra(name, self.family.name)

    def training_state(self) -> dict[str, Tensor]:
        return {
            **prefixed("outer", self.outer.state_dict()),
            **prefixed("replay", self.replay.state_dict()),
            **prefixed("contexts", self.contexts.state_dict()),
        }

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        vars(self).pop("outer", None)  # its parameters are those before the load
        self.outer.load_state_dict(with_prefix("outer", saved))
        self.replay.load_state_dict(with_prefix("replay", saved))
        self.contexts.load_state_dict(with_prefix("contexts", saved))
