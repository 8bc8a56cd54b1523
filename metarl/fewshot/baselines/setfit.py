"""Contrastive fine-tuning on the support, as SetFit has it, of a linear map over the frozen features."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.baselines.base import Baseline
from metarl.fewshot.data.episodes import Support

_MAP = "map"


class SetFit(Baseline):
    """SetFit (Tunstall et al. 2022, section 3): pairs of the support, then a classifier on the tuned features.

    The cosine of two samples is drawn to 1 where they are of a class and to 0 where they are not, both kinds of pairs
    with the same weight; then logistic regression. The paper tunes the whole sentence encoder, which takes minutes for
    each support; here a linear map from the identity is tuned, which takes milliseconds. With one shot there are no
    pairs of a class but a sample with itself.

    Args:
        n_inputs: numbers of a sample.
        way: classes that are told apart.
        make: returns the classifier on tuned features.
        steps: of gradient descent.
        step_size: of each.
    """

    def __init__(
        self, n_inputs: int, way: int, make: Callable[[NDArray[Any]], Any], steps: int = 20, step_size: float = 0.1
    ) -> None:
        super().__init__(n_inputs, way, make)
        self.steps, self.inner = steps, InnerLoop(step_size=step_size, first_order=True, halve_beyond=False)

    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Return the support with further samples, and the map that is tuned on all of them."""
        # Of length 1, so that a step is as long whatever the features are.
        state = super().adapt(params, state, Support(self._unit(support.inputs), support.targets))
        identity = {_MAP: torch.eye(self.backbone.n_features, device=support.inputs.device)}
        tuned = self.inner.start(identity, len(support.targets))
        same = state["labels"][:, :, None] == state["labels"][:, None]

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            mapped = self._unit(state["inputs"] @ fast[_MAP].transpose(1, 2))
            apart = (mapped @ mapped.transpose(1, 2) - same.to(mapped.dtype)).square()
            kinds = [(apart * each).sum((1, 2)) / each.sum((1, 2)).clamp(min=1) for each in (same, ~same)]
            return kinds[0] + kinds[1], {}

        for _ in range(self.steps):
            tuned, _ = self.inner.step(identity, tuned, loss)
        return {**state, **{name: value for name, value in tuned.items() if name != COUNT}}

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        """Return what the classifier says of queries after the map."""
        weight = state[_MAP].transpose(1, 2)
        mapped, queries = (self._unit(each @ weight) for each in (state["inputs"], self._unit(inputs)))
        return super().query(params, {**state, "inputs": mapped}, queries)

    @staticmethod
    def _unit(inputs: Tensor) -> Tensor:
        return functional.normalize(inputs.flatten(2), dim=-1)
