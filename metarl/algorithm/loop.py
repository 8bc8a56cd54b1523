"""The training loop of an agent, with the verbs and callbacks of Stable-Baselines3."""

import sys
import time
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any, Self

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, Logger

from metarl.algorithm.callbacks import Callback, as_callback
from metarl.algorithm.guards import check_amounts, check_split
from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.family import TaskFamily


class TrainingLoop(ABC):
    """Train parameters iteration by iteration, as SB3's ``learn`` does; ``Algorithm`` is the agent around it."""

    family: TaskFamily
    config: Any
    params: Params

    def __init__(self, verbose: int) -> None:
        self.num_timesteps = 0  # environment steps of training so far
        self.iteration = 0
        self.wall_seconds = 0.0  # of training so far
        self.logger = Logger(folder=None, output_formats=[HumanOutputFormat(sys.stdout)] if verbose else [])
        self._target = 0
        self._split = self.family.splits.hash

    @abstractmethod
    def train_iteration(self) -> tuple[int, dict[str, float]]:
        """Collect and update ``self.params`` once; return the environment steps taken, and what to log."""

    def after_training(self) -> None:  # noqa: B027 - a hook: most have nothing to do
        """Do what an algorithm does once, after its last iteration."""

    @property
    def n_envs(self) -> int:
        """Return how many environments of a task run side by side: episodes between two adaptations."""
        return 1

    @property
    def progress(self) -> float:
        """Return the share of training's schedules that is done, in [0, 1]."""
        steps = getattr(self.config, "schedule_timesteps", None) or self._target
        return min(self.num_timesteps / steps, 1.0) if self._target else 0.0

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: Callback = None,
        log_interval: int = 1,
        progress_bar: bool = False,
        reset_num_timesteps: bool = True,
    ) -> Self:
        """Train, and return the agent.

        Args:
            total_timesteps: environment steps to take; the config's number unless given.
            callback: as in SB3. ``on_step`` is called once for each step of all environments together, and training
                stops at the end of an iteration in which it returned False.
            log_interval: iterations between two rows of the log.
            progress_bar: whether SB3's progress bar is shown.
            reset_num_timesteps: whether steps are counted from 0; else that many more are trained.
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
        """Train on until ``num_timesteps`` reaches ``target``, as ``learn`` and a resumed run do."""
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
        """Write out what has been recorded, as some of SB3's callbacks ask."""
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.dump(step=self.num_timesteps)

    def set_logger(self, logger: Logger) -> None:
        """Use an SB3 logger from now on."""
        self.logger = logger

    def get_env(self) -> Any:
        """Return what SB3's callbacks ask of an environment: ``num_envs`` and the two spaces."""
        return SimpleNamespace(
            num_envs=self.config.tasks * self.n_envs,
            observation_space=self.family.observation_space,
            action_space=self.family.action_space,
        )

    def get_vec_normalize_env(self) -> None:
        """Return None, for no environment is normalised; SB3's callbacks ask."""
        return
