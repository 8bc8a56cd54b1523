"""Gradients of a rule's parameters: through a whole training of models, or by evolution, part by part."""

from dataclasses import dataclass, field
from math import log
from typing import Literal

import torch
from torch import Tensor

from metarl.adapt.gradient import meta_gradient
from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs, Params, State
from metarl.learned_optimizer.evolution import Perturbations, as_params
from metarl.learned_optimizer.layout import layout_of
from metarl.learned_optimizer.problems import TRAIN, TRAINED, FittingProblem, make_problem, sizes_of
from metarl.learned_optimizer.unroll import THETA, Rule, RuleLoop

_NEGLIGIBLE = 0.002  # of a loss, below which little is gained
_WORST = 1.5  # natural logarithms by which a diverged loss exceeds the first


@dataclass(frozen=True, kw_only=True)
class MetaTraining:
    """How a rule is trained."""

    minutes: float = 40.0  # wall-clock time
    method: Literal["gradient", "evolution"] = "gradient"  # through whole unrolls, or from losses alone
    kinds: tuple[str, ...] = TRAINED  # of problems, each in turn
    rows: int = 6  # data sets and initial models of each unroll; by evolution each has a pair of rules
    horizons: tuple[int, int] = (150, 210)  # steps of an unroll, drawn log-uniformly; shorter ones harm long trainings
    whole: float = 0.1  # weight of the losses on the way, beside that of the loss at the end
    sigma: float = 0.05  # of evolution: standard deviation of perturbations
    reuse: bool = True  # of evolution: one perturbation throughout an unroll, or fresh ones for each part
    part: int = 50  # of evolution: steps of an unroll between two updates of the rule
    learning_rate: float = 0.003  # falls linearly to a tenth
    max_norm: float = 1.0  # of the gradient
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.part < 1 or not self.kinds or not 1 <= self.horizons[0] <= self.horizons[1]:
            raise MetaRLError(
                f"MetaTraining(minutes={self.minutes}, part={self.part}, kinds={self.kinds}, horizons={self.horizons}"
                "): needs minutes > 0, part >= 1, a kind, and 1 <= first horizon <= second."
            )


def draw_problem(kind: str, config: MetaTraining, generator: torch.Generator) -> tuple[FittingProblem, int]:
    """Draw a problem to train on, and the number of steps."""
    low, high = (log(each) for each in config.horizons)
    u = torch.rand(2, generator=generator)
    sizes = sizes_of(TRAIN)
    seed = int(torch.randint(2**31, (), generator=generator))
    problem = make_problem(kind, TRAIN, sizes[int(u[1] * len(sizes))], config.rows, seed)
    return problem, round(float(torch.exp(low + (high - low) * u[0])))


def logarithm(losses: Tensor, first: Tensor) -> Tensor:
    """Return logarithms of losses by which a rule is judged: bounded by a little above the first, ``(row,)``."""
    scored = (losses + _NEGLIGIBLE).log()
    return torch.where(scored.isfinite(), scored, torch.inf).minimum(first + _WORST)


def unrolled_gradient(
    rule: Rule, problem: FittingProblem, theta: Params, total: int, generator: torch.Generator, whole: float
) -> tuple[Params, float]:
    """Return the gradient of a rule's parameters through a whole training of models, and the last loss's logarithm.

    It goes through the models' own gradients too, so that a step is credited with what it does to later ones.

    Args:
        rule: the rule.
        problem: what to fit.
        theta: the rule's parameters.
        total: steps of training.
        generator: of the batches.
        whole: weight of the losses on the way.
    """
    loop = RuleLoop(rule=rule, layout=layout_of(problem.params), total=total, first_order=False)
    rows = len(problem.targets)

    def objective(leaves: Params, _: slice) -> tuple[Tensor, Outputs]:
        shared = {THETA + name: value.expand(rows, *value.shape) for name, value in leaves.items()}
        state, on_the_way = loop.begin(problem.params), torch.zeros(rows)
        first = problem.loss()(problem.params)[0].log()
        for which in problem.batches(total, generator):
            state, aux = loop.step({**shared, **loop.adapted(state)}, state, problem.loss(which))
            on_the_way = on_the_way + logarithm(aux["losses"], first)
        last = logarithm(problem.loss()(loop.adapted(state))[0], first)
        return whole * on_the_way / total + (1 - whole) * last, {"last": last}

    gradient, means = meta_gradient(objective, theta, rows)
    return gradient, means["last"]


@dataclass
class Unroll:
    """Pairs of models that are trained on one problem after another by perturbed rules, part by part."""

    rule: Rule
    kind: str
    config: MetaTraining
    generator: torch.Generator
    step: int = 0
    total: int = 0
    perturbations: Perturbations = field(init=False)
    problem: FittingProblem = field(init=False)
    state: State = field(init=False)
    first: Tensor = field(init=False)  # logarithms of the losses before the first step

    def __post_init__(self) -> None:
        self.perturbations = Perturbations(self.config.rows, self.config.sigma, self.config.reuse)

    def advance(self, theta: Tensor, like: Params) -> tuple[Tensor, float | None]:
        """Train on for a part; return the gradient of its loss and, at an unroll's end, the last loss's logarithm."""
        with torch.no_grad():
            if self.step == self.total:  # the last one has ended, or none has begun
                self._begin()
            rows = as_params(self.perturbations.perturbed(theta, self.generator), like)
            rule = {THETA + name: value for name, value in rows.items()}
            loop = RuleLoop(rule=self.rule, layout=layout_of(self.problem.params), total=self.total)
            steps = min(self.config.part, self.total - self.step)
            sums = torch.zeros(2 * self.config.rows)
            for which in self.problem.batches(steps, self.generator):
                loss = self.problem.loss(which, copies=2)
                self.state, aux = loop.step({**rule, **loop.adapted(self.state)}, self.state, loss)
                sums += logarithm(aux["losses"], self.first)
            self.step += steps
            ends = self.step == self.total
            last = sums.new_zeros(())
            if ends:
                last = logarithm(self.problem.loss(copies=2)(loop.adapted(self.state))[0], self.first)
            gradient = self.perturbations.gradient(
                self.config.whole * sums / self.total + (1 - self.config.whole) * last
            )
            return gradient, float(last.mean()) if ends else None

    def _begin(self) -> None:
        self.problem, self.total = draw_problem(self.kind, self.config, self.generator)
        self.step = 0
        params = {name: torch.cat([value, value]) for name, value in self.problem.params.items()}
        self.state = RuleLoop(rule=self.rule, layout=layout_of(params), total=self.total).begin(params)
        self.first = self.problem.loss(copies=2)(params)[0].log()
        self.perturbations.restart()
