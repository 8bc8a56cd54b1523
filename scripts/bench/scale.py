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
from bench.roofline import Roofline, Work, measure_roofline, policy_and_physics
from metarl.agents.maml import MAML
from metarl.agents.maml.outer import collect
from metarl.agents.maml.trpo import TRPO
from metarl.core.actions import ActionMap
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params, State
from metarl.envs import FAMILIES
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.envs.engine.torch import TorchFamily
from metarl.family import TaskFamily, make_family
from metarl.family.registry import family_class
from metarl.rollout.chunks import Chunked
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

POINT = "metarl/PointNavigation-v0"
LANES, _LEAST = 20, 320
# A GPU is filled; a CPU shows where the curve goes.
_MOST = {"cuda": 1 << 22, "cpu": 5_120}
_MOST_SIMULATED = 640
_TARGET = {"cuda": 65_536, "cpu": 1_280}  # environments of the one rollout that has a figure to reach
_META = {"cuda": (200, 20), "cpu": (10, 4)}  # tasks and episodes of a meta-iteration
_ASKED_STEPS, _ASKED_SECONDS = 100e6, 0.5  # steps a second; seconds a meta-iteration


def bench_scale(options: Options) -> list[Row]:
    """The two rows that have a figure to reach, then the curve of every family on the torch engine."""
    place = torch.device(options.device).type
    most = options.environments or _MOST[place]
    roof = measure_roofline(options.device)
    asked = [_point_navigation(min(_TARGET[place], most), roof, options), meta_iteration(*_META[place], options)]
    return [*asked, *_curves(TorchFamily, most, options)]


def bench_simulated(options: Options) -> list[Row]:
    """The same curve of MuJoCo's families, which a CPU steps whatever the device of the policy."""
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
    """Doubled until memory ends or ``most`` is reached."""
    n = _LEAST
    while n <= most:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Chunked)  # in parts it would go on for ever
                row = _rollout(name, n, options)
        except (torch.OutOfMemoryError, Chunked):
            return
        yield row
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        n *= 2


def _rollout(name: str, n: int, options: Options) -> Row:
    """A rollout of one episode, at most 100 steps of it, with a policy of 64 × 64 for each task."""
    parts = parts_of(name, n, options)
    seconds, physics, acting = parts.measure(options)
    note = f"{parts.taken / seconds:,.0f} steps/s; {_shares(seconds, physics, acting)}"
    short = name.removeprefix("metarl/").removesuffix("-v0")
    return Row(f"{short}, {n:,} environments", seconds, physics, "physics alone", None, note)


def _shares(seconds: float, physics: float, acting: float) -> str:
    rest = max(0.0, seconds - physics - acting)
    return f"physics {physics / seconds:.0%}, policy {acting / seconds:.0%}, the rest {rest / seconds:.0%}"


@dataclass(frozen=True)
class Parts:
    """A rollout, the same environments without a policy, and the policy without environments."""

    play: Callable[[], object]
    physics: Callable[[], object]
    policy: Callable[[], object]
    taken: int  # steps of all environments in a rollout, until each has ended

    def measure(self, options: Options) -> tuple[float, float, float]:
        """Seconds of each."""
        play, physics, policy = (
            best_of(options.repeats, each, options.device) for each in (self.play, self.physics, self.policy)
        )
        return play, physics, policy


def parts_of(name: str, n: int, options: Options) -> Parts:
    family = make_family(name)
    vars(family)["horizon"] = min(family.horizon, 100)
    agent = MAML(family, MAML.config_class(episodes=LANES), device=options.device)
    learner, params, n_tasks = agent.learner, agent.params, n // LANES
    batch = family.batch(
        family.tasks.sample(stream_keys(n_tasks, 0, "scale")).repeat(LANES), stream_keys(n, 0, "scale"), options.device
    )
    # A copy for each task, as after adapting, where an initial state is one copy seen by all of them.
    state = {key: value.contiguous() for key, value in learner.initial(params, n_tasks).items()}
    with torch.no_grad():
        seen = batch.reset().unflatten(0, (n_tasks, LANES))
        noise = torch.full((n_tasks, LANES, learner.action_noise.n), 0.5, device=options.device)
        to_env = ActionMap(family.action_space, options.device, torch.float32).to_env
        action = to_env(learner.act(params, state, seen, noise)[0].flatten(0, 1))

    context = RolloutContext(way_of(options.steps))

    def play() -> Trajectory:
        return rollout(learner, params, state, batch, n_envs=LANES, context=context)[0]

    played = play()
    taken = int(played.lengths.sum())
    # On a CPU a rollout ends with its longest episode. MuJoCo's time depends on what is done, so the same is done.
    loops = played.n_steps if options.device == "cpu" else batch.horizon
    actions = [action] * loops
    if isinstance(family, MujocoFamily):
        actions = [to_env(each) for each in played.action[:, :, 0].flatten(0, 1).unbind(1)]
    del played

    @torch.no_grad()
    def physics() -> object:
        batch.reset()
        return [batch.step(action).reward for action in actions]

    @torch.no_grad()
    def policy() -> list[tuple[Tensor, Outputs]]:
        return [_act(learner, params, state, seen, noise) for _ in range(loops)]

    return Parts(play, physics, policy, taken)


def _act(learner: Any, params: Params, state: State, seen: Tensor, noise: Tensor) -> tuple[Tensor, Outputs]:
    acted: tuple[Tensor, Outputs] = learner.act(params, state, seen, noise)
    return acted


@dataclass(frozen=True)
class Measured:
    """A rollout of point navigation with a policy of 64 × 64 for each task."""

    seconds: float
    taken: int  # steps
    least: float  # seconds that bandwidth and products allow
    shares: str  # of physics and policy
    work: Work  # of a step of all environments

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.taken / self.seconds


def measure_point(n: int, roof: Roofline, options: Options) -> Measured:
    """So many environments, or the next lower multiple of the envs of a task."""
    n -= n % LANES
    parts = parts_of(POINT, n, options)
    seconds, physics, acting = parts.measure(options)
    work = policy_and_physics(n, n // LANES)
    return Measured(seconds, parts.taken, parts.taken / n * roof.seconds(work), _shares(seconds, physics, acting), work)


def _point_navigation(n: int, roof: Roofline, options: Options) -> Row:
    """Point navigation beside what bandwidth and products allow."""
    n -= n % LANES
    found = measure_point(n, roof, options)
    note = (
        f"{found.rate / 1e6:,.1f} million steps/s ({_ASKED_STEPS / 1e6:,.0f} asked of an H200 at 65,536); "
        f"{found.shares}; {found.work.bytes / n:,.0f} B and {found.work.flops / n:,.0f} flop a step at {roof}"
    )
    return Row(
        f"PointNavigation, {n:,} environments, 64 × 64 a task", found.seconds, found.least, "roofline", None, note
    )


def meta_iteration(n_tasks: int, episodes: int, options: Options) -> Row:
    """MAML-TRPO: collect, adapt, collect, and the outer step, from the same parameters every time."""
    family = make_family(POINT)
    config = replace(MAML.presets["trpo"], tasks=n_tasks, episodes=episodes, chunk=n_tasks)
    agent = MAML(family, config, device=options.device, compile=way_of(options.steps))
    batch = family.batch(
        family.tasks.sample(stream_keys(n_tasks, 0, "scale")).repeat(episodes),
        stream_keys(n_tasks * episodes, 0, "scale"),
        options.device,
    )
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
        f"({_ASKED_SECONDS} s asked of an H200 at 200 × 20 × 100)"
    )
    name = f"MAML-TRPO meta-iteration, {n_tasks} × {episodes} × {family.horizon}"
    return Row(name, seconds, collecting, "collecting alone", None, note)
