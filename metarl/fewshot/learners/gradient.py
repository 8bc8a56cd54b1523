"""Learners that adapt by gradient steps on the support: MAML, first-order MAML, Meta-SGD, ANIL and Reptile."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice, repeat
from typing import Literal

import torch
from torch import Tensor

from metarl.adapt.gradient import STEP_SIZE, InnerLoop
from metarl.core.config import above, at_least, check_config
from metarl.core.errors import MetaRLError
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import BACKBONE, Backbone
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.learners.base import LOGITS, VALUE, FewShotLearner, accuracy, check_labels, error, steps_of

HEAD = "head."


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """How often and how far a learner steps; the variants of MAML are choices among these."""

    steps: int = 1  # in training
    test_steps: int = 10  # after training; beyond ``steps`` as long as the last one
    step_size: float = 0.4
    first_order: bool = False  # FOMAML (Finn et al. 2017, section 5.2)
    learn_step_sizes: bool = False  # Meta-SGD (Li et al. 2017): for every parameter and step
    adapts: Literal["all", "head"] = "all"  # head: ANIL (Raghu et al. 2020)
    each_step: bool = False  # train for the query's mean loss after every step (Antoniou et al. 2019, section 4)

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "steps": at_least(1),
                "test_steps": at_least(0),
                "step_size": above(0),
            },
        )


class MAML(FewShotLearner):
    """Model-agnostic meta-learning (Finn et al. 2017, equation 1): a start from which few gradient steps lead far.

    The same inner loop as of ``metarl.agents.maml``.
    """

    def __init__(self, backbone: Backbone, n_outputs: int, config: GradientConfig, *, regression: bool = False) -> None:
        if n_outputs < 1:
            raise MetaRLError(f"MAML(n_outputs={n_outputs}): needs a class or a number to predict.")
        self.backbone, self.config, self.regression = backbone, config, regression
        self.head = MLP((backbone.n_features, n_outputs))
        self.inner = InnerLoop(
            steps=config.steps,
            step_size=config.step_size,
            first_order=config.first_order,
            prefix=HEAD if config.adapts == "head" else "",
            halve_beyond=False,
        )

    def init(self, generator: torch.Generator) -> Params:
        parts = ((BACKBONE, self.backbone), (HEAD, self.head))
        params = {prefix + name: value for prefix, net in parts for name, value in net.init(generator).items()}
        return {**params, **self.inner.initial_step_sizes(params)} if self.config.learn_step_sizes else params

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.inner.start(params, n_tasks)

    def adapt(self, params: Params, state: State, support: Support, steps: int | None = None) -> State:
        """So many gradient steps on the support, ``config.steps`` unless given."""
        return deque(self.trace(params, state, support, steps), maxlen=1).pop()

    def trace(self, params: Params, state: State, support: Support, steps: int | None = None) -> Iterator[State]:
        """The states before any and after each of so many steps of ``adapt``, one at a time."""
        n_steps = steps_of(steps, self.config.steps)
        if not self.regression:
            check_labels(support.targets, self.head.sizes[-1])

        # Where the head alone adapts, the backbone says the same at every step.
        fixed = self.backbone(params, support.inputs, BACKBONE) if self.inner.prefix == HEAD else None

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            used = {**params, **fast}
            features = self.backbone(used, support.inputs, BACKBONE) if fixed is None else fixed
            return error(self._outputs(used, features), support.targets), {}

        def step(state: State, _: State) -> State:
            return self.inner.step(params, state, loss)[0]

        return accumulate(repeat(state, n_steps), step, initial=state)

    def points(self, params: Params, support: Support) -> Iterator[tuple[int, State]]:
        """Before any step and after each of ``config.test_steps``."""
        start = self.initial(params, len(support.targets))
        return enumerate(self.trace(params, start, support, self.config.test_steps))

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """The query's after the last step, or its mean over the steps; what is logged is after the last one."""
        inputs, targets = episodes.query
        states = self.trace(params, self.initial(params, len(targets)), episodes.support)
        asked = islice(states, 1, None) if self.config.each_step else deque(states, maxlen=1)
        outputs = [self.query(params, state, inputs) for state in asked]
        losses = [error(each, targets) for each in outputs]
        named = {"loss": losses[-1]}
        if not self.regression:
            named["accuracy"] = accuracy(outputs[-1], targets)
        return torch.stack(losses).mean(0), named

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        used = {name: state.get(name, value) for name, value in params.items() if not name.startswith(STEP_SIZE)}
        return self._outputs(used, self.backbone(used, inputs, BACKBONE))

    def _outputs(self, params: Params, features: Tensor) -> Outputs:
        return {VALUE if self.regression else LOGITS: self.head(params, features, HEAD)}


class Reptile(MAML):
    """Reptile (Nichol et al. 2018, algorithm 2): the start moves towards where the steps lead, with no query at all."""

    def __init__(self, backbone: Backbone, n_outputs: int, config: GradientConfig, *, regression: bool = False) -> None:
        if config.each_step:
            raise MetaRLError("Reptile trains without a query, so each_step has no meaning for it; leave it False.")
        super().__init__(backbone, n_outputs, config, regression=regression)

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Something whose gradient is the way back from where the steps lead; the query's error is logged alone."""
        start = {name: value.detach() for name, value in params.items()}
        state = self.adapt(start, self.initial(start, len(episodes.support.targets)), episodes.support)
        with torch.no_grad():
            outputs = self.query(start, state, episodes.query.inputs)
            named = {"loss": error(outputs, episodes.query.targets)}
        back = [
            (params[name] * (start[name] - state[name]).detach()).flatten(1).sum(1)
            for name in self.inner.adapted(start)
        ]
        return torch.stack(back).sum(0), named
