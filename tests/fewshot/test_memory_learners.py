"""Learners with a memory: the order of a support, inductive queries, and a small data set that each must learn."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.adapt.memory.base import Memory
from metarl.adapt.memory.external import USAGE
from metarl.adapt.memory.registry import make_memory, memory_names
from metarl.core.errors import MetaRLError
from metarl.core.optimiser import Adam
from metarl.core.types import Params
from metarl.fewshot.backbone import Conv4
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.data.registry import equal_classes
from metarl.fewshot.learners.base import accuracy
from metarl.fewshot.learners.memory import (
    MANN,
    MANNConfig,
    MemoryLearner,
    MemoryLearnerConfig,
    SNAILLearnerConfig,
    mixed,
)

Learns = Callable[..., None]
OPTIONS = {"transformer": ("layers=1", "heads=1"), "snail": ("layers=1",), "external": ("reads=1",)}
every_memory = pytest.mark.parametrize("memory", memory_names())


def made(memory: Any, way: int = 5, capacity: int = 12, seed: int = 0) -> tuple[MemoryLearner, Params]:
    class Learner(MemoryLearner):
        def make_memory(self, n_inputs: int) -> Memory:
            return make_memory(memory, n_inputs, 64, capacity, OPTIONS.get(memory, ()))

    learner = Learner(Conv4((28, 28), width=16), way, MemoryLearnerConfig(embedding=32))
    return learner, learner.init(torch.Generator().manual_seed(seed))


def away(params: Params) -> Params:
    """A head that starts at nearly nothing would hide what comes before it."""
    random = torch.Generator().manual_seed(1)
    return {name: value + 0.1 * torch.randn(value.shape, generator=random) for name, value in params.items()}


@every_memory
def test_a_query_is_predicted_from_the_support_alone(drawn: FewShotDataset, memory: str) -> None:
    """Inductive: other queries beside it change nothing, and the state is as it was."""
    learner, params = made(memory, way=3)
    params = away(params)
    episodes = drawn.split("test").draw(EpisodeSpec(3, 2, 3), 4, torch.Generator().manual_seed(0))
    state = learner.adapt(params, learner.initial(params, 4), episodes.support)
    inputs = episodes.query.inputs
    together = learner.query(params, state, inputs)["logits"]
    assert together.shape == (4, 9, 3)
    for i in range(9):
        alone = learner.query(params, state, inputs[:, i : i + 1])["logits"]
        torch.testing.assert_close(together[:, i : i + 1], alone, rtol=1e-4, atol=1e-5)
    other = learner.adapt(params, learner.initial(params, 4), Support(inputs[:, :6], episodes.support.targets))
    assert not torch.allclose(learner.query(params, other, inputs)["logits"], together, atol=1e-3)


@every_memory
def test_a_support_in_two_calls_is_the_same_as_in_one(drawn: FewShotDataset, memory: str) -> None:
    learner, params = made(memory)
    params = away(params)
    support = drawn.split("test").draw(EpisodeSpec(5, 2, 1), 4, torch.Generator().manual_seed(0)).support
    start = learner.initial(params, 4)
    whole, state = learner.adapt(params, start, support), start
    for part in (slice(0, 3), slice(3, 10)):
        state = learner.adapt(params, state, Support(support.inputs[:, part], support.targets[:, part]))
    for name, value in whole.items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-4, msg=name)


@every_memory
def test_the_label_of_a_sample_counts(drawn: FewShotDataset, memory: str) -> None:
    learner, params = made(memory)
    params = away(params)
    episodes = drawn.split("test").draw(EpisodeSpec(5, 1, 1), 2, torch.Generator().manual_seed(0))
    inputs, targets = episodes.support
    logits = []
    for labels in (targets, targets.flip(1)):
        state = learner.adapt(params, learner.initial(params, 2), Support(inputs, labels))
        logits.append(learner.query(params, state, episodes.query.inputs)["logits"])
    assert not torch.allclose(*logits, atol=1e-3)


def test_the_memory_sees_the_label_and_whether_there_is_one(
    drawn: FewShotDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, params = made("gru", way=3)
    seen: list[Tensor] = []
    sequence = learner.memory.sequence
    monkeypatch.setattr(learner.memory, "sequence", lambda p, s, x, n: (seen.append(x), sequence(p, s, x, n))[1])
    images = drawn.split("test").samples[:2].float()[None]
    state = learner.adapt(params, learner.initial(params, 1), Support(images, torch.tensor([[2, 0]])))
    learner.query(params, state, images)
    support, query = seen[0][0], seen[1][:, 0]
    assert support[:, 32:].tolist() == [[0, 0, 1, 1], [1, 0, 0, 1]]
    assert query[:, 32:].tolist() == [[0, 0, 0, 0]] * 2
    torch.testing.assert_close(support[:, :32], query[:, :32])


def test_samples_keep_their_labels_when_they_are_mixed() -> None:
    classes = torch.tensor([[7, 300, 12], [5, 6, 1]])
    targets = torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    which = torch.arange(12).reshape(2, 6)
    episodes = Episodes(Support(which, targets), Support(which, targets), classes)
    inputs, labels = mixed(episodes)
    assert inputs.sort(1).values.tolist() == which.tolist()
    assert torch.equal(targets.flatten()[inputs.flatten()], labels.flatten())
    again, _ = mixed(episodes)
    assert torch.equal(inputs, again)


def test_the_order_that_training_sees_says_nothing_of_labels() -> None:
    """Whatever shots there are, each order of three labels comes as often as any other."""
    dataset = equal_classes(np.zeros((60, 3, 1), np.uint8), tuple(map(str, range(60))))
    for shot in (1, 2):
        part = dataset.draw(EpisodeSpec(3, shot, 1), 6000, torch.Generator().manual_seed(0))
        assert part.classes is not None
        labels = mixed(part).targets.tolist()
        first = [tuple(dict.fromkeys(row)) for row in labels]  # the order in which labels appear
        counts = [first.count(order) for order in permutations(range(3))]
        assert sum(counts) == 6000
        assert min(counts) > 850  # of 1000 expected, with a deviation of 29
        assert max(counts) < 1150
    assert len(set(map(tuple, labels))) == 90  # all orders of three labels twice


def test_a_memory_has_a_slot_for_every_sample_that_it_is_asked_to_hold(drawn: FewShotDataset) -> None:
    backbone = Conv4((28, 28), width=8)
    few, many = (MANN(backbone, 5, MANNConfig(embedding=16, memory_width=32, slots=slots)) for slots in (6, 26))
    params = away(few.init(torch.Generator().manual_seed(0)))
    for shot, slots in ((1, 6), (5, 26)):
        episodes = drawn.split("test").draw(EpisodeSpec(5, shot, 1), 2, torch.Generator().manual_seed(0))
        state = few.adapt(params, few.initial(params, 2), episodes.support)
        assert state[USAGE].shape == (2, slots)
    wide = many.adapt(params, many.initial(params, 2), episodes.support)
    torch.testing.assert_close(state, wide)
    found, wanted = (each.query(params, state, episodes.query.inputs)["logits"] for each in (few, many))
    torch.testing.assert_close(found, wanted)


def test_training_mixes_the_support_where_it_knows_the_classes(drawn: FewShotDataset) -> None:
    learner, params = made("snail")
    params = away(params)
    episodes = drawn.split("train").draw(EpisodeSpec(5, 1, 2), 4, torch.Generator().manual_seed(0))
    assert episodes.classes is not None
    by_hand = Episodes(mixed(episodes), episodes.query)
    found, wanted, plain = (
        learner.loss(params, each)[0] for each in (episodes, by_hand, episodes._replace(classes=None))
    )
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("memory", ["external", "snail"])
def test_it_learns_and_no_order_of_the_support_matters(drawn: FewShotDataset, memory: str, learns: Learns) -> None:
    test = drawn.split("test").draw(EpisodeSpec(5, 1, 5), 100, torch.Generator().manual_seed(1))

    def accurate(learner: MemoryLearner, params: Params, order: Tensor) -> float:
        support = Support(*(part[:, order] for part in test.support))
        with torch.no_grad():
            state = learner.adapt(params, learner.initial(params, 100), support)
            return float(accuracy(learner.query(params, state, test.query.inputs), test.query.targets).mean())

    def score(seed: int) -> dict[str, float]:
        learner, params = made(memory, capacity=6, seed=seed)
        adam, random = Adam(params, 3e-3), torch.Generator().manual_seed(seed)
        before = accurate(learner, params, torch.arange(5))
        for _ in range(120):
            gradient, _ = learner.gradient(params, drawn.split("train").draw(EpisodeSpec(5, 1, 3), 8, random))
            adam.step(gradient)
            params = adam.values()
        orders = [0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 1, 0, 3]
        scores = [accurate(learner, params, torch.tensor(order)) for order in orders]
        return {"before": before, "after": min(scores), "apart by order": max(scores) - min(scores)}

    # Of 5 classes.
    learns(score, above={"after": 0.4}, below={"before": 0.3, "apart by order": 0.08})


def test_bad_input_is_refused(drawn: FewShotDataset) -> None:
    learner, params = made("snail", capacity=6)
    images = drawn.split("test").samples[:4].float()[None]
    start = learner.initial(params, 1)
    for wrong in (5, -1):
        with pytest.raises(MetaRLError, match=f"has class {wrong}; with way=5 classes go from 0 to 4"):
            learner.adapt(params, start, Support(images, torch.tensor([[0, 1, 2, wrong]])))
    state = learner.adapt(params, start, Support(images, torch.tensor([[0, 1, 2, 3]])))
    # Five samples and a query are six; the sixth sample would leave no place for a query.
    one = Support(images[:, :1], torch.tensor([[4]]))
    state = learner.adapt(params, state, one)
    with pytest.raises(MetaRLError, match=r"support of 6 samples and a query .* capacity=6.*at least 7"):
        learner.adapt(params, state, one)
    with pytest.raises(MetaRLError, match="way=0"):
        made("snail", way=0)
    for config, names in (
        (MANNConfig, ("embedding", "memory_width", "slots", "reads")),
        (SNAILLearnerConfig, ("layers", "capacity")),
    ):
        for name in names:
            options: dict[str, Any] = {name: 0}
            with pytest.raises(MetaRLError, match=f"{name}=0"):
                config(**options)
