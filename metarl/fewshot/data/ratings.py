"""Ratings as tasks: a user is one, and what an item is like is learned of the ratings of other users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import FewShotDataset, split_by_chance
from metarl.fewshot.data.groups import Groups, Task

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
_ITEM, _USER, _ABOUT = 3.0, 3.0, 5.0  # ratings that draw an item's and a user's bias, and weights of facts, to nothing
_ROUNDS = 15  # in which the biases of items and users are fitted in turn
_TOGETHER = 5.0  # ratings by which factors of rarely rated items and of users with few ratings are drawn to nothing
_COUNT = 3.0  # what the logarithm of a number of ratings is divided by


class Known(NamedTuple):
    """The ratings from which everything is learned: those of all users but the ones that are chosen by or tested on."""

    users: Whole  # (rating,) numbers from 0
    items: Whole  # (rating,) numbers from 0
    values: Floats  # (rating,)
    n_items: int


class Biases(NamedTuple):
    """The mean of known ratings and what users and items add to it, drawn to zero where there are few ratings."""

    mean: float
    of_users: Floats  # (user,)
    of_items: Floats  # (item,)
    expected: Floats  # (item,) what the facts about an item alone say of its bias


@dataclass(frozen=True)
class RatingDataset(FewShotDataset):
    """A data set whose tasks are users; the samples of all splits but training are the items, in their order."""

    known: Known = field(kw_only=True)


def rating_dataset(
    name: str,
    ratings: Mapping[str, Mapping[str, float]],
    about: Mapping[str, Sequence[float]],
    *,
    lowest: float,
    highest: float,
    least: int = 20,
    factors: int = 8,
    seed: int = 0,
) -> RatingDataset:
    """Make a data set of users' ratings, in which unseen users are the tasks to choose by and to test on.

    A sample is an item: its bias among known ratings, what the facts about it say of that bias, the logarithm of how
    many ratings it has, those facts, and factors of who has rated what. Known are the ratings of training users and of
    those with too few ratings to be a task. A training task's own ratings have no part in the bias and the number of
    ratings that its samples show, for those of an unseen user have none either.

    Args:
        name: of the data set.
        ratings: user -> item -> rating.
        about: item -> numbers that are known of it, such as genres; of about unit size, as many for every item.
        lowest: rating that there can be.
        highest: rating that there can be.
        least: ratings that a user needs to be a task.
        factors: how many numbers say by whom an item is rated.
        seed: decides which users are in which split: three fifths to train on, a fifth each to choose by and test on.

    Raises:
        MetaRLError: for ratings out of range, users without any, items of which nothing is said, and too few users.
    """
    _check(name, ratings, about, lowest, highest)
    try:
        splits = split_by_chance([user for user, rated in ratings.items() if len(rated) >= least], seed, 1)
    except MetaRLError as error:
        raise MetaRLError(f"{name}: of users with {least} ratings {error}") from error
    items = {item: i for i, item in enumerate(about)}
    facts = np.array(list(about.values()), np.float64).reshape(len(items), -1)
    unseen = {user for split, users in splits.items() if split != "train" for user in users}
    rows = [(user, items[item], value) for user, rated in ratings.items() for item, value in rated.items()]
    seen = [row for row in rows if row[0] not in unseen]
    numbers = {user: i for i, user in enumerate(dict.fromkeys(user for user, _, _ in seen))}
    users, rated, values = zip(*((numbers[user], item, value) for user, item, value in seen), strict=True)
    known = Known(np.array(users), np.array(rated), np.array(values, np.float64), len(items))
    samples, own = item_samples(known, facts, factors)
    made = {}
    for split, names in splits.items():
        if split == "train":  # every rating has a sample of its own
            of = [np.flatnonzero(known.users == numbers[user]) for user in names]
            kept, labels = own, [known.values[rows] for rows in of]
        else:
            of = [np.array([items[item] for item in ratings[user]]) for user in names]
            kept, labels = samples, [np.array(list(ratings[user].values()), np.float64) for user in names]
        tasks = [
            Task(user, torch.from_numpy(which), torch.from_numpy(label).float())
            for user, which, label in zip(names, of, labels, strict=True)
        ]
        made[split] = Groups(torch.from_numpy(kept), tasks)
    return RatingDataset(name, made, known=known)


def item_samples(known: Known, facts: Floats, factors: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the items as samples ``(item, d)``, and each known rating's item without that rating ``(rating, d)``."""
    items, counts = known.items, np.bincount(known.items, minlength=known.n_items)
    given = _given(counts, facts)
    biases = fitted_biases(known, given)
    left = known.values - biases.mean - biases.of_users[known.users] - biases.expected[items]
    total = np.bincount(items, weights=left, minlength=known.n_items)
    others = biases.expected[items] + (total[items] - left) / (counts[items] - 1 + _ITEM)
    together = factors_of_items(known, factors)

    def columns(bias: Floats, expected: Floats, count: Whole, rows: Whole) -> NDArray[np.float32]:
        known_of = np.log1p(count) / _COUNT
        return np.column_stack([bias, expected, known_of, facts[rows], together[rows]]).astype(np.float32)

    every = np.arange(known.n_items)
    return (
        columns(biases.of_items, biases.expected, counts, every),
        columns(others, biases.expected[items], counts[items] - 1, items),
    )


def fitted_biases(known: Known, facts: Floats | None = None) -> Biases:
    """Fit ``μ + b_u + b_i`` to known ratings, the biases of users and items in turn (Koren 2010, section 2.1).

    Args:
        known: the ratings.
        facts: of each item ``(item, d)``, whose ridge regression is what an item's bias is drawn to; zero unless given.
    """
    users, items, values, n_items = known
    n_users = int(users.max()) + 1
    of_user, of_item = np.bincount(users, minlength=n_users), np.bincount(items, minlength=n_items)
    mean = float(values.mean())
    by_user, by_item, expected = np.zeros(n_users), np.zeros(n_items), np.zeros(n_items)
    rated = np.zeros((len(items), 0)) if facts is None else facts[items]
    inverse = np.linalg.inv(rated.T @ rated + _ABOUT * np.eye(rated.shape[1]))
    for _ in range(_ROUNDS):
        left = values - mean - by_user[users]
        if facts is not None:
            expected = facts @ (inverse @ (rated.T @ left))
        total = np.bincount(items, weights=left - expected[items], minlength=n_items)
        by_item = expected + total / (of_item + _ITEM)
        total = np.bincount(users, weights=values - mean - by_item[items], minlength=n_users)
        by_user = total / (of_user + _USER)
    return Biases(mean, by_user, by_item, expected)


def factors_of_items(known: Known, factors: int) -> Floats:
    """Return what singular vectors of who has rated what say of each item ``(item, factors)``, of about unit size.

    They are of which items are rated, not how: factors of the ratings themselves fit those of training users closer
    than any of an unseen one's.
    """
    from scipy.sparse import csr_array  # late, for both take long to import
    from scipy.sparse.linalg import svds

    n_users = int(known.users.max()) + 1
    most = min(n_users, known.n_items) - 1
    if factors < 1 or most < 1:
        return np.zeros((known.n_items, 0))
    of_user, of_item = np.bincount(known.users), np.bincount(known.items, minlength=known.n_items)
    weights = ((of_user[known.users] + _TOGETHER) * (of_item[known.items] + _TOGETHER)) ** -0.5
    table = csr_array((weights, (known.users, known.items)), shape=(n_users, known.n_items))
    start = np.ones(min(table.shape))  # so that the same ratings always give the same
    _, strength, found = svds(table, k=min(factors, most), v0=start)
    made = found.T * strength
    made = made * np.sign(made[np.abs(made).argmax(0), np.arange(made.shape[1])])  # a vector's sign means nothing
    return np.asarray((made / (3 * np.sqrt(np.square(made).mean(0)).clip(1e-12))).clip(-1.5, 1.5))


def _given(counts: Whole, facts: Floats) -> Floats:
    """Return what an item's bias is regressed on: one, how often it is rated, and the facts about it."""
    return np.column_stack([np.ones(len(counts)), np.log1p(counts) / _COUNT, facts])


def _check(
    name: str,
    ratings: Mapping[str, Mapping[str, float]],
    about: Mapping[str, Sequence[float]],
    lowest: float,
    highest: float,
) -> None:
    """Raise for what cannot be used, with how often it occurs and the first of it."""
    if empty := [user for user, rated in ratings.items() if not rated]:
        raise MetaRLError(
            f"{name}: {len(empty)} of {len(ratings)} users have no rating, such as {empty[0]}; leave them out."
        )
    every = [(user, item, value) for user, rated in ratings.items() for item, value in rated.items()]
    if wrong := [each for each in every if not lowest <= each[2] <= highest]:
        user, item, value = wrong[0]
        raise MetaRLError(
            f"{name}: {len(wrong)} of {len(every)} ratings are not from {lowest:g} to {highest:g}, such as {value:g} "
            f"by user {user} of item {item}; mend or leave them out."
        )
    if missing := sorted({item for _, item, _ in every} - set(about)):
        raise MetaRLError(
            f"{name}: nothing is said about {len(missing)} of the rated items, such as {missing[0]}; add them."
        )
    if len(widths := {len(facts) for facts in about.values()}) > 1:
        raise MetaRLError(f"{name}: items have {sorted(widths)} facts about them; give all as many.")
