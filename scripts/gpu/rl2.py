"""Rows of learning: RL² on GridNavi until its figure is reached, and on the bandit for as long as there is time."""

import time
import warnings
from collections import deque
from dataclasses import replace
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from gpu.record import Job, Record
from metarl.agents.rl2 import RL2
from metarl.evaluation.driver import adaptation_curve
from metarl.rollout.compiled import FellBack
from metarl.tasks import Tasks

_GRID, _BANDIT = "metarl/GridNavi-v0", "metarl/BernoulliBandit-v0"
FIGURE = 36.0  # of a trial on GridNavi
_RECENT = 5  # iterations whose mean return says that an evaluation is worth its time
_WARM_UP, _TIMED = 2, 3  # iterations by which the rest is planned
_SCORING = 6.0  # seconds kept for the last evaluation


def gridnavi(job: Job, record: Record) -> None:
    """Train until trials on the test tasks, which are those of training, earn the figure."""
    agent = _prepared(_GRID, "default", job, record)
    tasks = agent.family.splits.part("test").repeat(job.size(20, 1))

    def reached(watch: "_Watch") -> bool:
        if sum(watch.recent) < FIGURE * len(watch.recent) or len(watch.recent) < _RECENT:
            return False
        earned = _score(agent, tasks, job)
        record.point("evaluations", seconds=watch.seconds, steps=agent.num_timesteps, value=earned)
        if earned < FIGURE:
            return False
        record.number(f"seconds to {FIGURE:g}", watch.seconds, "s", f"{agent.num_timesteps:,} steps")
        return True

    watch = _train(agent, job, record, reached)
    earned = _score(agent, tasks, job)
    record.number("return of a trial", earned, "", f"{len(tasks)} trials on the test tasks after {watch.seconds:.0f} s")
    if not watch.stopped:
        record.missing(f"seconds to {FIGURE:g}", f"it was not reached in {watch.seconds:.0f} s")


def bandit(job: Job, record: Record) -> None:
    """Train to the end of the preset, or of the time."""
    agent = _prepared(_BANDIT, "bandit", job, record, variant="k5")
    watch = _train(agent, job, record, lambda _: False)
    tasks = agent.family.make_split(job.size(10_000, 20)).part("test")
    note = f"{len(tasks):,} fresh trials after {watch.seconds:.0f} s of training; target: 78.2 after 50 million steps"
    record.number("n=100 k=5", _score(agent, tasks, job), "", note)


def _prepared(family: str, preset: str, job: Job, record: Record, variant: str | None = None) -> RL2:
    """Make an agent of as many steps as there is time for, at most the preset's: its rates fall to their ends."""
    config = RL2.presets[preset]
    config = replace(config, tasks=job.size(config.tasks, config.minibatches))
    compile = job.on_gpu
    trial = RL2(family, config, variant=variant, seed=1, device=job.device, compile=compile)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FellBack)
            trial.train_iteration()
    except FellBack as error:
        record.missing("captured steps", str(error))
        compile = False
        trial.rollouts.compile = False
    if not job.on_gpu:
        record.missing("captured steps", "a CPU has no CUDA graphs")
    for _ in range(_WARM_UP):
        trial.train_iteration()
    job.wait()
    started, steps, collecting = time.perf_counter(), 0, 0.0
    for _ in range(_TIMED):
        before = time.perf_counter()
        trajectory = trial.collect()
        job.wait()
        collecting += time.perf_counter() - before
        trial.update(trajectory, trial.generator("order", 0))
        steps += trajectory.environment_steps
    job.wait()
    took = time.perf_counter() - started
    record.number("steps a second", steps / took, "steps/s", f"collecting {collecting / took:.0%}, learning the rest")
    planned = max(1, min(job.size(config.total_timesteps), int(steps / took * job.training(_SCORING))))
    config = replace(config, total_timesteps=planned)
    return RL2(family, config, variant=variant, seed=0, device=job.device, compile=compile)


def _train(agent: RL2, job: Job, record: Record, reached: Any) -> "_Watch":
    """Train within the time, and note the speed."""
    watch = _Watch(job, record, reached)
    agent.learn(callback=watch, log_interval=1 << 30)
    job.wait()
    watch.seconds = time.perf_counter() - watch.started
    note = f"{agent.num_timesteps:,} of {agent.config.total_timesteps:,} planned in {watch.seconds:.1f} s"
    if not watch.stopped:
        record.number("steps a second", agent.num_timesteps / watch.seconds, "steps/s", f"training as a whole; {note}")
    else:
        record.number("trained", agent.num_timesteps, "steps", note)
    return watch


class _Watch(BaseCallback):
    """Notes the learning curve, and ends training when time is up or ``reached`` returns true."""

    def __init__(self, job: Job, record: Record, reached: Any) -> None:
        super().__init__()
        self.job, self.record, self.reached = job, record, reached
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.started, self.seconds, self.stopped, self._end = time.perf_counter(), 0.0, False, False

    def _on_step(self) -> bool:
        return not self._end

    def _on_rollout_end(self) -> None:
        agent, metrics = self.locals["self"], self.locals["metrics"]
        self.seconds = time.perf_counter() - self.started
        self.recent.append(metrics["rollout/return_trial"])
        self.record.point("training", seconds=self.seconds, steps=agent.num_timesteps, value=self.recent[-1])
        if not self._end:
            self.stopped = bool(self.reached(self))
            self._end = self.stopped or self.job.left(_SCORING) < 0


def _score(agent: RL2, tasks: Tasks, job: Job) -> float:
    """Return the mean return of a trial on these tasks, with exploration noise."""
    curve = adaptation_curve(
        agent.learner,
        agent.params,
        agent.family,
        tasks,
        points=agent.episodes,
        device=job.device,
        deterministic=False,
        chunk=len(tasks),
        context=agent.rollouts,
    )
    return float(curve.returns.sum(0).mean())
