"""Algorithms: a learner, its training, and Stable-Baselines3's verbs."""

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from torch import Tensor

from metarl import __version__
from metarl.algorithm.adapted_policy import AdaptedPolicy, Recording
from metarl.algorithm.callbacks import Callback, as_callback
from metarl.algorithm.guards import check_amounts, check_arguments, check_split
from metarl.core.actions import ActionMap
from metarl.core.checkpoint import check_owner, config_from, load_checkpoint, prefixed, save_checkpoint, with_prefix
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.plugins import FAMILIES, trusted
from metarl.core.random import torch_generator
from metarl.core.types import Params, State
from metarl.family import TaskFamily, make_family

_OWN_PRESET = "default"


class Algorithm(ABC):
    """A learner on a task family. A subclass says how it is built, what one iteration of training does, and what else
    its training remembers; everything else is here.

    Training is a function of the config and the seed: iteration i draws from counters that are a hash of (seed, i).
    """

    name: ClassVar[str]  # as on the command line
    config_class: ClassVar[type]
    presets: ClassVar[Mapping[str, Any]]

    def __init__(
        self,
        family: str | TaskFamily,
        config: Any = None,
        *,
        variant: str | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        verbose: int = 0,
    ) -> None:
        check_arguments(type(self), family, config, self.config_class, seed)
        self.family = make_family(family, variant)
        self.config = self.config_class() if config is None else config
        self.seed, self.device, self.verbose = int(seed), check_device(device), verbose
        ActionMap(self.family.action_space, self.device, torch.float32)  # raises where policies cannot act
        self.num_timesteps = 0  # environment steps of training so far
        self.iteration = 0
        self.wall_seconds = 0.0  # of training so far
        self.learner: MetaLearner = self.build_learner()
        self.params: Params = {k: v.to(self.device) for k, v in self.init_params(self.generator("init")).items()}
        self.logger = Logger(folder=None, output_formats=[HumanOutputFormat(sys.stdout)] if verbose else [])
        self.run_id = ""  # of the run folder that it belongs to, whose checkpoints alone it then takes
        self.log_digest = ""  # of the rows that the run has logged so far
        self._target = 0
        self._unadapted: AdaptedPolicy | None = None
        self._split = self.family.splits.hash

    @abstractmethod
    def build_learner(self) -> MetaLearner:
        """The learner for ``self.family`` and ``self.config``."""

    @abstractmethod
    def init_params(self, generator: torch.Generator) -> Params:
        """Parameters before training."""

    @abstractmethod
    def train_iteration(self) -> tuple[int, dict[str, float]]:
        """Collect and update ``self.params`` once; returns the environment steps taken, and what to log."""

    def generator(self, purpose: str, *counters: int) -> torch.Generator:
        """Random numbers that only training needs, the same whenever they are asked for by the same words."""
        return torch_generator(self.seed, purpose, *counters)

    @property
    def n_envs(self) -> int:
        """Environments side by side per task: episodes of interaction between two adaptations."""
        return 1

    @property
    def evaluation_points(self) -> int:
        """Points of the adaptation curve: before any adaptation, after one, ..."""
        return 4

    def training_state(self) -> dict[str, Tensor]:
        """Tensors beside the parameters that an exact resume needs."""
        return {}

    def load_training_state(self, saved: dict[str, Tensor]) -> None:  # noqa: B027 - a hook: most have nothing to do
        """Take in what ``training_state`` gave."""

    def after_training(self) -> None:  # noqa: B027 - a hook: most have nothing to do
        """What an algorithm does once, after its last iteration."""

    def describe(self, states: Sequence[State]) -> dict[str, float]:
        """Numbers to report beside an adaptation curve, from the learner's state at each of its points."""
        return {}

    @property
    def progress(self) -> float:
        """Share of training that is done, in [0, 1]."""
        return min(self.num_timesteps / self._target, 1.0) if self._target else 0.0

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: Callback = None,
        log_interval: int = 1,
        progress_bar: bool = False,
        reset_num_timesteps: bool = True,
    ) -> Self:
        """Train until ``total_timesteps`` environment steps are taken, the config's number unless given.

        ``callback`` as in SB3; ``on_step`` is called once for each step of all environments together, and training
        stops at the end of an iteration in which it returned False. ``reset_num_timesteps=False`` trains that many
        more.
        """
        total = self.config.total_timesteps if total_timesteps is None else total_timesteps
        check_amounts(total, log_interval)
        if reset_num_timesteps:
            # Not the iteration: it is the counter of the random streams, and none is drawn from twice.
            self.num_timesteps = 0
        self._target = total if reset_num_timesteps else self.num_timesteps + total
        return self.train_until(self._target, callback, log_interval, progress_bar)

    def train_until(
        self, target: int, callback: Callback = None, log_interval: int = 1, progress_bar: bool = False
    ) -> Self:
        """Continue training until ``num_timesteps`` reaches ``target``: what ``learn`` and a resumed run do."""
        self._target = target
        started, steps_before, wall_before = time.perf_counter(), self.num_timesteps, self.wall_seconds
        calls = as_callback(callback, progress_bar)
        calls.init_callback(self)  # type: ignore[arg-type]  # duck-typed: SB3's callbacks ask for no more than this has
        calls.on_training_start({"self": self, "total_timesteps": target}, globals())
        running = True
        while running and self.num_timesteps < target:
            calls.on_rollout_start()
            check_split(self.family, self._split)
            steps, metrics = self.train_iteration()
            self._check_finite()
            self.iteration += 1
            calls.update_locals({"self": self, "total_timesteps": target, "metrics": metrics})
            running = self._count(steps, calls)
            self.wall_seconds = wall_before + time.perf_counter() - started
            if self.iteration % log_interval == 0 or self.num_timesteps >= target:
                rate = (self.num_timesteps - steps_before) / max(time.perf_counter() - started, 1e-9)
                self._log({**metrics, "time/iterations": self.iteration, "time/fps": rate})
            # After the log, so that a checkpoint saved here has all its rows behind it.
            calls.on_rollout_end()
        if self.num_timesteps >= target:
            check_split(self.family, self._split)
            self.after_training()
        calls.on_training_end()
        return self

    def _check_finite(self) -> None:
        wrong = [name for name, value in self.params.items() if not bool(torch.isfinite(value).all())]
        if wrong:
            raise MetaRLError(
                f"Training diverged in iteration {self.iteration}: {', '.join(wrong[:3])} are not finite. Lower the "
                "learning rate or the step sizes; the last checkpoint is from before."
            )

    def _count(self, steps: int, calls: BaseCallback) -> bool:
        """Add the steps, calling ``on_step`` once for each step of all environments together."""
        n_envs = self.get_env().num_envs
        before, running = self.num_timesteps, True
        for done in range(n_envs, steps + n_envs, n_envs):
            self.num_timesteps = before + min(done, steps)
            running = calls.on_step() and running
        return running

    def _log(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.logger.record(name, value)
        self.dump_logs()

    def dump_logs(self) -> None:
        """Write out what has been recorded; some of SB3's callbacks ask for it."""
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.dump(step=self.num_timesteps)

    def set_logger(self, logger: Logger) -> None:
        """Use an SB3 logger from now on."""
        self.logger = logger

    def get_env(self) -> Any:
        """What SB3's callbacks ask of an environment: how many there are, and their spaces."""
        return SimpleNamespace(
            num_envs=self.config.tasks * self.n_envs,
            observation_space=self.family.observation_space,
            action_space=self.family.action_space,
        )

    def get_vec_normalize_env(self) -> None:
        """No environment is normalised; SB3's callbacks ask."""
        return

    def policy(self) -> AdaptedPolicy:
        """The policy before any data of a task."""
        return AdaptedPolicy(self.learner, self.params, self.learner.initial(self.params, 1), self.family, self.seed)

    def predict(
        self,
        observation: NDArray[Any],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        deterministic: bool = False,
        reward: float | NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], State | None]:
        """SB3's ``predict`` of the policy before any data; see ``AdaptedPolicy.predict``."""
        # Kept between calls, so that each has noise of its own; training puts new parameters in the place of the old.
        if self._unadapted is None or self._unadapted.params is not self.params:
            self._unadapted = self.policy()
        return self._unadapted.predict(observation, state, episode_start, deterministic, reward)

    def adapt(self, data: "gymnasium.Env[Any, Any] | Recording", episodes: int | None = None) -> AdaptedPolicy:
        """A policy adapted to an environment by ``episodes`` of interaction, or to recorded episodes."""
        return self.policy().adapt(data, self.n_envs if episodes is None else episodes)

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of itself."""
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
        """Take parameters, and training state where it was saved, from a file of the same agent, family and config."""
        tensors, about = load_checkpoint(path)
        mine = json.loads(json.dumps(self.about()))
        for key in ("agent", "family", "variant", "split", "config"):
            if about.get(key) != mine[key]:
                raise MetaRLError(
                    f"{path} is a checkpoint with {key} {about.get(key)}, not {mine[key]}; load it with its own."
                )
        if self.run_id:
            check_owner(path, (about.get("run", ""), about["seed"]), (self.run_id, self.seed))
            self.log_digest = about["log"]
        saved = with_prefix("params", tensors)
        if weights_only := about.get("weights_only", False):
            saved = self.learner.completed(saved, self.params)
        if {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in self.params.items()}:
            raise MetaRLError(f"{path} holds other parameters than its config makes in this version; train anew.")
        # In the order that they were made in, for sums over all of them round by their order; a file has its own.
        self.params = {name: saved[name].to(self.device) for name in self.params}
        if not weights_only:
            self.load_training_state(with_prefix("training", tensors))
        self.num_timesteps, self.iteration = about["num_timesteps"], about["iteration"]
        self.wall_seconds = about["wall_seconds"]
        return self

    @classmethod
    def label(cls, config: Any) -> str:
        """How results call the agent with this config: its name, and the preset's where that is another than ours.

        The number of steps has no part in it.
        """
        for preset, known in cls.presets.items():
            if replace(known, total_timesteps=config.total_timesteps) == config:
                return cls.name if preset == _OWN_PRESET else f"{cls.name}-{preset}"
        return f"{cls.name}-custom"

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], family: str | TaskFamily | None = None, device: str | torch.device = "cpu"
    ) -> Self:
        """An agent from its file. ``family`` is needed only where its own is neither installed nor registered yet."""
        _, about = load_checkpoint(path)
        if (agent := about.get("agent")) != cls.name:
            raise MetaRLError(f"{path} holds a {agent!r} agent, not {cls.name!r}; load it with that class.")
        config = config_from(cls.config_class, about["config"])
        chosen = family if family is not None else trusted(FAMILIES, about["family"], path)
        variant = about["variant"] if isinstance(chosen, str) else None
        return cls(chosen, config, variant=variant, seed=about["seed"], device=device).restore(path)
