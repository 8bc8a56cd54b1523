"""Users as tasks: what is learned of others' ratings, and what recommenders do as baselines."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.random import torch_generator
from metarl.evaluation.fewshot import FewShotEvaluation, root_of_mean
from metarl.evaluation.fewshot_baselines import evaluate_baseline, paired
from metarl.fewshot.baselines.ratings import ItemNeighbours, MatrixFactorisation, RatingBaseline, rating_baseline
from metarl.fewshot.baselines.registry import baseline_names
from metarl.fewshot.data import movietweetings
from metarl.fewshot.data.episodes import EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups, Task
from metarl.fewshot.data.ratings import Known, RatingDataset, fitted_biases, rating_dataset
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.base import LOGITS, VALUE
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.measures import NDCG, RMSE, measured
from metarl.fewshot.model import FewShot

KNOWN = Known(
    np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 2, 0, 1, 3]), np.array([9.0, 7, 4, 8, 5, 6, 8, 2]), 5
)
Ratings = dict[str, dict[str, float]]
About = dict[str, list[float]]


def people(n: int = 40, items: int = 30, seed: int = 0) -> tuple[Ratings, About]:
    """Users who rate two thirds of the items by how good they are, and by a taste for one of two kinds."""
    random = np.random.default_rng(seed)
    kind, good = random.choice([-1.0, 1.0], items), random.normal(size=items)
    ratings: Ratings = {}
    for user in range(n):
        told = 5 + random.normal() + good + random.normal() * kind + 0.5 * random.normal(size=items)
        rated = random.permutation(items)[: 2 * items // 3]
        ratings[f"u{user}"] = {f"i{i}": float(told[i].clip(0, 10)) for i in rated}
    return ratings, {f"i{i}": [float(kind[i])] for i in range(items)}


@pytest.fixture(scope="module")
def data() -> RatingDataset:
    return rating_dataset("people", *people(), lowest=0, highest=10, least=15, factors=2)


def test_users_are_in_one_split_and_nothing_is_learned_of_those_of_others(data: RatingDataset) -> None:
    ratings, about = people()
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [24, 8, 8]
    unseen = {name for split in ("val", "test") for name in data.splits[split].names}
    changed = {
        user: {item: 10 - r if user in unseen else r for item, r in rated.items()} for user, rated in ratings.items()
    }
    other = rating_dataset("people", changed, about, lowest=0, highest=10, least=15, factors=2)
    for split in ("train", "val", "test"):
        assert torch.equal(data.splits[split].samples, other.splits[split].samples)  # type: ignore[union-attr]
    assert data.spec == other.spec
    assert len(data.known.values) == 24 * 20
    # A user with too few ratings to be a task is known all the same.
    more = rating_dataset("people", {**ratings, "few": {"i0": 1.0}}, about, lowest=0, highest=10, least=15, factors=2)
    assert len(more.known.values) == 24 * 20 + 1


def test_a_training_sample_does_not_show_its_own_rating(data: RatingDataset) -> None:
    ratings, about = people()
    user = data.splits["train"].names[0]
    item = next(iter(ratings[user]))
    changed = {**ratings, user: {**ratings[user], item: 10.0 if ratings[user][item] < 5 else 0.0}}
    other = rating_dataset("people", changed, about, lowest=0, highest=10, least=15, factors=2)
    (mine, its), (of_item, of_others) = (
        [each.splits[split].samples[row] for each in (data, other)]  # type: ignore[union-attr]
        for split, row in (("train", data.splits["train"].tasks[0].rows[0]), ("val", int(item[1:])))  # type: ignore[union-attr]
    )
    assert abs(float(mine[0] - its[0])) < 0.35 * abs(float(of_item[0] - of_others[0]))  # through means alone
    assert float(mine[2]) < float(of_item[2])  # one rating fewer


def test_biases_by_hand_and_by_a_loop() -> None:
    found = fitted_biases(KNOWN)
    mean = KNOWN.values.mean()
    users, items = [0.0] * 3, [0.0] * 5
    for _ in range(15):
        for each, other, of, known, drawn in (
            (items, users, KNOWN.items, KNOWN.users, 3),
            (users, items, KNOWN.users, KNOWN.items, 3),
        ):
            for i in range(len(each)):
                left = [KNOWN.values[r] - mean - other[known[r]] for r in range(8) if of[r] == i]
                each[i] = sum(left) / (len(left) + drawn)
    np.testing.assert_allclose(found.of_users, users, rtol=1e-9)
    np.testing.assert_allclose(found.of_items, items, rtol=1e-9, atol=1e-12)
    assert found.of_items[4] == 0  # which nobody has rated
    # A single user and item: b_i = (b - 0) / 4 at first, for a rating that differs from the mean there is none.
    assert fitted_biases(Known(np.array([0]), np.array([0]), np.array([7.0]), 1)).mean == 7


def predicted(learner: RatingBaseline, items: list[int], rated: list[float], asked: list[int]) -> list[float]:
    given = Support(torch.tensor(items)[None, :, None].float(), torch.tensor(rated)[None, :, None])
    state = learner.adapt({}, learner.initial({}, 1), given)
    found: list[float] = learner.query({}, state, torch.tensor(asked)[None, :, None].float())[VALUE][0, :, 0].tolist()
    return found


def test_baselines_by_hand() -> None:
    made = {name: rating_baseline(name, KNOWN, NDCG) for name in baseline_names(("all",), ("user-mean", "biases"))}
    of = made["biases"].biases
    assert predicted(made["user-mean"], [0, 1], [8.0, 5.0], [2, 3]) == [6.5, 6.5]
    bias = (8 - of.mean - of.of_items[0] + 5 - of.mean - of.of_items[1]) / (2 + 3)
    expected = [of.mean + bias + of.of_items[i] for i in (2, 4)]
    assert predicted(made["biases"], [0, 1], [8.0, 5.0], [2, 4]) == pytest.approx(expected, rel=1e-5)
    assert predicted(rating_baseline("popularity", KNOWN, NDCG), [0], [8.0], [0, 1, 3, 4]) == [3, 2, 1, 0]


def test_item_neighbours_agree_with_a_loop() -> None:
    learner = rating_baseline("item-knn", KNOWN, RMSE)
    assert isinstance(learner, ItemNeighbours)
    of = learner.biases
    over = {
        (u, i): r - of.mean - of.of_users[u] - of.of_items[i]
        for u, i, r in zip(KNOWN.users, KNOWN.items, KNOWN.values, strict=True)
    }

    def similar(one: int, other: int) -> float:
        both = [(over[u, one], over[u, other]) for u in range(3) if (u, one) in over and (u, other) in over]
        if not both:
            return 0.0
        product = sum(a * b for a, b in both)
        return (
            product
            / math.sqrt(sum(a * a for a, _ in both) * sum(b * b for _, b in both))
            * len(both)
            / (len(both) + 20)
        )

    for i in range(5):
        for j in range(5):
            assert learner.similar(np.array([i]), np.array([j]))[0, 0] == pytest.approx(similar(i, j), abs=1e-9)
    bias, left = learner.left(np.array([0, 1]), np.array([8.0, 5.0]))
    weights = [similar(2, 0), similar(2, 1)]
    more = (weights[0] * left[0] + weights[1] * left[1]) / (abs(weights[0]) + abs(weights[1]) + 1)
    expected = of.mean + bias + of.of_items[2] + more
    assert predicted(learner, [0, 1], [8.0, 5.0], [2]) == pytest.approx([expected], rel=1e-5)


def test_folding_in_is_a_ridge_regression_on_factors() -> None:
    learner = rating_baseline("matrix-factorisation", KNOWN, RMSE)
    assert isinstance(learner, MatrixFactorisation)
    learner.factors = np.random.default_rng(0).normal(size=(5, 8))
    _, left = learner.left(np.array([0, 1]), np.array([8.0, 5.0]))
    F = learner.factors[[0, 1]]
    user = np.linalg.solve(F.T @ F + 20 * np.eye(8), F.T @ left)
    base = predicted(rating_baseline("biases", KNOWN, RMSE), [0, 1], [8.0, 5.0], [2, 3])
    expected = [b + f @ user for b, f in zip(base, learner.factors[[2, 3]], strict=True)]
    assert predicted(learner, [0, 1], [8.0, 5.0], [2, 3]) == pytest.approx(expected, rel=1e-5)


def test_measures_by_hand() -> None:
    said = {VALUE: torch.tensor([[[3.0], [1.0], [2.0], [9.0]]])}
    true = torch.tensor([[[2.0], [1.0], [4.0], [0.0]]])
    assert float(measured(said, true, 0, RMSE, torch.tensor([3]))) == pytest.approx((1 + 0 + 4) / 3)
    # Ranked 3, 2, 1 by what is said; the fourth is one of the others again and does not count.
    gain = 2 / math.log2(2) + 4 / math.log2(3) + 1 / math.log2(4)
    best = 4 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert float(measured(said, true, 0, NDCG, torch.tensor([3]))) == pytest.approx(gain / best)
    # The root is of the mean over all queries: (2 · 1 + 8 · 4) / 10 = 3.4.
    assert root_of_mean(np.array([[1.0, 4.0]]), np.array([2.0, 8.0])) == pytest.approx(math.sqrt(3.4))
    with pytest.raises(MetaRLError, match="rmse is of numbers, and these tasks have classes"):
        measured({LOGITS: torch.zeros(1, 2, 2)}, torch.zeros(1, 2).long(), 2, RMSE)


def test_every_user_is_scored_once_and_differences_are_paired(data: RatingDataset, tmp_path: Path) -> None:
    spec, tasks = EpisodeSpec(1, 1, 30, support=5), data.split("test")
    assert isinstance(tasks, Groups)
    by_name = {name: evaluate_baseline(name, data, spec, 8, measure=RMSE) for name in ("user-mean", "biases")}
    made, reference = by_name["biases"], by_name["user-mean"]
    assert made.queries is not None
    assert made.queries.tolist() == [15.0] * 8  # all that are left of each user
    # What a loop finds on the same episodes.
    squares = []
    learner = rating_baseline("biases", data.known, RMSE)
    episodes = tasks.numbered().draw(spec, 8, torch_generator(0, "fewshot", "evaluate", 0), 0)
    for i in range(8):
        (given, rated), (asked, true) = ([each[i, :, 0].tolist() for each in part] for part in episodes[:2])
        assert len({*given, *asked}) == 20
        assert set(given) | set(asked) == set(tasks.tasks[i].rows.tolist())
        found = predicted(learner, [int(each) for each in given], rated, [int(each) for each in asked[:15]])
        squares.append(np.mean((np.array(found) - true[:15]) ** 2))
    np.testing.assert_allclose(made.values[0, 0], squares, rtol=1e-4)
    assert made.at(1).value == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-4)
    apart = paired(made, reference)
    assert apart["difference"] == pytest.approx(made.at(1).value - reference.at(1).value)
    assert apart["difference_low"] < apart["difference"] < apart["difference_high"]
    made.save(tmp_path / "evaluation.json")
    again = FewShotEvaluation.load(tmp_path / "evaluation.json")
    assert again.at(1).value == made.at(1).value


def test_learners_see_ratings_in_units_of_training(data: RatingDataset) -> None:
    spec = EpisodeSpec(1, 1, 30, support=5)
    for name in ("alpaca", "maml", "anil", "neural-process"):
        model = FewShot(name, data, preset_config(name, "default" if name == "alpaca" else "ratings"))
        untrained = model.evaluate(data.split("test"), spec, 8).mean()
        assert untrained < 2 * data.spec.spread**2, name  # on labels about 5 it would be ten times that, or NaN
    tasks = [Task("a", torch.arange(4), torch.tensor([1.0, 3.0, 5.0, 7.0]))]
    unit = Groups(torch.zeros(4, 1), tasks).scaled(4.0, 2.0)
    assert unit.tasks[0].labels.tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_what_cannot_be_used_is_told_with_its_numbers() -> None:
    ratings, about = people(20)
    limits = {"lowest": 0.0, "highest": 10.0, "least": 15}
    first = next(iter(ratings["u3"]))
    for wrong, said, words in (
        (
            {**ratings, "u3": {**ratings["u3"], first: 11.0}},
            about,
            rf"1 of 400 ratings are not from 0 to 10, such as 11 by user u3 of item {first};",
        ),
        ({**ratings, "u3": {**ratings["u3"], first: math.nan}}, about, "such as nan by user u3"),
        ({**ratings, "idle": {}}, about, "1 of 21 users have no rating, such as idle; leave them out"),
        (
            ratings,
            {k: v for k, v in about.items() if k != "i7"},
            "nothing is said about 1 of the rated items, such as i7",
        ),
        (ratings, {**about, "i7": [1.0, 2.0]}, r"items have \[1, 2\] facts about them"),
        (dict(list(ratings.items())[:1]), about, "of users with 15 ratings it has 1 classes or tasks"),
    ):
        with pytest.raises(MetaRLError, match=words):
            rating_dataset("people", wrong, said, **limits)  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="Baseline 'knn' is unknown for ratings; known are all, user-mean, biases"):
        rating_baseline("knn", KNOWN, RMSE)
    with pytest.raises(MetaRLError, match="popularity ranks items and predicts no rating; take --measure ndcg@10"):
        rating_baseline("popularity", KNOWN, RMSE)


def test_movietweetings_are_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "movietweetings"
    folder.mkdir()
    films = [f"{i:07}::Film: no. {i} ({1990 + i})::{'Drama|War' if i % 2 else ''}" for i in range(25)]
    (folder / "movies.dat").write_text("\n".join(films), encoding="utf-8")
    rows = [f"{user}::{i:07}::{(user + i) % 11}::1365029107" for user in range(1, 7) for i in range(21 + user % 3)]
    (folder / "ratings.dat").write_text("\n".join([*rows, "7::0000003::8::1365029107"]))
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    for file in ("movies.dat", "ratings.dat"):
        md5 = hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(movietweetings._MD5, file, md5)
    made = make_dataset("movietweetings")
    assert isinstance(made, RatingDataset)
    assert {split: len(part) for split, part in made.splits.items()} == {"train": 4, "val": 1, "test": 1}
    test = made.split("test")
    assert isinstance(test, Groups)
    assert test.samples.shape == (
        25,
        3 + 3 + 2 + 4,
    )  # biases, year, genres, factors: as many as there are users less one
    assert test.samples[1, 3:8].tolist() == pytest.approx([-0.45, 0.2025, 0, 1, 1])
    user, (rows_of, labels) = test.names[0], test.tasks[0][1:]
    assert labels.tolist() == [float((int(user) + int(i)) % 11) for i in rows_of]
    (folder / "movies.dat").write_text("1::Film")
    monkeypatch.setitem(movietweetings._MD5, "movies.dat", hashlib.md5(b"1::Film", usedforsecurity=False).hexdigest())
    with pytest.raises(MetaRLError, match=r"movies.dat, line 1: it has 2 cells, not 3; mend the file"):
        make_dataset("movietweetings")


@pytest.mark.skipif("METARL_DATA" not in os.environ, reason="MovieTweetings is found through METARL_DATA")
def test_the_published_ratings_have_the_users_that_are_stated() -> None:
    made = make_dataset("movietweetings")
    assert isinstance(made, RatingDataset)
    assert {split: len(part) for split, part in made.splits.items()} == {"train": 692, "val": 231, "test": 231}
    assert len(made.known.values) == 80_446
    assert made.known.n_items == 10_506
