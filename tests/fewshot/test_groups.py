"""Tasks with labels of their own: unbalanced supports, missing labels, numbers, and the published ones."""

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.data.groups import Groups, Task
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.model import FewShot


def assays(seed: int = 0, rare: float = 0.1, n: int = 200) -> Groups:
    """Four assays of 200 compounds, half of which each has measured, the active ones where two numbers add up."""
    random = np.random.default_rng(seed)
    samples, tasks = random.normal(size=(n, 4)).astype(np.float32), []
    for i in range(4):
        rows = random.permutation(n)[: n // 2]
        score = samples[rows] @ random.normal(size=4)
        active = score > np.quantile(score, 1 - rare)
        tasks.append(Task(f"assay {seed} {i}", torch.from_numpy(rows), torch.from_numpy(active.astype(np.int64))))
    return Groups(torch.from_numpy(samples), tasks, ("inactive", "active"))


def test_a_support_is_as_unbalanced_as_its_task_but_has_each_class() -> None:
    source = assays()
    episodes = source.draw(EpisodeSpec(2, support=10, queries=30), 400, torch.Generator().manual_seed(0))
    active = episodes.support.targets.sum(1)
    assert int(active.min()) == 1  # without the rule a third of the supports would have none
    assert 0.09 < active.float().mean() / 10 < 0.2
    assert (active != active[0]).any()
    assert 0.05 < episodes.query.targets.float().mean() < 0.11
    assert episodes.classes is not None
    assert episodes.classes.tolist()[0] == [0, 1]


def test_labels_are_those_of_the_task_and_no_sample_is_given_and_asked() -> None:
    source = assays()
    known = [
        {tuple(source.samples[row].tolist()): int(label) for row, label in zip(task.rows, task.labels, strict=True)}
        for task in source.tasks
    ]
    episodes = source.draw(EpisodeSpec(2, support=20, queries=40), 50, torch.Generator().manual_seed(1))
    for i in range(50):
        given, asked = (
            {tuple(x.tolist()): int(y) for x, y in zip(part.inputs[i], part.targets[i], strict=True)}
            for part in (episodes.support, episodes.query)
        )
        assert len(given) == 20
        assert len(asked) == 40
        assert not set(given) & set(asked)
        assert any({**given, **asked}.items() <= each.items() for each in known)


def test_a_balanced_support_has_as_many_of_each_class() -> None:
    episodes = assays().draw(EpisodeSpec(2, 3, 20), 10, torch.Generator().manual_seed(0))
    assert episodes.support.targets.sum(1).tolist() == [3] * 10
    with pytest.raises(MetaRLError, match=r"none of the 4 tasks has more .* or enough of each class"):
        assays().draw(EpisodeSpec(2, 50, 20), 1, torch.Generator())


def test_small_tasks_are_asked_for_the_same_again() -> None:
    source = Groups(torch.arange(5.0)[:, None], [Task("t", torch.arange(5), torch.tensor([0, 1, 0, 1, 0]))], ("a", "b"))
    episodes = source.draw(EpisodeSpec(2, support=3, queries=6), 20, torch.Generator().manual_seed(0))
    for given, asked in zip(episodes.support.inputs[..., 0], episodes.query.inputs[..., 0], strict=True):
        assert sorted(set(given.tolist()) | set(asked.tolist())) == [0, 1, 2, 3, 4]
        assert sorted(asked.tolist())[::3] == sorted(set(asked.tolist()))  # each of two three times
    with pytest.raises(MetaRLError, match="none of the 1 tasks has more"):
        source.draw(EpisodeSpec(2, support=5, queries=1), 1, torch.Generator())


def test_numbers_and_what_is_refused() -> None:
    ratings = Groups(torch.zeros(6, 2), [Task("u", torch.arange(6), torch.arange(6.0))])
    episodes = ratings.draw(EpisodeSpec(1, support=4, queries=2), 3, torch.Generator().manual_seed(0))
    assert episodes.support.targets.shape == (3, 4, 1)
    assert episodes.classes is None
    assert FewShotDataset("r", {"train": ratings}).spec.outputs == 1
    for spec, words in (
        (EpisodeSpec(5, support=2, queries=1), "every task here has numbers, so way 1"),
        (EpisodeSpec(1, support=2, queries=1, unlabelled=1), "nothing unlabelled"),
    ):
        with pytest.raises(MetaRLError, match=words):
            ratings.draw(spec, 1, torch.Generator())
    with pytest.raises(MetaRLError, match="the 2 classes inactive, active"):
        assays().draw(EpisodeSpec(3, support=10, queries=5), 1, torch.Generator())
    with pytest.raises(MetaRLError, match="a support has at least one sample"):
        EpisodeSpec(2, support=0)
    classes = Classes(torch.zeros(40, 1), torch.tensor([20, 20]), ("a", "b"))
    with pytest.raises(MetaRLError, match="support=4 is for tasks with labels of their own"):
        classes.draw(EpisodeSpec(2, support=4, queries=1), 1, torch.Generator())
    with pytest.raises(MetaRLError, match="a task without a labelled sample"):
        Groups(torch.zeros(2, 1), [Task("t", torch.arange(0), torch.zeros(0))])
    with pytest.raises(MetaRLError, match="NaN"):
        Groups(torch.zeros(2, 1), [Task("t", torch.arange(2), torch.tensor([1.0, float("nan")]))])


def test_what_cannot_be_drawn_is_made_less() -> None:
    usual = EpisodeSpec(way=20, shot=1, queries=5)
    assert assays().fitting(usual) == EpisodeSpec(2, 1, 32, support=16)
    assert assays().fitting(EpisodeSpec(2, queries=256, support=64)) == EpisodeSpec(2, 1, 50, support=50)
    few = Classes(torch.zeros(24, 1), torch.tensor([10, 10, 4]), ("a", "b", "c"))
    assert few.fitting(usual) == EpisodeSpec(way=2, shot=1, queries=5)
    assert few.fitting(EpisodeSpec(2, 1, 3)) == EpisodeSpec(2, 1, 3)
    few.draw(few.fitting(EpisodeSpec(3, 5, 15)), 1, torch.Generator())


def test_a_learner_trains_on_assays_and_tells_those_of_others() -> None:
    data = FewShotDataset("assays", {"train": assays(0, 0.5), "test": assays(1, 0.5)})
    config = FewShotConfig(iterations=60, tasks=4, episode=EpisodeSpec(2, support=16, queries=16))
    model = FewShot("prototypical", data, config).fit(data)
    scored = model.score(data.split("test"), EpisodeSpec(2, support=32, queries=32), 40)
    assert scored.measure == "accuracy"
    assert scored.at().mean() > 0.7


def test_scikit_learns_tables_are_tasks_with_other_columns() -> None:
    data = make_dataset("tables")
    train, test = data.split("train"), data.split("test")
    assert isinstance(train, Groups)
    assert isinstance(test, Groups)
    assert not {name.partition(":")[0] for name in train.names} & {name.partition(":")[0] for name in test.names}
    wine = next(task for task in test.tasks if task.name == "wine: class 0")
    shown = test.samples[wine.rows]
    assert shown[:, :13].std(0).allclose(torch.ones(13), atol=0.01)
    assert not shown[:, 13:].any()
    column = next(task for task in test.tasks if task.name.endswith("above its median"))
    assert not test.samples[column.rows][:, 12:].any() or column.name.startswith("breast")  # itself is not shown
    for task in (*train.tasks, *test.tasks):
        assert 0.1 <= task.labels.float().mean() <= 0.9
