"""Few-shot learning: MAML over all tasks at once against a loop of autograd over them, and a peer."""

import torch
from torch.nn import functional

from bench.measure import Options, Row, in_turn
from bench.peer_prototypical import bench_peer
from metarl.core.types import Params
from metarl.fewshot.backbone import BACKBONE, Conv4
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.learners.base import HEAD
from metarl.fewshot.learners.gradient import FewShotMAML, GradientConfig

_TASKS, _SIDE = 32, 28


def bench_fewshot(options: Options) -> list[Row]:
    """Measure a meta-gradient of 32 tasks of 5 classes and 1 shot: one inner step, the network of Omniglot."""
    random = torch.Generator().manual_seed(0)
    pictures = (torch.rand(2000, _SIDE, _SIDE, generator=random) < 0.1).to(torch.uint8)
    classes = Classes(pictures, torch.full((100,), 20), tuple(map(str, range(100))))
    learner = FewShotMAML(Conv4((_SIDE, _SIDE)), 5, GradientConfig())
    params = learner.init(random)
    rows = []
    for queries in (1, 15):
        episodes = classes.draw(EpisodeSpec(5, 1, queries), _TASKS, random)

        def ours() -> None:
            learner.gradient(params, episodes)  # noqa: B023 - called before the next round

        def loop() -> None:
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            (seen, labels), (inputs, answers), *_ = episodes  # noqa: B023
            for task in range(_TASKS):
                loss = functional.cross_entropy(_logits(learner, leaves, seen[task]), labels[task])
                found = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
                fast = {n: x - 0.4 * g for (n, x), g in zip(leaves.items(), found, strict=True)}
                functional.cross_entropy(_logits(learner, fast, inputs[task]), answers[task]).backward()

        mine, other = in_turn(options.repeats, ours, loop)
        name = f"MAML, {_TASKS} tasks 5-way 1-shot, {queries} queries a class"
        rows.append(Row(name, mine, other, "a loop over tasks", 1.0))
    return rows + bench_peer(options, classes)


def _logits(learner: FewShotMAML, params: Params, images: torch.Tensor) -> torch.Tensor:
    return learner.head(params, learner.backbone(params, images[None], BACKBONE), HEAD)[0]
