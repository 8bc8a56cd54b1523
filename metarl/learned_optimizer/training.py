"""Meta-training of a rule on problems of all trained kinds, one kind after another."""

import time
from collections.abc import Callable
from itertools import cycle

from torch import Tensor

from metarl.core.optimiser import Adam, linear_decay
from metarl.core.random import torch_generator
from metarl.core.types import Params
from metarl.learned_optimizer.evolution import as_params, as_vector
from metarl.learned_optimizer.meta_gradients import MetaTraining, Unroll, draw_problem, unrolled_gradient
from metarl.learned_optimizer.unroll import Rule

_THETA = "theta"
Report = Callable[[Params, int, float, dict[str, float]], None]


def meta_train(rule: Rule, config: MetaTraining, report: Report, start: Params | None = None) -> Params:
    """Train a rule for some minutes, and return its parameters: a mean over the updates, the later ones weighing more.

    Args:
        rule: the rule.
        config: how.
        report: called after each update with the parameters as they would be returned, the number of updates, the
            minutes so far, and the logarithm of the last loss of the unroll that has ended, by its kind.
        start: parameters to start from, by default the rule's own.
    """
    like = rule.init(torch_generator(config.seed, "rule")) if start is None else start
    adam = Adam({_THETA: as_vector(like)}, config.learning_rate, config.max_norm)
    generators = {kind: torch_generator(config.seed, "unroll", kind) for kind in config.kinds}
    unrolls = {kind: Unroll(rule, kind, config, generators[kind]) for kind in config.kinds}

    def gradient_of(kind: str, theta: Tensor) -> tuple[Tensor, float | None]:
        if config.method == "evolution":
            return unrolls[kind].advance(theta, like)
        problem, total = draw_problem(kind, config, generators[kind])
        params = one_row(as_params(theta[None], like))
        gradient, last = unrolled_gradient(rule, problem, params, total, generators[kind], config.whole)
        return as_vector(gradient), last

    begun, minutes, updates, mean = time.monotonic(), 0.0, 0, as_vector(like)
    for kind in cycle(config.kinds):
        gradient, last = gradient_of(kind, adam.params[_THETA].detach())
        adam.learning_rate = linear_decay(config.learning_rate, 0.1, minutes / config.minutes)
        if gradient.isfinite().all():  # one unroll in many diverges
            adam.step({_THETA: gradient})
        updates, minutes = updates + 1, (time.monotonic() - begun) / 60
        # Polyak and Juditsky 1992: the mean of the way wanders less than its end.
        mean = mean + (adam.params[_THETA].detach() - mean) * min(1.0, 5 / (updates + 4))
        report(one_row(as_params(mean[None], like)), updates, minutes, {} if last is None else {kind: last})
        if minutes >= config.minutes:
            break
    return one_row(as_params(mean[None], like))


def one_row(rows: Params) -> Params:
    """Return parameters of one row without the axis of rows."""
    return {name: value[0] for name, value in rows.items()}
