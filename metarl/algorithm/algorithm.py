"""Algorithms: a learner, its training, and Stable-Baselines3's verbs."""

import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.algorithm.adapted_policy import AdaptedPolicy, Recording
from metarl.algorithm.guards import check_arguments
from metarl.algorithm.loop import TrainingLoop
from metarl.core.actions import ActionMap
from metarl.core.checkpoint import check_owner, config_from, load_checkpoint, prefixed, save_checkpoint, with_prefix
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.parallel import TaskParallel
from metarl.core.plugins import FAMILIES, trusted, trusted_config
from metarl.core.random import torch_generator
from metarl.core.schedule import as_long, config_differences
from metarl.core.types import Params, State
from metarl.family import TaskFamily, make_family
from metarl.rollout.compiled import Way
from metarl.rollout.context import RolloutContext
from metarl.version import __version__

_OWN_PRESET = "default"


class Algorithm(TrainingLoop):
    """An agent: a learner on a task family, and its training.

    A subclass says how it is built (``build_learner``, ``init_params``), what one iteration of training does
    (``train_iteration``), and what else its training remembers (``training_state``). Training is a function of the
    config and the seed: iteration i draws from counters that are a hash of (seed, i).

    Args:
        family: a family, its id, or ``module:id``.
        config: of ``config_class``; its defaults unless given.
        variant: the family's variant; its first unless given.
        seed: decides every random number.
        device: where parameters and, with the torch engine, environments are.
        compile: whether and how rollouts step as compiled functions; see ``RolloutContext``.
        verbose: 1 prints the log.
    """

    name: ClassVar[str]  # as on the command line
    adapts_by: ClassVar[str] = ""  # what adapts it to a task, as lists of agents say it
    config_class: ClassVar[type]
    presets: ClassVar[Mapping[str, Any]]
    in_blocks: ClassVar[bool] = False  # whether its training goes through ``parallel``, and so may have processes
    uses: ClassVar[Mapping[str, tuple[str, float]]] = {}  # preset -> what it is for, minutes of a seed on one core

    def __init__(
        self,
        family: str | TaskFamily,
        config: Any = None,
        *,
        variant: str | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        compile: bool | Way = False,
        verbose: int = 0,
    ) -> None:
        check_arguments(type(self), family, config, self.config_class, seed)
        self.family = make_family(family, variant)
        self.config = self.config_class() if config is None else config
        self.seed, self.device, self.verbose = int(seed), check_device(device), verbose
        ActionMap(self.family.action_space, self.device, torch.float32)  # raises where policies cannot act
        super().__init__(verbose)
        self.rollouts = RolloutContext(compile)
        self.parallel = TaskParallel()  # through which all reductions over task rows go
        self.learner: MetaLearner = self.build_learner()
        self.params: Params = {k: v.to(self.device) for k, v in self.init_params(self.generator("init")).items()}
        self.run_id = ""  # of the run folder that it belongs to, whose checkpoints alone it then takes
        self.log_digest = ""  # of the rows that the run has logged so far
        self._unadapted: AdaptedPolicy | None = None

    def __repr__(self) -> str:
        steps = f", trained for {self.num_timesteps:,} steps" if self.num_timesteps else ""
        return f"<{type(self).__name__} on {self.family.name}, seed {self.seed}{steps}>"

    @abstractmethod
    def build_learner(self) -> MetaLearner:
        """Return the learner for ``self.family`` and ``self.config``."""

    @abstractmethod
    def init_params(self, generator: torch.Generator) -> Params:
        """Return parameters before training."""

    def generator(self, purpose: str, *counters: int) -> torch.Generator:
        """Return a generator for numbers that only training needs, the same for the same words."""
        return torch_generator(self.seed, purpose, *counters)

    @property
    def evaluation_points(self) -> int:
        """Return how many points an adaptation curve has: before any adaptation, after one, ..."""
        return 4

    def training_state(self) -> dict[str, Tensor]:
        """Return tensors beside the parameters that an exact resume needs."""
        return {}

    def load_training_state(self, saved: dict[str, Tensor]) -> None:
        """Continue from what ``training_state`` gave."""

    def describe(self, states: Sequence[State]) -> dict[str, float]:
        """Return numbers to report beside an adaptation curve, from the learner's state at each of its points."""
        return {}

    def policy(self) -> AdaptedPolicy:
        """Return the policy before any data of a task."""
        return AdaptedPolicy(self.learner, self.params, self.learner.initial(self.params, 1), self.family, self.seed)

    def predict(
        self,
        observation: NDArray[Any],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        deterministic: bool = False,
        reward: float | NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], State | None]:
        """Return actions of the policy before any data, and its memory; see ``AdaptedPolicy.predict``."""
        # Kept between calls, so that each has noise of its own; training puts new parameters in the place of the old.
        if self._unadapted is None or self._unadapted.params is not self.params:
            self._unadapted = self.policy()
        return self._unadapted.predict(observation, state, episode_start, deterministic, reward)

    def adapt(self, data: "gymnasium.Env[Any, Any] | Recording", episodes: int | None = None) -> AdaptedPolicy:
        """Return a policy that has adapted to a task.

        Args:
            data: an environment, simulated or real, to interact with; or recorded episodes.
            episodes: how many to play in an environment; ``n_envs`` unless given.
        """
        return self.policy().adapt(data, self.n_envs if episodes is None else episodes)

    def about(self) -> dict[str, Any]:
        """Return what a checkpoint says of itself, as JSON."""
        return {
            "agent": self.name,
            "family": self.family.id,
            "variant": self.family.variant,
            "split": self.family.splits.hash,
            "config": asdict(self.config),
            "seed": self.seed,
            "run": self.run_id,
            "log": self.log_digest,
            "num_timesteps": self.num_timesteps,
            "iteration": self.iteration,
            "wall_seconds": self.wall_seconds,
            "version": __version__,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, training state and config in one safetensors file, atomically."""
        tensors = {**prefixed("params", self.params), **prefixed("training", self.training_state())}
        save_checkpoint(path, tensors, self.about())

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write only what acting and adapting need: no critics, no optimiser, no replay. ``load`` reads it."""
        tensors = prefixed("params", self.learner.acting(self.params))
        # It belongs to no run folder.
        save_checkpoint(path, tensors, {**self.about(), "run": "", "log": "", "weights_only": True})

    def restore(self, path: str | os.PathLike[str]) -> Self:
        """Take parameters, and training state where it was saved, from a file of the same agent, family and config.

        Raises where the file is of another, or damaged.
        """
        tensors, about = load_checkpoint(path)
        mine = json.loads(json.dumps(self.about()))
        for key in ("agent", "family", "variant", "split", "config"):
            found, wanted = about.get(key), mine[key]
            if (
                key == "config"
            ):  # a run may have been made longer since; what an earlier version lacks is at its default
                found = {**asdict(type(self.config)()), **(found or {})}
                found, wanted = config_differences(json.loads(json.dumps(found)), wanted) or ("", "")
            if found != wanted:
                raise MetaRLError(f"{path} is a checkpoint with {key} {found}, not {wanted}; load it with its own.")
        if self.run_id:
            check_owner(path, (about.get("run", ""), about["seed"]), (self.run_id, self.seed))
            self.log_digest = about["log"]
        self._take(tensors, about, f"{path} holds other parameters than its config makes in this version; train anew.")
        if not about.get("weights_only", False):
            self.load_training_state(with_prefix("training", tensors))
        self.num_timesteps, self.iteration = about["num_timesteps"], about["iteration"]
        self.wall_seconds = about["wall_seconds"]
        return self

    def start_from(self, path: str | os.PathLike[str]) -> Self:
        """Take the parameters of a trained agent of this kind, from which a new training starts.

        Its family and config may be others as long as the parameters have the same shapes.
        """
        tensors, about = load_checkpoint(path)
        if about.get("agent") != self.name:
            raise MetaRLError(f"{path} holds a {about.get('agent')!r} agent; {self.name!r} starts from one of its own.")
        if self.iteration:
            raise MetaRLError(f"This {self.name} is in training already; start a new one from {path}.")
        words = "give it the config that decides on their shapes, and a family with the same spaces"
        self._take(tensors, about, f"{path} holds parameters of other shapes than this agent's; {words}.")
        return self

    def _take(self, tensors: dict[str, Tensor], about: Mapping[str, Any], refusal: str) -> None:
        """Take the parameters of a file; raise with the given words where they are not those of this agent."""
        saved = with_prefix("params", tensors)
        if about.get("weights_only", False):
            saved = self.learner.completed(saved, self.params)
        if {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in self.params.items()}:
            raise MetaRLError(refusal)
        # In the order that they were made in, for sums over all of them round by their order; a file has its own.
        self.params = {name: saved[name].to(self.device) for name in self.params}

    @classmethod
    def label(cls, config: Any) -> str:
        """Return how results call the agent with this config: its name, and behind it the preset's unless that is ours.

        The number of steps has no part in it.
        """
        for preset, known in cls.presets.items():
            if as_long(known, config) == config:
                return cls.name if preset == _OWN_PRESET else f"{cls.name}-{preset}"
        return f"{cls.name}-custom"

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        family: str | TaskFamily | None = None,
        device: str | torch.device = "cpu",
        trust: str | Sequence[str] = (),
    ) -> Self:
        """Return an agent from its file, which decides on no module that is imported.

        Args:
            path: a checkpoint or weights.
            family: needed only where its own is neither installed nor registered yet.
            device: where the agent is to be.
            trust: each ``module:Class`` that its config may name, such as a memory of one's own.
        """
        _, about = load_checkpoint(path)
        if (agent := about.get("agent")) != cls.name:
            raise MetaRLError(f"{path} holds a {agent!r} agent, not {cls.name!r}; load it with that class.")
        config = trusted_config(config_from(cls.config_class, about["config"]), path, trust)
        chosen = family if family is not None else trusted(FAMILIES, about["family"], path)
        variant = about["variant"] if isinstance(chosen, str) else None
        return cls(chosen, config, variant=variant, seed=about["seed"], device=device).restore(path)
