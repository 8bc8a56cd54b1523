"""Families of Gymnasium's environments against Gymnasium's own vectors: steps of Pendulum-v1 with random actions."""

from typing import Any

import gymnasium
import numpy as np
import torch

from bench.measure import Options, Row, in_turn
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
    """Measure steps of a family's batch against those of Gymnasium's vector with the same environments and workers."""
    return [_against_gymnasium(n, workers, options) for n, workers in _SIZES]


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
