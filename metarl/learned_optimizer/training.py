"""Meta-training of a rule: evolution of its parameters on unrolls of all trained kinds of problems at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.random import torch_generator
from metarl.core.types import Params, State
from metarl.learned_optimizer.evolution import Perturbations, as_params, as_vector
from metarl.learned_optimizer.layout import Layout
from metarl.learned_optimizer.problems import TRAIN, TRAINED, Problem, make_problem, sizes_of
from metarl.learned_optimizer.unroll import THETA, Rule, RuleLoop

_NEGLIGIBLE = 0.01  # of a loss, below which little is gained
_WORST = 1.5  # natural logarithms by which a diverged loss exceeds the first
_THETA = "theta"


@dataclass(frozen=True, kw_only=True)
class MetaTraining:
    """How a rule is trained."""

    minutes: float = 40.0  # wall-clock time
    kinds: tuple[str, ...] = TRAINED
    pairs: int = 4  # antithetic pairs of each kind
    sigma: float = 0.05  # standard deviation of perturbations
    reuse: bool = True  # of one perturbation throughout an unroll (Li et al. 2023), or fresh ones for each part (PES)
    horizons: tuple[int, int] = (100, 300)  # steps of an unroll, drawn log-uniformly
    part: int = 50  # steps of an unroll between two updates of the rule
    whole: float = 0.1  # weight of the losses on the way, beside that of the loss at the end
    learning_rate: float = 0.02  # falls linearly to a tenth
    max_norm: float = 1.0  # of the gradient
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.part < 1 or not self.kinds or not 1 <= self.horizons[0] <= self.horizons[1]:
            raise MetaRLError(
                f"MetaTraining(minutes={self.minutes}, part={self.part}, kinds={self.kinds}, horizons={self.horizons}): "
                "needs minutes > 0, part >= 1, a kind, and 1 <= first horizon <= second."
            )


@dataclass
class Unroll:
    """Pairs of models that are trained on one problem by perturbed rules, part by part, and then on the next problem."""

    rule: Rule
    kind: str
    config: MetaTraining
    generator: torch.Generator
    count: int = 0  # unrolls that have begun
    step: int = 0
    total: int = 0
    perturbations: Perturbations = field(init=False)
    problem: Problem = field(init=False)
    state: State = field(init=False)
    first: Tensor = field(init=False)  # logarithms of the losses before the first step

    def __post_init__(self) -> None:
        self.perturbations = Perturbations(self.config.pairs, self.config.sigma, self.config.reuse)

    def advance(self, theta: Tensor, like: Params) -> tuple[Tensor, float | None]:
        """Train on for a part; return the gradient of that part's loss, and at the end the logarithm of the last loss."""
        with torch.no_grad():
            if self.step == self.total:
                self._begin()
            rows = as_params(self.perturbations.perturbed(theta, self.generator), like)
            rule = {THETA + name: value for name, value in rows.items()}
            loop = RuleLoop(rule=self.rule, layout=layout_of(self.problem.params), total=self.total)
            steps = min(self.config.part, self.total - self.step)
            sums = torch.zeros(2 * self.config.pairs)
            for which in self.problem.batches(steps, self.generator):
                loss = self.problem.loss(which, copies=2)
                self.state, aux = loop.step({**rule, **loop.adapted(self.state)}, self.state, loss)
                sums += self._scored(aux["losses"])
            self.step += steps
            ends = self.step == self.total
            last = self._scored(self.problem.loss(copies=2)(loop.adapted(self.state))[0]) if ends else sums.new_zeros(())
            gradient = self.perturbations.gradient(self.config.whole * sums / self.total + (1 - self.config.whole) * last)
            return gradient, float(last.mean()) if ends else None

    def _begin(self) -> None:
        low, high = (log(each) for each in self.config.horizons)
        u = torch.rand(2, generator=self.generator)
        self.total, self.step = round(float(torch.exp(low + (high - low) * u[0]))), 0
        sizes = sizes_of(TRAIN)
        size = sizes[int(u[1] * len(sizes))]
        seed = int(torch.randint(2**31, (), generator=self.generator))
        self.problem = make_problem(self.kind, TRAIN, size, self.config.pairs, seed)
        params = {name: torch.cat([value, value]) for name, value in self.problem.params.items()}
        self.state = RuleLoop(rule=self.rule, layout=layout_of(params), total=self.total).begin(params)
        self.first = (self.problem.loss(copies=2)(params)[0] + _NEGLIGIBLE).log()
        self.perturbations.restart()
        self.count += 1

    def _scored(self, losses: Tensor) -> Tensor:
        scored = (losses + _NEGLIGIBLE).log()
        return torch.where(scored.isfinite(), scored, torch.inf).minimum(self.first + _WORST)


def layout_of(params: Params) -> Layout:
    """Return the layout of parameters ``(row, ...)``."""
    return Layout(tuple(tuple(value.shape[1:]) for value in params.values()))


def meta_train(
    rule: Rule,
    config: MetaTraining,
    report: Callable[[Params, int, float, dict[str, float]], None],
    start: Params | None = None,
) -> Params:
    """Train a rule for some minutes, and return its parameters: the mean over the last half of the updates.

    Args:
        rule: the rule.
        config: how.
        report: called after each update with the parameters as they would be returned, the number of updates, the
            minutes so far, and by kind the logarithm of the last loss of each unroll that has ended.
        start: parameters to start from, by default the rule's own.
    """
    like = rule.init(torch_generator(config.seed, "rule")) if start is None else start
    adam = Adam({_THETA: as_vector(like)}, config.learning_rate, config.max_norm)
    unrolls = [Unroll(rule, kind, config, torch_generator(config.seed, "unroll", kind)) for kind in config.kinds]
    begun, minutes, updates, mean = time.monotonic(), 0.0, 0, as_vector(like)
    while minutes < config.minutes:
        gradients, ended = [], {}
        for unroll in unrolls:
            gradient, last = unroll.advance(adam.params[_THETA].detach(), like)
            gradients.append(gradient)
            if last is not None:
                ended[unroll.kind] = last
        adam.learning_rate = linear_decay(config.learning_rate, 0.1, minutes / config.minutes)
        adam.step({_THETA: torch.stack(gradients).mean(0)})
        updates, minutes = updates + 1, (time.monotonic() - begun) / 60
        # Polyak and Juditsky 1992: the mean of the way wanders less than its end.
        mean = mean + (adam.params[_THETA].detach() - mean) / max(1, updates / 2)
        report(one(as_params(mean[None], like)), updates, minutes, ended)
    return one(as_params(mean[None], like))


def one(rows: Params) -> Params:
    """Return parameters of one row without the axis of rows."""
    return {name: value[0] for name, value in rows.items()}
