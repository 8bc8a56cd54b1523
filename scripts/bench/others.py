"""Others' software: Gymnasium's own vectors against our families of its environments, and RL² in JAX against ours."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import torch

from bench.measure import Options, Row, in_turn
from metarl.agents.rl2 import RL2
from metarl.core.random import stream_keys
from metarl.envs.engine.gymnasium import GymnasiumFamily
from metarl.tasks import TaskSpace, Uniform

_STEPS = 190  # fewer than an episode has, so that nobody resets on time
_SIZES = ((1, 0), (8, 0), (64, 0), (2, 2))  # environments, and processes that step them


class _Pendulum(GymnasiumFamily):
    """A pendulum in a hidden gravity."""

    env = "Pendulum-v1"
    tasks = TaskSpace(g=Uniform(5.0, 15.0))


def bench_others(options: Options) -> list[Row]:
    """Measure steps of a family's batch and of Gymnasium's vector with the same environments, and RL² in JAX."""
    return [_against_gymnasium(n, workers, options) for n, workers in _SIZES] + _against_jax(options)


def _against_jax(options: Options) -> list[Row]:
    """Measure an iteration of RL², collecting and training; nothing where JAX is not installed."""
    if find_spec("jax") is None:
        print("RL² against JAX is left out: JAX is not installed.", file=sys.stderr)
        return []
    with _on_one_core() if options.threads == 1 else nullcontext():
        return _jax_rows(options)


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Keep JAX on one thread of one core: told to take a single thread, it takes a second core all the same."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # read at its import
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _jax_rows(options: Options) -> list[Row]:
    from bench.peer_jax import BANDIT, GRIDNAVI, jax_iteration

    rows = []
    for game, family, preset in ((BANDIT, "BernoulliBandit", "bandit"), (GRIDNAVI, "GridNavi", "default")):
        agent = RL2(f"metarl/{family}-v0", RL2.presets[preset])
        trials = agent.config.tasks
        ours, other = in_turn(options.repeats, agent.train_iteration, jax_iteration(game, trials))
        note = f"{trials * game.steps / ours:,.0f} and {trials * game.steps / other:,.0f} steps/s"
        name = f"RL² on {family}, {trials} trials × {game.steps} steps"
        rows.append(Row(name, ours, other, "jitted JAX, same sizes", 1.0, note))
    return rows


def _against_gymnasium(n: int, workers: int, options: Options) -> Row:
    family = _Pendulum()
    family.use_workers(workers)
    keys = stream_keys(n, 0, "benchmark")
    batch = family.batch(family.splits.train(keys), keys)
    mode = "async" if workers else "sync"
    vector: Any = gymnasium.make_vec("Pendulum-v1", n, vectorization_mode=mode)
    actions = np.random.default_rng(0).uniform(-2, 2, (_STEPS, n, 1)).astype(np.float32)
    controls = torch.from_numpy(actions)

    def ours() -> None:
        batch.reset()
        for action in controls:
            batch.step(action)

    def theirs() -> None:
        vector.reset(seed=0)
        for action in actions:
            vector.step(action)

    taken, other = in_turn(2 * options.repeats, ours, theirs)
    vector.close()
    words = f", {workers} processes" if workers else ""
    note = f"{n * _STEPS / taken:,.0f} steps/s"
    return Row(f"GymnasiumFamily, {n} × Pendulum-v1{words}", taken, other, f"Gymnasium's {mode} vector", 0.9, note)
