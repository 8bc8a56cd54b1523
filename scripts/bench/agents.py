"""RL² and PEARL: the recurrent pass against torch's, an update against its products, collecting against physics."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.measure import Options, Row, in_turn
from metarl.adapt.memory.gru_sequence import gru_sequence
from metarl.agents.pearl import PEARL
from metarl.agents.rl2 import RL2
from metarl.algorithm.algorithm import Algorithm
from metarl.core.process import torch_beside
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.rollout.batch import Batch
from metarl.rollout.rollout import rollout

_TRIALS, _STEPS, _INPUTS, _WIDTH = 128, 100, 7, 64  # a minibatch of the bandit's preset
_CHEETAH, _ENVS = "metarl/HalfCheetahVel-v0", 64
_PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}


def bench_memory(options: Options) -> list[Row]:
    """Measure the recurrent pass with its derivative, and RL² on half-cheetahs, collecting and with learning."""
    agent = RL2(_CHEETAH, RL2.presets["locomotion"])
    row = _collecting(options, agent, agent.training_batch(), agent.collect(), 0.75)
    (learning,) = in_turn(1, agent.train_iteration)
    trial = agent.config.tasks * agent.family.horizon * agent.episodes
    return [_recurrent_pass(options), replace(row, note=f"{row.note}; with learning {trial / learning:,.0f}")]


def bench_inference(options: Options) -> list[Row]:
    """Measure PEARL's update and its collecting at its paper's size, on half-cheetahs."""
    config = replace(PEARL.presets["locomotion"], train_tasks=_ENVS, tasks=_ENVS)
    agent = PEARL(_CHEETAH, config, variant="pearl")
    batch = agent.family.batch(agent.tasks, stream_keys(_ENVS, 0, "train"), agent.device)
    recorded = agent.collect(torch.arange(_ENVS))[0]
    return [_update(options), _collecting(options, agent, batch, recorded, 0.8)]


def _collecting(options: Options, agent: Algorithm, batch: Batch, recorded: Trajectory, target: float) -> Row:
    """Measure an agent's rollout of an episode against the recorded actions in the same environments alone."""
    n, actions = len(recorded.action), recorded.action[:, 0, 0].clamp(-1, 1).unbind(1)

    def acting() -> None:
        rollout(agent.learner, agent.params, agent.learner.initial(agent.params, n), batch, n_envs=1)

    def physics() -> None:
        with torch_beside(getattr(batch, "threads", 1)):
            batch.reset(0)
            for action in actions:
                batch.step(action)

    ours, alone = in_turn(options.repeats, acting, physics)
    name = f"{agent.name} collecting, {agent.family.name}, {n} environments"
    return Row(name, ours, alone, "physics alone", target, f"{n * len(actions) / ours:,.0f} steps/s")


def _recurrent_pass(options: Options) -> Row:
    torchs = torch.nn.GRU(_INPUTS, _WIDTH)
    weights = [value.detach().clone().requires_grad_() for value in torchs.parameters()]
    x, hidden = torch.randn(_STEPS, _TRIALS, _INPUTS), torch.zeros(_TRIALS, _WIDTH)
    gradient = torch.randn(_STEPS, _TRIALS, _WIDTH)

    def ours() -> None:
        gru_sequence(x, hidden, *weights)[1].backward(gradient)

    def theirs() -> None:
        torchs(x)[0].backward(gradient)

    mine, other = in_turn(3 * options.repeats, ours, theirs)
    return Row(f"GRU, {_TRIALS} × {_STEPS} steps, width {_WIDTH}, both passes", mine, other, "torch.nn.GRU", 1.2)


class _Products(TorchDispatchMode):
    """Keeps the matrix products of what runs under it, with their operands, to do them again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.overloadpacket in _PRODUCTS:
            self.calls.append(lambda: op(*args))
        return op(*args, **(kwargs or {}))


def _update(options: Options) -> Row:
    """Measure an update of 16 tasks × 256 transitions, networks of 3 × 300, contexts of 100 transitions."""
    config = replace(PEARL.presets["locomotion"], train_tasks=16, replay=2000, updates=0)
    agent = PEARL(_CHEETAH, config, variant="pearl")
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
    name, other = "PEARL update, 16 × 256 transitions, 3 × 300", f"its {len(products.calls)} products"
    return Row(name, ours, alone, other, 0.7, f"sampling takes {sampling / ours:.1%} of it")
