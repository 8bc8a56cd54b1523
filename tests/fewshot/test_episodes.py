"""Episodes: what is drawn, by hand and by counting, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.episodes import Classes, EpisodeSpec


def numbered(counts: tuple[int, ...] = (4, 6, 5, 3, 6, 6)) -> Classes:
    """Sample s of class c is (c, s)."""
    rows = [(c, s) for c, n in enumerate(counts) for s in range(n)]
    names = tuple(f"c{c}" for c in range(len(counts)))
    return Classes(torch.tensor(rows, dtype=torch.uint8), torch.tensor(counts), names, scale=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_task_has_its_classes_its_shots_and_its_queries() -> None:
    support, query, *_ = numbered().draw(EpisodeSpec(way=3, shot=2, queries=1), 50, generator())
    assert support.inputs.shape == (50, 6, 2)
    assert query.inputs.shape == (50, 3, 2)
    assert support.targets[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert query.targets[0].tolist() == [0, 1, 2]
    for task in range(50):
        classes = (2 * support.inputs[task, :, 0]).int().tolist()  # the scale undone
        assert classes[0::2] == classes[1::2]
        assert len(set(classes)) == 3
        assert (2 * query.inputs[task, :, 0]).int().tolist() == classes[0::2]


def test_support_and_query_share_no_sample() -> None:
    support, query, *_ = numbered().draw(EpisodeSpec(way=4, shot=2, queries=2), 200, generator())
    for task in range(200):
        seen, asked = ({tuple(row) for row in part.inputs[task].tolist()} for part in (support, query))
        assert len(seen) == len(asked) == 8
        assert not seen & asked


def test_classes_and_samples_are_drawn_evenly() -> None:
    counts = (6,) * 5
    support, *_ = numbered(counts).draw(EpisodeSpec(way=2, shot=1, queries=1), 6000, generator())
    drawn = np.zeros((5, 6))
    for c, s in (2 * support.inputs).int().flatten(0, 1).tolist():
        drawn[c, s] += 1
    assert np.abs(drawn / 400 - 1).max() < 0.25


def test_classes_with_too_few_samples_are_left_out_and_too_few_classes_are_refused() -> None:
    classes = numbered()
    support, *_ = classes.draw(EpisodeSpec(way=3, shot=3, queries=3), 100, generator())
    assert set((2 * support.inputs[..., 0]).int().flatten().tolist()) == {1, 4, 5}
    with pytest.raises(MetaRLError, match=r"3 of the 6 classes have 6 samples \(the largest has 6\)"):
        classes.draw(EpisodeSpec(way=4, shot=3, queries=3), 1, generator())
    with pytest.raises(MetaRLError, match="7-way"):
        classes.draw(EpisodeSpec(way=7, shot=1, queries=1), 1, generator())


def test_the_seed_decides() -> None:
    one, same, other = (numbered().draw(EpisodeSpec(3, 1, 1), 9, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.support.inputs, same.support.inputs)
    assert not torch.equal(one.support.inputs, other.support.inputs)


def test_nonsense_is_refused() -> None:
    for wrong in ({"way": 0}, {"shot": 0}, {"queries": 0}):
        with pytest.raises(MetaRLError, match="an episode has"):
            EpisodeSpec(**wrong)
    with pytest.raises(MetaRLError, match="2 classes with 5 samples by their counts, and 4 samples"):
        Classes(torch.zeros(4, 2), torch.tensor([2, 3]), ("a", "b"))
    with pytest.raises(MetaRLError, match="NaN"):
        Classes(torch.tensor([[0.0], [np.nan]]), torch.tensor([1, 1]), ("a", "b"))


def test_way_and_shot_may_vary_from_batch_to_batch() -> None:
    classes, shape = numbered((6,) * 8), EpisodeSpec(way=2, shot=1, queries=2, most_way=5, most_shot=3)
    seen = set()
    for seed in range(60):
        support, query, chosen, *_ = classes.draw(shape, 2, generator(seed))
        assert chosen is not None
        way = chosen.shape[1]
        seen.add((way, support.inputs.shape[1] // way))
        assert query.inputs.shape[1] == 2 * way
    assert seen == {(way, shot) for way in (2, 3, 4, 5) for shot in (1, 2, 3)}
    # A class that is too small for the greatest shot is never drawn, whatever the shot.
    few = numbered((6, 6, 4))
    batches = [few.draw(replace(shape, most_way=None), 2, generator(seed)).classes for seed in range(20)]
    assert all(batch is not None and set(batch.flatten().tolist()) == {0, 1} for batch in batches)
    with pytest.raises(MetaRLError, match="most_shot must be at least shot"):
        EpisodeSpec(shot=3, most_shot=2)
    with pytest.raises(MetaRLError, match="ask for 2 classes or more"):
        classes.draw(EpisodeSpec(way=1), 1, generator())


def test_a_batch_knows_its_classes_and_holds_others_without_labels() -> None:
    support, query, chosen, more, *_ = numbered((8,) * 5).draw(EpisodeSpec(3, 2, 2, unlabelled=3), 20, generator())
    assert more is not None
    assert more.shape == (20, 9, 2)
    assert chosen is not None
    for task in range(20):
        parts = [{tuple(row) for row in part[task].tolist()} for part in (support.inputs, query.inputs, more)]
        assert [len(part) for part in parts] == [6, 6, 9]
        assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
        assert (2 * support.inputs[task, ::2, 0]).tolist() == chosen[task].tolist()
        assert {c / 2 for c in chosen[task].tolist()} == {c for c, _ in parts[2]}
    with pytest.raises(MetaRLError, match=r"with 2 \+ 2 \+ 5 samples of a class: 0 of the 5 classes have 9"):
        numbered((8,) * 5).draw(EpisodeSpec(3, 2, 2, unlabelled=5), 1, generator())
