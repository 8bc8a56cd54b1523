"""Agents with a memory: the recurrent pass against torch's, and collecting against the physics alone."""

import torch
from bench.measure import Options, Row, in_turn

from metarl.adapt.gru import gru_sequence
from metarl.agents.rl2 import RL2
from metarl.process import torch_beside
from metarl.rollout.rollout import rollout

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
    """RL²'s rollout, and the same actions in the same environments without anything else."""
    agent = RL2("metarl/HalfCheetahVel-v0", RL2.presets["locomotion"])
    n = agent.config.tasks
    recorded = agent.collect()
    batch = agent.training_batch()
    actions = recorded.action[:, 0, 0].clamp(-1, 1).unbind(1)

    def acting() -> None:
        state = agent.learner.initial(agent.params, n)
        rollout(agent.learner, agent.params, state, batch, lanes=1)

    def physics() -> None:
        with torch_beside(getattr(batch, "threads", 1)):
            batch.reset(0)
            for action in actions:
                batch.step(action)

    ours, alone = in_turn(options.repeats, acting, physics)
    (learning,) = in_turn(1, agent.train_iteration)
    steps, trial = n * len(actions), n * agent.family.horizon * agent.episodes
    note = f"{steps / ours:,.0f} steps/s; with learning {trial / learning:,.0f}"
    return Row(f"RL² collecting, HalfCheetahVel, {n} environments", ours, alone, "physics alone", 0.75, note)
