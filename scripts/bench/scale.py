"""How speed grows with the number of environments on one device, where the time goes, and what the hardware allows."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.measure import Options, Row, best_of, way_of
from bench.roofline import Roofline, measure_roofline, policy_and_physics
from metarl.agents.maml import MAML
from metarl.agents.maml.outer import collect
from metarl.agents.maml.trpo import TRPO
from metarl.core.actions import ActionMap
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.envs import FAMILIES
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.torch import TorchFamily
from metarl.family import TaskFamily, make_family
from metarl.family.registry import family_class
from metarl.rollout.chunks import Chunked
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

POINT = "metarl/PointNavigation-v0"
ENVS, _LEAST = 20, 320  # environments of a task, and of the first point of a curve
# A GPU is filled; a CPU shows where the curve goes.
_MOST = {"cuda": 1 << 22, "cpu": 5_120}
_MOST_SIMULATED = 640
_TARGET = {"cuda": 65_536, "cpu": 1_280}  # environments of the one rollout that has a figure to reach
_META = {"cuda": (200, 20), "cpu": (10, 4)}  # tasks and episodes of a meta-iteration
_TARGET_STEPS, _TARGET_SECONDS = 100e6, 0.5  # steps a second; seconds a meta-iteration


def bench_scale(options: Options) -> list[Row]:
    """Measure the two rows that have a figure to reach, then the curve of every family on the torch engine."""
    place = torch.device(options.device).type
    most = options.environments or _MOST[place]
    roof = measure_roofline(options.device)
    point = _point_navigation(min(_TARGET[place], most) // ENVS * ENVS, roof, options)
    return [point, meta_iteration(*_META[place], options), *_curves(TorchFamily, most, options)]


def bench_simulated(options: Options) -> list[Row]:
    """Measure the same curve for MuJoCo's families, which a CPU steps whatever the device of the policy."""
    return _curves(MujocoFamily, options.environments or _MOST_SIMULATED, options)


def _curves(engine: type[TaskFamily], most: int, options: Options) -> list[Row]:
    rows = []
    for name in FAMILIES:
        if issubclass(family_class(name), engine):
            for row in _curve(name, most, options):
                # At once, for whoever stops it before the table.
                print(f"{row.name}: {row.ours:.4f} s; {row.note}", file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def _curve(name: str, most: int, options: Options) -> Iterator[Row]:
    """Double the environments until memory ends or ``most`` is reached."""
    n = _LEAST
    while n <= most:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Chunked)  # in parts it would go on for ever
                found = Parts(name, n, options).measure()
        except (torch.OutOfMemoryError, Chunked):
            return
        short = name.removeprefix("metarl/").removesuffix("-v0")
        note = f"{found.rate:,.0f} steps/s; {found.shares}"
        yield Row(f"{short}, {n:,} environments", found.seconds, found.physics, "physics alone", None, note)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        n *= 2


@dataclass(frozen=True)
class Measured:
    """Seconds of a rollout, of its environments without a policy, and of the policy without environments."""

    seconds: float
    physics: float
    policy: float
    taken: int  # steps of all environments until each has ended

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.taken / self.seconds

    @property
    def shares(self) -> str:
        """Shares of physics and policy, in words."""
        physics, policy = self.physics / self.seconds, self.policy / self.seconds
        return f"physics {physics:.0%}, policy {policy:.0%}, the rest {max(0.0, 1 - physics - policy):.0%}"


class Parts:
    """A rollout of at most 100 steps with a policy of 64 × 64 for each task, and its two parts alone."""

    def __init__(self, name: str, n: int, options: Options) -> None:
        family = make_family(name)
        vars(family)["horizon"] = min(family.horizon, 100)
        agent = MAML(family, MAML.config_class(episodes=ENVS), device=options.device)
        self.options, n_tasks = options, n // ENVS
        self.learner, self.params = agent.learner, agent.params
        tasks = family.tasks.sample(stream_keys(n_tasks, 0, "scale")).repeat(ENVS)
        self.batch: Any = family.batch(tasks, stream_keys(n, 0, "scale"), options.device)
        # A copy for each task, as after adapting, where an initial state is one copy seen by all of them.
        initial = self.learner.initial(self.params, n_tasks)
        self.state = {key: value.contiguous() for key, value in initial.items()}
        self.context = RolloutContext(way_of(options.steps))
        with torch.no_grad():
            self.seen = self.batch.reset().unflatten(0, (n_tasks, ENVS))
            self.noise = torch.full((n_tasks, ENVS, self.learner.action_noise.n), 0.5, device=options.device)
            to_env = ActionMap(family.action_space, options.device, torch.float32).to_env
            action: Tensor = to_env(self._act().flatten(0, 1))
        played = self.play()
        self.taken = int(played.lengths.sum())
        # On a CPU a rollout ends with its longest episode. MuJoCo's time depends on what is done, so the same is done.
        self.actions = [action] * (played.n_steps if options.device == "cpu" else self.batch.horizon)
        if isinstance(family, MujocoFamily):
            self.actions = [to_env(each) for each in played.action[:, :, 0].flatten(0, 1).unbind(1)]

    def measure(self) -> Measured:
        """Time the rollout and its parts."""
        functions: tuple[Callable[[], object], ...] = (self.play, self.physics, self.policy)
        seconds = (best_of(self.options.repeats, each, self.options.device) for each in functions)
        return Measured(*seconds, self.taken)

    def play(self) -> Trajectory:
        """Roll out an episode of each environment."""
        return rollout(self.learner, self.params, self.state, self.batch, n_envs=ENVS, context=self.context)[0]

    @torch.no_grad()
    def physics(self) -> object:
        """Step the environments as often as in the rollout."""
        self.batch.reset()
        return [self.batch.step(action).reward for action in self.actions]

    @torch.no_grad()
    def policy(self) -> object:
        """Act as often as in the rollout."""
        return [self._act() for _ in self.actions]

    def _act(self) -> Tensor:
        action: Tensor = self.learner.act(self.params, self.state, self.seen, self.noise)[0]
        return action


def point_navigation(n: int, roof: Roofline, options: Options) -> tuple[Measured, float]:
    """Measure n environments of point navigation; also return the seconds that bandwidth and products allow."""
    found = Parts(POINT, n, options).measure()
    return found, found.taken / n * roof.seconds(policy_and_physics(n, n // ENVS))


def _point_navigation(n: int, roof: Roofline, options: Options) -> Row:
    found, least = point_navigation(n, roof, options)
    work = policy_and_physics(n, n // ENVS)
    note = (
        f"{found.rate / 1e6:,.1f} million steps/s ({_TARGET_STEPS / 1e6:,.0f} is the target on an H200 at 65,536); "
        f"{found.shares}; {work.bytes / n:,.0f} B and {work.flops / n:,.0f} flop a step at {roof}"
    )
    return Row(f"PointNavigation, {n:,} environments, 64 × 64 a task", found.seconds, least, "roofline", None, note)


def meta_iteration(n_tasks: int, episodes: int, options: Options) -> Row:
    """Measure MAML-TRPO, from the same parameters every time: collect, adapt, collect, and the outer step."""
    family = make_family(POINT)
    config = replace(MAML.presets["trpo"], tasks=n_tasks, episodes=episodes, chunk=n_tasks)
    agent = MAML(family, config, device=options.device, compile=way_of(options.steps))
    tasks = family.tasks.sample(stream_keys(n_tasks, 0, "scale")).repeat(episodes)
    batch = family.batch(tasks, stream_keys(len(tasks), 0, "scale"), options.device)
    spent: list[float] = []

    def iteration() -> object:
        started = time.perf_counter()
        data = collect(agent.learner, agent.params, batch, agent.rollouts)
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
        return TRPO(agent.learner, agent.params).update(data, 0.0)

    seconds = best_of(options.repeats, iteration, options.device)
    collecting = min(spent)
    note = (
        f"collecting {collecting / seconds:.0%}, the learner {1 - collecting / seconds:.0%} "
        f"({_TARGET_SECONDS} s is the target on an H200 at 200 × 20 × 100)"
    )
    name = f"MAML-TRPO meta-iteration, {n_tasks} × {episodes} × {family.horizon}"
    return Row(name, seconds, collecting, "collecting alone", None, note)
