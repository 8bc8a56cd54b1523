"""Regression with a learned prior: its posterior by hand and in the primal form, and what it learns of tasks."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from metarl.fewshot.data.dataset import DataSpec, FewShotDataset
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups, Task
from metarl.fewshot.learners.base import SCALE, VALUE
from metarl.fewshot.learners.heads.alpaca import Alpaca
from metarl.fewshot.learners.registry import make_learner, preset_config
from metarl.fewshot.model import FewShot

Learns = Callable[..., None]


def learner_of(d: int) -> Alpaca:
    made = make_learner("alpaca", preset_config("alpaca"), DataSpec((d,), outputs=1))
    assert isinstance(made, Alpaca)
    return made


def test_one_sample_by_hand() -> None:
    learner = learner_of(1)
    # No weight of the sample, a constant of N(2, 3) and a noise of 1: 3/4 of the way from 2 to what is seen.
    params = {"head.mean": torch.tensor([0.0, 2.0]), "head.root": torch.diag(torch.tensor([0.0, math.sqrt(3)]))}
    params["head.noise"] = torch.zeros(2)
    state = learner.adapt(params, learner.initial(params, 1), Support(torch.ones(1, 1, 1), torch.tensor([[[6.0]]])))
    found = learner.query(params, state, torch.zeros(1, 1, 1))
    torch.testing.assert_close(found[VALUE], torch.tensor([[[5.0]]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[SCALE], torch.tensor([[[math.sqrt(3 / 4 + 1)]]]), atol=1e-3, rtol=0)


def test_it_agrees_with_a_loop_over_samples_of_bayes_rule() -> None:
    learner, random = learner_of(3), torch.Generator().manual_seed(0)
    params = {name: value.double() for name, value in learner.init(random).items()}
    params = {
        name: value + 0.3 * torch.randn(value.shape, generator=random, dtype=value.dtype)
        for name, value in params.items()
    }
    x, y = (torch.randn(2, 6, d, generator=random, dtype=torch.float64) for d in (3, 1))
    asked = torch.randn(2, 4, 3, generator=random, dtype=torch.float64)
    state = learner.initial(params, 2)
    for part in (slice(0, 2), slice(2, 6)):
        state = learner.adapt(params, state, Support(x[:, part], y[:, part]))
    found = learner.query(params, state, asked)

    def features(rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)

    root = params["head.root"].tril()
    for task in range(2):
        mean, covariance = params["head.mean"], root @ root.T
        for f, target in zip(features(x[task]), y[task, :, 0], strict=True):  # Kalman's update, one sample at a time
            noise = (f @ params["head.noise"]).exp() + 1e-4
            gain = covariance @ f / (f @ covariance @ f + noise)
            mean, covariance = mean + gain * (target - f @ mean), covariance - torch.outer(gain, covariance @ f)
        for i, f in enumerate(features(asked[task])):
            own = (f @ params["head.noise"]).exp() + 1e-4
            torch.testing.assert_close(found[VALUE][task, i, 0], f @ mean)
            torch.testing.assert_close(found[SCALE][task, i, 0], (f @ covariance @ f + own).sqrt())
    queried = torch.randn(2, 4, 1, generator=random, dtype=torch.float64)
    loss, _ = learner.loss(params, Episodes(Support(x, y), Support(asked, queried)))
    normal = torch.distributions.Normal(found[VALUE], found[SCALE])
    expected = -normal.log_prob(queried).mean((1, 2)) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, expected)


def lines(n: int, seed: int) -> Groups:
    """Tasks whose weights are about (2, -1, 0), with a large share in one direction alone, and noise."""
    random = torch.Generator().manual_seed(seed)
    x, tasks = torch.randn(n * 30, 3, generator=random), []
    for i in range(n):
        rows = torch.arange(30 * i, 30 * (i + 1))
        weight = torch.tensor([2.0, -1.0, 0.0]) + torch.randn((), generator=random) * torch.tensor([0.0, 1.0, 1.0])
        tasks.append(Task(f"{seed} {i}", rows, x[rows] @ weight + 0.3 * torch.randn(30, generator=random)))
    return Groups(x, tasks)


def test_it_learns_the_prior_that_tasks_have(learns: Learns) -> None:
    data = FewShotDataset("lines", {"train": lines(60, 0), "test": lines(40, 1)})
    config = replace(
        preset_config("alpaca"), iterations=150, episode=EpisodeSpec(1, 1, 10, support=2), learning_rate=0.02
    )

    def score(seed: int) -> dict[str, float]:
        model, spec = FewShot("alpaca", data, config, seed=seed), EpisodeSpec(1, 1, 20, support=2)
        before = model.evaluate(data.split("test"), spec, 40).mean()
        return {"share of the error left": model.fit(data).evaluate(data.split("test"), spec, 40).mean() / before}

    learns(score, below={"share of the error left": 0.2})  # noise alone is .015; the mean weight alone leaves .3
