"""Reptile: a start that moves to where the steps of an ordinary training lead."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapt.adaptive import AdamLoop
from metarl.adapt.gradient import COUNT
from metarl.core.config import at_least
from metarl.core.errors import MetaRLError
from metarl.core.optimiser import SGD
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import DEFAULT, error
from metarl.fewshot.learners.gradient import FewShotMAML, GradientConfig
from metarl.fewshot.learners.registry import register_fewshot


@dataclass(frozen=True, kw_only=True)
class ReptileConfig(GradientConfig):
    """The settings of Reptile, after those of Nichol et al. 2018, appendix A, for Omniglot.

    ``learning_rate`` is the share of the way that the start takes; it falls to none. Steps of .01 are for minutes:
    after 300 iterations and 10 steps 73% of five ways are right on validation tasks, 64 with .003, 59 with the paper's
    .001 (which has 100,000 iterations), 66 with .02.
    """

    tasks: int = 5
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=5, shot=10, queries=1))
    learning_rate: float = 1.0
    final_learning_rate: float = 0.0
    steps: int = 5
    test_steps: int | None = 20
    step_size: float = 0.01  # Adam's, of the inner loop
    batch: int = 10  # samples of the support that a step is taken on
    limits: ClassVar = {"batch": at_least(1)}


@register_fewshot("reptile")
class Reptile(FewShotMAML):
    """Reptile (Nichol et al. 2018, algorithm 2): the start moves towards where the steps lead, with no query at all.

    The steps are Adam's, on minibatches of the support; the start's are plain descent.
    """

    first_order = True
    config_class = ReptileConfig
    optimiser = SGD
    presets: ClassVar = {
        DEFAULT: ReptileConfig(),
        "short": ReptileConfig(iterations=1600),
        "paper": ReptileConfig(iterations=100_000, step_size=1e-3, test_steps=50),
    }
    config: ReptileConfig

    def __init__(self, backbone: Backbone, n_outputs: int, config: ReptileConfig, *, regression: bool = False) -> None:
        if config.each_step:
            raise MetaRLError("Reptile trains without a query, so each_step has no meaning for it; leave it False.")
        super().__init__(backbone, n_outputs, config, regression=regression)
        self.inner = AdamLoop(steps=config.steps, step_size=config.step_size, halve_beyond=False)

    def batch(self, support: Support, state: State) -> Support:
        """Return the next samples in a turn over the support that takes of every class as many."""
        inputs, targets = support
        n, size = targets.shape[1], min(self.config.batch, targets.shape[1])
        if size == n:
            return support
        earlier = (targets[:, :, None] == targets[:, None]).tril(-1).sum(-1)  # of the same class
        turn = (torch.arange(size, device=targets.device) + state[COUNT][:, None] * size) % n
        chosen = earlier.argsort(dim=1, stable=True).gather(1, turn)
        rows = torch.arange(len(targets), device=targets.device)[:, None]
        return Support(inputs[rows, chosen], targets[rows, chosen])

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return a loss whose gradient is the way back from where the steps lead; the query's error is only logged."""
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
