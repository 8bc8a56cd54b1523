"""Optimisers on the same problems: learned ones, and Adam and AdamW with the best of 12 rates for each kind."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from metarl.core.random import torch_generator
from metarl.core.types import Params
from metarl.learned_optimizer.adam_rule import DECAY, RATE, AdamRule
from metarl.learned_optimizer.layout import layout_of
from metarl.learned_optimizer.problems import TEST, TUNE, FittingProblem, make_problem, sizes_of
from metarl.learned_optimizer.unroll import THETA, Rule, RuleLoop

RATES = tuple(float(f"{rate:.2g}") for rate in np.geomspace(1e-3, 0.2, 12))
DECAYS = {"adam": 0.0, "adamw": 0.01}  # weight decay by optimiser; torch's defaults
STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """An optimiser that needs no tuning: a rule and its parameters."""

    name: str
    rule: Rule
    theta: Params


def final_losses(problem: FittingProblem, rule: Rule, theta: Params, steps: int, generator: torch.Generator) -> Tensor:
    """Return the loss over all samples after training, ``(copy, row)``.

    Args:
        problem: what to fit.
        rule: the optimiser.
        theta: its parameters, with a first axis of copies, each of which is tried on every row of the problem.
        steps: of training.
        generator: of the batches, which all copies share.
    """
    copies, rows = len(next(iter(theta.values()))), len(problem.targets)
    loop = RuleLoop(rule=rule, layout=layout_of(problem.params), total=steps)
    spread = {THETA + name: value.repeat_interleave(rows, 0) for name, value in theta.items()}
    with torch.no_grad():
        state = loop.begin({name: torch.cat([value] * copies) for name, value in problem.params.items()})
        for which in problem.batches(steps, generator):
            state, _ = loop.step({**spread, **loop.adapted(state)}, state, problem.loss(which, copies))
        return problem.loss(copies=copies)(loop.adapted(state))[0].reshape(copies, rows)


def tune(kind: str, seeds: int = 2, steps: int = STEPS) -> dict[str, dict[str, float]]:
    """Return the mean loss of Adam and of AdamW by learning rate, on problems of a kind that are for tuning alone."""
    copies = [(name, rate) for name in DECAYS for rate in RATES]
    theta = {
        RATE: torch.tensor([rate for _, rate in copies]),
        DECAY: torch.tensor([DECAYS[name] for name, _ in copies]),
    }
    found = torch.stack(
        [
            final_losses(
                make_problem(kind, TUNE, size, seeds, i), AdamRule(), theta, steps, torch_generator(i, TUNE, kind)
            ).mean(1)
            for i, size in enumerate(sizes_of(TUNE))
        ]
    ).mean(0)
    tuned: dict[str, dict[str, float]] = {name: {} for name in DECAYS}
    for (name, rate), loss in zip(copies, found.tolist(), strict=True):
        tuned[name][str(rate)] = loss
    return tuned


def best_rate(by_rate: dict[str, float]) -> float:
    """Return the learning rate of the least loss; one that diverged counts as the worst."""
    return float(min(by_rate, key=lambda rate: by_rate[rate] if np.isfinite(by_rate[rate]) else np.inf))


def tuned_contestants(tuned: dict[str, dict[str, float]]) -> list[Contestant]:
    """Return Adam and AdamW with the learning rates that tuning found best."""
    return [
        Contestant(
            name=name,
            rule=AdamRule(),
            theta={RATE: torch.tensor(best_rate(by_rate)), DECAY: torch.tensor(DECAYS[name])},
        )
        for name, by_rate in tuned.items()
    ]


def compare(
    kind: str, contestants: list[Contestant], seeds: int = 5, steps: int = STEPS
) -> dict[str, NDArray[np.float64]]:
    """Return each contestant's losses ``(seed, size)`` after training on test problems of a kind.

    All have the same data, initial models and batches.
    """
    found: dict[str, list[Tensor]] = {each.name: [] for each in contestants}
    for i, size in enumerate(sizes_of(TEST)):
        problem = make_problem(kind, TEST, size, seeds, i)
        for each in contestants:
            theta = {name: value[None] for name, value in each.theta.items()}
            generator = torch_generator(i, TEST, kind)
            found[each.name].append(final_losses(problem, each.rule, theta, steps, generator)[0])
    return {name: torch.stack(losses, 1).double().numpy() for name, losses in found.items()}


def seconds_a_step(optimizer: Optimizer, model: nn.Module, inputs: Tensor, steps: int = 50) -> tuple[float, float]:
    """Return the median seconds that a step of an optimiser takes, and those of loss and gradient beside it."""
    spent, beside = [], []
    for _ in range(steps):
        begun = time.perf_counter()
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        between = time.perf_counter()
        optimizer.step()
        spent.append(time.perf_counter() - between)
        beside.append(between - begun)
    return float(np.median(spent)), float(np.median(beside))
