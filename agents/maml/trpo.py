"""The outer loop of MAML by TRPO (Schulman et al. 2015; Finn et al. 2017, section 5.3).

The KL between the collected and the new adapted policies is zero and flat where they coincide, so its Hessian in the
meta-parameters is exactly ``Jᵀ F J``: J the Jacobian of the adapted policies' outputs, through the inner steps, and F
the Fisher information of those outputs. A product with it is one pass forward and one back through a graph that is
built once, where the Hessian by differentiating twice takes two passes back through a graph twice as deep.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metarl.adapt.gradient import COUNT, chunks
from metarl.agents.maml.learner import MAMLLearner
from metarl.agents.maml.outer import Blocks, MetaBatch, adapted_outputs, kl
from metarl.core.distributions import ActionDistribution
from metarl.core.losses import masked_mean
from metarl.core.parallel import TaskParallel
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params

Vector = list[Tensor]  # one tensor for each parameter
_CACHED_TASKS = 10  # linearised at once unless the config says otherwise; 5 to 10 were measured fastest on 2 cores


class TRPO:
    """Trains the meta-parameters by natural-gradient steps of bounded KL between the adapted policies.

    The step is found by conjugate gradients and a line search (Schulman et al. 2015, appendix C).
    """

    def __init__(self, learner: MAMLLearner, params: Params) -> None:
        self.learner, self.config = learner, learner.config
        self.params = {name: value.clone() for name, value in params.items()}

    def update(
        self, data: MetaBatch | Blocks, progress: float, parallel: TaskParallel | None = None
    ) -> tuple[Params, dict[str, float]]:
        """Return new parameters, and what to log; ``progress`` plays no part here."""
        parallel = parallel or TaskParallel()
        gradient, curvature, before, old = self._linearise(data, parallel)
        direction, quadratic = conjugate_gradient(
            lambda v: [c + self.config.cg_damping * x for c, x in zip(curvature(v), v, strict=True)],
            gradient,
            self.config.cg_iterations,
        )
        length = (2 * self.config.max_kl / quadratic.clamp(min=1e-12)).sqrt()
        step = [length * d for d in direction]
        halvings, after, moved = self._line_search(data, old, step, before, parallel)
        return self.params, {
            "objective": before,
            "improvement": before - after,
            "kl": moved,
            "backtracks": float(halvings),
        }

    def _linearise(
        self, data: MetaBatch | Blocks, parallel: TaskParallel
    ) -> tuple[Vector, Callable[[Vector], Vector], float, list[ActionDistribution]]:
        """Return the surrogate's gradient, products with the curvature, its value, and each block's old policies."""
        share = self.config.curvature_fraction
        blocks, sums, losses, old = [], [], [], []
        for block in parallel.rows(data.n_tasks):
            rows = chunks(block.stop - block.start, self.config.chunk or _CACHED_TASKS, block.start)
            parts = [Linearised(self.learner, self.params, data.rows(r), data.n_tasks) for r in rows]
            gradients, values = zip(*(part.surrogate_gradient() for part in parts), strict=True)
            sums.append(self._named(gradients))
            losses.append({"loss": torch.tensor(sum(values), dtype=torch.float64)})
            outputs = zip(*(part.outputs for part in parts), strict=True)
            joined = {
                name: torch.cat([x.detach() for x in of]) for name, of in zip(parts[0].names, outputs, strict=True)
            }
            old.append(self.learner.distribution(joined))
            if share < 1:
                stride = round(1 / share)
                parts = [Linearised(self.learner, self.params, data.rows(r), data.n_tasks, stride) for r in rows]
            blocks.append(parts)
        gradient, loss = parallel.totals(sums, losses, self.params)

        def curvature(v: Vector) -> Vector:
            products = [self._named([part.fisher_product(v) for part in parts]) for parts in blocks]
            return list(parallel.total(products, self.params, "curvature").values())

        return list(gradient.values()), curvature, float(loss["loss"]), old

    def _named(self, vectors: Sequence[Vector]) -> Params:
        """Return the sum of vectors of a block's parts, by the parameters' names."""
        summed = (torch.stack(each).sum(0) for each in zip(*vectors, strict=True))
        return dict(zip(self.params, summed, strict=True))

    def _line_search(
        self,
        data: MetaBatch | Blocks,
        old: list[ActionDistribution],
        step: Vector,
        before: float,
        parallel: TaskParallel,
    ) -> tuple[int, float, float]:
        """Take the longest step by backtracking that improves the surrogate within the KL, or none.

        Returns the number of step lengths refused, and the surrogate and the KL after the step.
        """
        for tried in range(self.config.line_search):
            scale = self.config.backtrack**tried
            new = {name: value - scale * s for (name, value), s in zip(self.params.items(), step, strict=True)}
            blocks = zip(parallel.rows(data.n_tasks), old, strict=True)
            scores = parallel.rejoin([self._scores(new, data.rows(rows), each) for rows, each in blocks], "line search")
            after, moved = float(scores["surrogate"].mean()), float(scores["kl"].mean())
            if after < before and moved <= self.config.max_kl:
                self.params = new
                return tried, after, moved
        return self.config.line_search, before, 0.0

    @torch.no_grad()
    def _scores(self, params: Params, data: MetaBatch, old: ActionDistribution) -> dict[str, Tensor]:
        """Return the surrogate and the KL of each task of a block at some parameters, both ``(task,)``."""
        distribution = self.learner.distribution(adapted_outputs(self.learner, params, data)[-1])
        query = data.trajectories[-1]
        return {"surrogate": surrogate(distribution, query), "kl": kl(old, distribution, query)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: there is no state beside the parameters."""
        return {}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Take in nothing."""


class Linearised:
    """The adapted policies' outputs at fixed meta-parameters, with the graph kept for products with their Jacobian.

    With a ``stride`` only every so many steps of each episode are used: rather than fewer episodes, for the steps of
    one are alike, and so are their returns. The adapted parameters keep the values that all of the support gives; only
    the derivatives come from the subsample.
    """

    def __init__(self, learner: MAMLLearner, params: Params, data: MetaBatch, n_tasks: int, stride: int = 1) -> None:
        self.leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        if stride == 1:
            self.query, outputs = data.trajectories[-1], adapted_outputs(learner, self.leaves, data)[-1]
        else:
            self.query, outputs = _subsampled(learner, self.leaves, data, stride)
        self.names, self.outputs = list(outputs), list(outputs.values())
        self.distribution = learner.distribution(outputs)
        count = self.query.valid.flatten(1).sum(1).clamp(min=1)[:, None, None, None]
        self.weight = (self.query.valid.to(self.outputs[0].dtype) / count / n_tasks)[..., None]
        self.n_tasks = n_tasks
        # The transposed product is linear in its cotangents, so the derivative by them is the forward product:
        # forward mode by two reverse passes, the first of which is built only once.
        self._cotangents = [torch.zeros_like(output).requires_grad_() for output in self.outputs]
        self._transposed: Vector | None = None

    def surrogate_gradient(self) -> tuple[Vector, float]:
        """Return the gradient of this part's share of the mean surrogate, and its value."""
        loss = surrogate(self.distribution, self.query).sum() / self.n_tasks
        return self._back([loss], None), float(loss.detach())

    def fisher_product(self, v: Vector) -> Vector:
        """Return the product ``Jᵀ F J v`` with a vector of the parameters' shapes."""
        if self._transposed is None:
            self._transposed = list(
                torch.autograd.grad(
                    self.outputs,
                    list(self.leaves.values()),
                    self._cotangents,
                    create_graph=True,
                    materialize_grads=True,
                )
            )
        differentiable = [(t, x) for t, x in zip(self._transposed, v, strict=True) if t.requires_grad]
        tangents = torch.autograd.grad(
            [t for t, _ in differentiable], self._cotangents, [x for _, x in differentiable], retain_graph=True
        )
        named: Outputs = dict(zip(self.names, tangents, strict=True))
        fisher = self.distribution.detach().fisher(named)
        return self._back(self.outputs, [fisher[name] * self.weight for name in self.names])

    def _back(self, outputs: Vector, cotangents: Vector | None) -> Vector:
        leaves = list(self.leaves.values())
        return list(torch.autograd.grad(outputs, leaves, cotangents, retain_graph=True, materialize_grads=True))


def surrogate(distribution: ActionDistribution, query: Trajectory) -> Tensor:
    """Return the importance-weighted policy-gradient loss of each task, ``(task,)``."""
    ratio = torch.exp(distribution.log_prob(query.action) - query.record["log_prob"])
    return -masked_mean(ratio * query.record["advantage"], query.valid)


def _subsampled(learner: MAMLLearner, params: Params, data: MetaBatch, stride: int) -> tuple[Trajectory, Outputs]:
    full = part = learner.initial(params, data.n_tasks)
    for trajectory in data.trajectories[:-1]:
        with torch.no_grad():
            full = learner.adapt(params, full, trajectory)
        part, _ = learner.adapt_and_replay(params, part, trajectory.thinned(stride))
        # The value of the whole support, the derivative of the subsample.
        part = {k: v if k == COUNT else full[k] + (v - v.detach()) for k, v in part.items()}
    query = data.trajectories[-1].thinned(stride)
    return query, learner.replay(params, part, query)[0]


def conjugate_gradient(
    product: Callable[[Vector], Vector], target: Vector, iterations: int, tolerance: float = 1e-10
) -> tuple[Vector, Tensor]:
    """Solve ``A x = target`` approximately for a symmetric positive A, and return x and ``xᵀ A x``.

    Args:
        product: computes ``A v``.
        target: one tensor for each parameter.
        iterations: most products that are taken.
        tolerance: squared norm of the residual at which it stops.
    """
    x = [torch.zeros_like(t) for t in target]
    residual, direction = list(target), list(target)
    squared = _dot(residual, residual)
    for _ in range(iterations):
        if squared < tolerance:
            break
        image = product(direction)
        alpha = squared / _dot(direction, image)
        x = [a + alpha * d for a, d in zip(x, direction, strict=True)]
        residual = [r - alpha * i for r, i in zip(residual, image, strict=True)]
        previous, squared = squared, _dot(residual, residual)
        direction = [r + squared / previous * d for r, d in zip(residual, direction, strict=True)]
    # A x is what the residual has lost: no product more.
    return x, _dot(x, [t - r for t, r in zip(target, residual, strict=True)])


def _dot(a: Vector, b: Vector) -> Tensor:
    return torch.stack([torch.sum(x * y) for x, y in zip(a, b, strict=True)]).sum()
