"""Many tasks at once: the loss and the gradient against naive loops, and a trunk that several seeds learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.fewshot import EpisodeSpec, FewShot, FewShotDataset
from metarl.fewshot.backbone import Dense
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes, Support
from metarl.fewshot.data.groups import Groups, Task
from metarl.fewshot.learners.multitask import SharedTrunk, SharedTrunkConfig

CONFIG = SharedTrunkConfig(
    groups=3, uncertainty=True, iterations=200, width=16, learning_rate=1e-2, steps=30, step_size=0.1
)
SPEC = EpisodeSpec(3, 5, 5)


def batch() -> Episodes:
    """Two rows of points in the plane, of 4 among 7 classes, so that no training task has all its classes."""
    random = torch.Generator().manual_seed(3)
    x, y = torch.randn(2, 12, 2, generator=random).double(), torch.arange(4).repeat(3).expand(2, -1)
    classes = torch.tensor([[6, 0, 3, 1], [2, 5, 4, 6]])
    return Episodes(Support(x[:, :4], y[:, :4]), Support(x[:, 4:], y[:, 4:]), classes)


def wide(learner: SharedTrunk) -> Params:
    random = torch.Generator().manual_seed(0)
    made = learner.init(random)
    return {name: value.double() + 0.2 * torch.randn(value.shape, generator=random) for name, value in made.items()}


def naive_terms(params: Params, episodes: Episodes, heads: list[list[int]]) -> list[Tensor]:
    """The share of each training task in the batch's loss, sample by sample; ``heads`` are the tasks' classes."""
    assert episodes.classes is not None
    totals = [torch.zeros((), dtype=torch.float64) for _ in heads]
    for row in range(2):
        losses: dict[int, list[Tensor]] = {}
        for part in episodes[:2]:
            for x, label in zip(part.inputs[row], part.targets[row], strict=True):
                value = int(episodes.classes[row, label])
                task = next(i for i, each in enumerate(heads) if value in each)
                for layer in range(2):
                    x = functional.linear(
                        x, params[f"backbone.{layer}.weight"], params[f"backbone.{layer}.bias"]
                    ).relu()
                logits = functional.linear(x, params["head.0.weight"], params["head.0.bias"])[heads[task]]
                losses.setdefault(task, []).append(-logits.log_softmax(0)[heads[task].index(value)])
        for task, each in losses.items():
            s = params["tasks.log_variance"][task]
            term = torch.stack(each).mean() * (-s).exp() + s / 2
            totals[task] = totals[task] + term / len(losses) / 2
    return totals


def naive_gradients(terms: list[Tensor], leaves: Params) -> list[Params]:
    found = []
    for term in terms:
        parts = torch.autograd.grad(term, list(leaves.values()), retain_graph=True, allow_unused=True)
        filled = (torch.zeros_like(v) if p is None else p for v, p in zip(leaves.values(), parts, strict=True))
        found.append(dict(zip(leaves, filled, strict=True)))
    return found


@pytest.mark.parametrize("pcgrad", [False, True])
def test_loss_and_gradient_are_those_of_a_loop(pcgrad: bool) -> None:
    learner = SharedTrunk(Dense((2, 5, 4)), 3, 7, replace(CONFIG, pcgrad=pcgrad))
    params, episodes = wide(learner), batch()
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    terms = naive_terms(leaves, episodes, [[0, 1, 2], [3, 4], [5, 6]])
    each = naive_gradients(terms, leaves)
    wanted = {name: torch.stack([part[name] for part in each]).sum(0) for name in params}
    if pcgrad:
        trunk = [name for name in params if name.startswith("backbone.")]
        flat = [torch.cat([part[name].flatten() for name in trunk]) for part in each]
        random = torch.Generator().manual_seed(3 * int(episodes.classes.sum()))  # type: ignore[union-attr]
        total, conflicts = torch.zeros_like(flat[0]), 0
        for i in range(3):
            mine = flat[i].clone()
            for j in torch.randperm(3, generator=random).tolist():
                if j != i and mine @ flat[j] < 0:
                    conflicts += 1
                    mine -= mine @ flat[j] / flat[j].square().sum() * flat[j]
            total += mine
        assert conflicts
        parts = total.split([params[name].numel() for name in trunk])
        wanted |= {name: part.view_as(params[name]) for name, part in zip(trunk, parts, strict=True)}
    for chunk in (None, 1):
        gradient, named = learner.gradient(params, episodes, chunk)
        assert named["objective"] == pytest.approx(float(torch.stack(terms).sum().detach()))
        assert set(gradient) == set(params)
        for name, value in gradient.items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-7, atol=1e-10)


def blobs() -> FewShotDataset:
    """30 classes that differ in 2 of 12 numbers, which the others drown."""
    random = np.random.default_rng(0)
    means = np.zeros((30, 1, 12))
    means[..., :2] = random.normal(size=(30, 1, 2)) * 3
    X = means + random.normal(size=(30, 20, 12)) * np.array([0.3] * 2 + [3.0] * 10)
    return FewShotDataset.from_arrays(X.reshape(-1, 12).astype(np.float32), np.repeat(np.arange(30), 20))


@pytest.mark.parametrize("options", [{}, {"uncertainty": True}, {"pcgrad": True}], ids=str)
def test_several_seeds_learn_a_trunk_that_serves_new_tasks(options: dict[str, Any]) -> None:
    data, gains = blobs(), []
    config = replace(CONFIG, **{"uncertainty": False, "episode": EpisodeSpec(way=12, shot=2, queries=4), **options})
    for seed in range(3):
        model = FewShot("multitask", data, config, seed=seed)
        before = model.evaluate(data.split("test"), SPEC, 100).mean()
        gains.append(model.fit(data).evaluate(data.split("test"), SPEC, 100).mean() - before)
    assert min(gains) > 0.08


def test_tasks_with_labels_of_their_own_have_a_head_each(tmp_path: Path) -> None:
    """Whether the first number is positive in the first task, and in the second whether it is negative."""
    random = torch.Generator().manual_seed(0)
    samples = torch.randn(80, 3, generator=random)
    rows = torch.arange(80)
    labels = [(samples[:, 0] > 0).long(), (samples[:, 0] < 0).long()]
    train = Groups(samples, [Task(f"task {i}", rows, each) for i, each in enumerate(labels)], ("no", "yes"))
    data = FewShotDataset("signs", {"train": train})
    assert (data.spec.tasks, data.spec.classes) == (2, 2)
    config = replace(CONFIG, tasks=4, episode=EpisodeSpec(way=2, support=8, queries=8))
    logged: list[float] = []
    model = FewShot("multitask", data, config).fit(data, callback=lambda _, row: logged.append(row["accuracy"]))
    assert np.mean(logged[-10:]) > 0.85  # a head for both would have a half right
    assert model.params["head.0.weight"].shape == (4, 16)
    model.save(tmp_path / "all")
    model.save_weights(tmp_path / "weights")
    for file in ("all", "weights"):
        again = FewShot.load(tmp_path / file)
        scores = [each.score(train, EpisodeSpec(2, support=8, queries=8), 10).values for each in (model, again)]
        np.testing.assert_array_equal(*scores)


def test_bad_input_is_told_with_its_numbers() -> None:
    with pytest.raises(MetaRLError, match=r"8 tasks of 10 training classes: .* lower --config\.groups to 5"):
        SharedTrunk(Dense((2, 4)), 2, 10, SharedTrunkConfig())
    with pytest.raises(MetaRLError, match="tells classes apart"):
        FewShot("multitask", DataSpec((2,), outputs=1))
    with pytest.raises(MetaRLError, match="groups"):
        SharedTrunkConfig(groups=0)
    learner = SharedTrunk(Dense((2, 4)), 2, 4, SharedTrunkConfig(groups=2))
    with pytest.raises(MetaRLError, match="have no classes"):
        learner.loss(learner.init(torch.Generator()), batch()._replace(classes=None))
