"""The learned rule: a small network makes every element's direction, another every parameter's step size.

After Moudgil et al. 2026, "Celo2: towards learned optimization free lunch": a normalised update, orthogonalised where
it is a matrix, and a step size that is learned apart from it (Moudgil et al. 2025, "Celo").
"""

from dataclasses import dataclass
from math import cos, exp, log, pi

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.types import Params, State
from metarl.learned_optimizer import features as elements
from metarl.learned_optimizer.layout import Layout

_N_KINDS, N_TIMES = 3, 6
N_KNOWN = _N_KINDS + 2 + len(elements.MOMENTUM_DECAYS) + 1 + N_TIMES  # numbers that are known of a parameter as a whole
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, "Muon": quintic that brings singular values near 1
_ITERATIONS = 5


@dataclass(frozen=True)
class MLPRule:
    """A rule that starts as Adam with normalised steps that fall as a cosine, and may become anything near.

    The update of an element is ``direction * exp(magnitude)``, from a network of two hidden layers on ``features``;
    direction has Adam's added. Over each parameter it is brought to mean square 1, and in a matrix mixed with what
    orthogonalises it. A second network gives each parameter its step size and that mixture, from its shape, its size,
    how its momenta agree, and the time.
    """

    hidden: int = 8  # units of each hidden layer
    step_size: float = 0.01  # root mean square of a parameter's step at the start of training the rule

    def init(self, generator: torch.Generator) -> Params:
        """Return the rule's parameters before training; all of the order of 1, for evolution moves each as far."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        direct = torch.zeros(elements.N_FEATURES)
        direct[elements.ADAM] = 1.0
        scale = torch.zeros(2, N_KNOWN)
        scale[1, :_N_KINDS] = 0.25  # of every kind of parameter, so that orthogonal updates prevail
        return {
            "direct": direct,
            "in.weight": normal(self.hidden, elements.N_FEATURES),
            "in.known": normal(self.hidden, N_KNOWN),
            "in.bias": torch.zeros(self.hidden),
            "mid.weight": normal(self.hidden, self.hidden),
            "mid.bias": torch.zeros(self.hidden),
            "out.weight": torch.zeros(2, self.hidden),
            "known.weight": normal(self.hidden, N_KNOWN),
            "known.bias": torch.zeros(self.hidden),
            "scale.weight": torch.zeros(2, self.hidden),
            "scale.direct": scale,
        }

    def start(self, layout: Layout, rows: int) -> State:
        """Return the state before the first step: moments of zero."""
        return elements.initial_moments(layout, rows)

    def update(
        self, theta: Params, layout: Layout, state: State, values: Tensor, gradients: Tensor, step: int, total: int
    ) -> tuple[Tensor, State]:
        """Return what to add to the parameters, and the state.

        Args:
            theta: the rule's parameters, each with an axis of rows first.
            layout: of the parameters.
            state: of ``start`` or of the step before.
            values: ``(row, n)``.
            gradients: ``(row, n)``.
            step: steps taken before.
            total: steps that there will be.
        """
        found, inverse, of_parameter, state = elements.features(layout, state, values, gradients, step)
        known = torch.cat([self._constants(layout, values, step, total), of_parameter], 1)
        # The first layer's weights take up the normalisation of the features, parameter by parameter.
        first = torch.cat([theta["direct"][:, None], theta["in.weight"] * elements.N_FEATURES**-0.5], 1)
        parts = zip(layout.split(found), inverse.unbind(-1), strict=True)
        made = torch.cat([torch.bmm(first * scale[:, None], part) for part, scale in parts], 2)
        hidden = made[:, 1:] + layout.spread(_layer(theta["in.known"], known, theta["in.bias"], N_KNOWN))
        hidden = _layer(theta["mid.weight"], hidden.relu_(), theta["mid.bias"], self.hidden).relu_()
        direction, magnitude = _layer(theta["out.weight"], hidden, None, self.hidden).unbind(1)
        update = _normalised(layout, (made[:, 0] + direction) * torch.exp(0.5 * magnitude))
        inner = torch.tanh(_layer(theta["known.weight"], known, theta["known.bias"], N_KNOWN))
        scales = torch.bmm(theta["scale.direct"], known) + torch.bmm(theta["scale.weight"], inner)
        size, mixture = scales[:, 0], torch.sigmoid(4 * scales[:, 1])
        update = _normalised(layout, _orthogonalised(layout, update, mixture))
        schedule = self.step_size * (1 + cos(pi * step / total)) / 2
        return -update * layout.spread(schedule * torch.exp(size.clamp(-6, 6))), state

    def _constants(self, layout: Layout, like: Tensor, step: int, total: int) -> Tensor:
        """What is known of each parameter from its shape and from the time, ``(row, number, parameter)``."""
        done = step / total
        times = [done, done**2, cos(2 * pi * done), exp(-step / 10), log(total / 200) / 2, log(step + 1) / 5]
        of_shape = []
        for index, shape in enumerate(layout.shapes):
            out, into = layout.matrices.get(index, (layout.sizes[index], 1))
            kind = [float(len(shape) < 2), float(len(shape) == 2), float(len(shape) > 2)]
            of_shape.append([*kind, log(into) / 3 - 1, log(out) / 3 - 1, *times])
        return like.new_tensor(of_shape).T.expand(len(like), -1, -1)


def _layer(weight: Tensor, inputs: Tensor, bias: Tensor | None, n_inputs: int) -> Tensor:
    """``(row, out, element)`` of weights ``(row, out, in)`` of the order of 1 and inputs ``(row, in, element)``."""
    scaled = weight * n_inputs**-0.5
    return torch.bmm(scaled, inputs) if bias is None else torch.baddbmm(bias[..., None], scaled, inputs)


def _normalised(layout: Layout, update: Tensor) -> Tensor:
    """The update with mean square 1 over each parameter."""
    return update * layout.spread((layout.means(update.square()) + 1e-20).rsqrt())


def _orthogonalised(layout: Layout, update: Tensor, mixture: Tensor) -> Tensor:
    """The update with each matrix mixed with its nearest orthogonal matrix, both of mean square 1."""
    parts = list(layout.split(update))
    for index, sides in layout.matrices.items():
        if min(sides) > 1:
            matrix = parts[index].unflatten(-1, sides)
            share = mixture[:, index, None]
            made = newton_schulz(matrix).flatten(1)
            parts[index] = (1 - share) * parts[index] + share * functional.normalize(made, dim=1) * made.shape[1] ** 0.5
    return torch.cat(parts, 1)


def newton_schulz(matrix: Tensor) -> Tensor:
    """Return matrices ``(row, out, in)`` with singular values near 1 in place of their own (Jordan et al. 2024)."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix.mT if matrix.shape[1] > matrix.shape[2] else matrix
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + 1e-12)
    for _ in range(_ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrix.shape[1] > matrix.shape[2] else x
