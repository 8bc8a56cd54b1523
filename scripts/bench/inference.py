"""PEARL at its paper's size: an update against its matrix products alone, and collecting against the physics alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.collecting import collecting
from bench.measure import Options, Row, in_turn
from metarl.agents.pearl import PEARL
from metarl.core.random import stream_keys

_PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}


class _Products(TorchDispatchMode):
    """Keeps the matrix products of what runs under it, with their operands, to do them again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.overloadpacket in _PRODUCTS:
            self.calls.append(lambda: op(*args))
        return op(*args, **(kwargs or {}))


def bench_inference(options: Options) -> list[Row]:
    """PEARL's update and its collection, on half-cheetahs."""
    return [_update(options), _collecting(options)]


def _update(options: Options) -> Row:
    """16 tasks × 256 transitions, networks of 3 × 300, contexts of 100 transitions."""
    config = replace(PEARL.presets["locomotion"], train_tasks=16, replay=2000, updates=0)
    agent = PEARL("metarl/HalfCheetahVel-v0", config, variant="pearl")
    agent.train_iteration()
    random, tasks = torch.Generator().manual_seed(0), torch.arange(config.meta_batch)

    def sample() -> tuple[torch.Tensor, ...]:
        context = agent.contexts.transitions(tasks, config.context_size, random)
        return agent.replay.sample(tasks, config.batch, random), *context

    def update() -> None:
        batch, elements, member = sample()
        agent.outer.update(batch, elements, member, 0.0, random)

    with _Products() as products:
        update()

    def multiply() -> None:
        for call in products.calls:
            call()

    ours, alone, sampling = in_turn(3 * options.repeats, update, torch.no_grad()(multiply), sample)
    note = f"sampling takes {sampling / ours:.1%} of it"
    return Row(
        "PEARL update, 16 × 256 transitions, 3 × 300", ours, alone, f"its {len(products.calls)} products", 0.7, note
    )


def _collecting(options: Options) -> Row:
    """Its rollout."""
    n = 64
    config = replace(PEARL.presets["locomotion"], train_tasks=n, tasks=n)
    agent = PEARL("metarl/HalfCheetahVel-v0", config, variant="pearl")
    recorded = agent.collect(torch.arange(n))[0]
    batch = agent.family.batch(agent.tasks, stream_keys(n, 0, "train"), agent.device)
    return collecting(options, agent, batch, recorded, 0.8)
