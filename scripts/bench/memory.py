"""Agents with a memory: the recurrent pass against torch's, and collecting against the physics alone."""

from dataclasses import replace

import torch

from bench.collecting import collecting
from bench.measure import Options, Row, in_turn
from metarl.adapt.memory.gru_sequence import gru_sequence
from metarl.agents.rl2 import RL2

_TRIALS, _STEPS, _INPUTS, _WIDTH = 128, 100, 7, 64  # a minibatch of the bandit's preset


def bench_memory(options: Options) -> list[Row]:
    """The recurrent pass with its derivative, and RL² on half-cheetahs."""
    return [_recurrent_pass(options), _collecting(options)]


def _recurrent_pass(options: Options) -> Row:
    torchs = torch.nn.GRU(_INPUTS, _WIDTH)
    weights = [value.detach().clone().requires_grad_() for value in torchs.parameters()]
    x, hidden = torch.randn(_STEPS, _TRIALS, _INPUTS), torch.zeros(_TRIALS, _WIDTH)
    gradient = torch.randn(_STEPS, _TRIALS, _WIDTH)

    def ours() -> None:
        gru_sequence(x, hidden, *weights).backward(gradient)

    def theirs() -> None:
        torchs(x)[0].backward(gradient)

    mine, other = in_turn(3 * options.repeats, ours, theirs)
    return Row(f"GRU, {_TRIALS} × {_STEPS} steps, width {_WIDTH}, both passes", mine, other, "torch.nn.GRU", 1.2)


def _collecting(options: Options) -> Row:
    """RL²'s rollout, and how many steps a second are left of it with learning."""
    agent = RL2("metarl/HalfCheetahVel-v0", RL2.presets["locomotion"])
    row = collecting(options, agent, agent.training_batch(), agent.collect(), 0.75)
    (learning,) = in_turn(1, agent.train_iteration)
    trial = agent.config.tasks * agent.family.horizon * agent.episodes
    return replace(row, note=f"{row.note}; with learning {trial / learning:,.0f}")
