"""Baselines of ratings: what recommenders do without meta-learning, fitted to the known ratings of other users."""

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.data.ratings import Known, fitted_biases
from metarl.fewshot.learners.base import VALUE, FewShotLearner
from metarl.fewshot.measures import NDCG

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
_ITEMS, _RATED, _POPULARITY = "items", "rated", "popularity"
_USER = 3.0  # ratings by which a user's bias is drawn to zero
_SHRUNK = 20.0  # users that two items need in common for half their similarity to count
_NEIGHBOURS = 20
_FACTORS, _RIDGE, _SWEEPS = 8, 20.0, 10  # of the factorisation: numbers of an item, penalty, alternations


class RatingBaseline(FewShotLearner):
    """A learner without parameters that predicts one user's ratings; its samples are the numbers of items.

    Args:
        known: the ratings of other users.
    """

    of_classes, of_numbers = False, True
    any_way = True

    def __init__(self, known: Known) -> None:
        self.known, self.biases = known, fitted_biases(known)
        of = self.biases
        self.over = known.values - of.mean - of.of_users[known.users] - of.of_items[known.items]  # what biases leave

    def initial(self, params: Params, n_tasks: int) -> State:
        """Return no rating."""
        return {_ITEMS: torch.zeros(n_tasks, 0, 1), _RATED: torch.zeros(n_tasks, 0, 1)}

    def adapt(self, params: Params, state: State, support: Support) -> State:
        """Return the ratings with further ones."""
        pairs = ((_ITEMS, support.inputs), (_RATED, support.targets))
        return {name: torch.cat([state[name].to(more), more], 1) for name, more in pairs}

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        """Return the ratings that each user is predicted to give items ``(task, n, 1)``."""
        items, asked = (each[..., 0].long().cpu().numpy() for each in (state[_ITEMS], inputs))
        rated = state[_RATED][..., 0].double().cpu().numpy()
        found = np.stack([self.predicted(*task) for task in zip(items, rated, asked, strict=True)])
        return {VALUE: torch.from_numpy(found)[..., None].to(inputs)}

    @abstractmethod
    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        """Return a user's predicted ratings of items that are asked for, given some that the user has rated."""

    def left(self, items: Whole, rated: Floats) -> tuple[float, Floats]:
        """Return a user's bias, drawn to zero, and what it and items' biases leave of the user's ratings."""
        over = rated - self.biases.mean - self.biases.of_items[items]
        bias = float(over.sum() / (len(items) + _USER))
        return bias, over - bias


class UserMean(RatingBaseline):
    """The mean of the user's given ratings."""

    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        return np.full(len(asked), rated.mean() if len(rated) else self.biases.mean)


class ShrunkBiases(RatingBaseline):
    """``μ + b_u + b_i``, both biases drawn to zero where there are few ratings (Koren 2010, section 2.1)."""

    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        return np.asarray(self.biases.mean + self.left(items, rated)[0] + self.biases.of_items[asked])


class ItemNeighbours(ShrunkBiases):
    """Item neighbours on top of biases (Koren 2010, equation 3): what they leave of the ratings of similar items.

    The similarity is the cosine of what biases leave of the known ratings, over users who rated both, and is drawn to
    zero where these are few.
    """

    def __init__(self, known: Known) -> None:
        super().__init__(known)
        shape, places = (int(known.users.max()) + 1, known.n_items), (known.users, known.items)
        self.table, self.there = (
            csr_array((each, places), shape=shape).tocsc() for each in (self.over, np.ones(len(self.over)))
        )

    def similar(self, one: Whole, other: Whole) -> Floats:
        """Return the similarities ``(len(one), len(other))`` of items."""
        (a, in_a), (b, in_b) = ((self.table[:, each], self.there[:, each]) for each in (one, other))
        products, common = (a.T @ b).toarray(), (in_a.T @ in_b).toarray()
        squares = (a.power(2).T @ in_b).toarray() * (in_a.T @ b.power(2)).toarray()
        return np.asarray(products / np.sqrt(squares).clip(1e-9) * common / (common + _SHRUNK))

    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        weights = self.similar(asked, items)
        if len(items) > _NEIGHBOURS:
            least = np.sort(np.abs(weights), 1)[:, -_NEIGHBOURS, None]
            weights = np.where(np.abs(weights) >= least, weights, 0)
        _, left = self.left(items, rated)
        more = weights @ left / (np.abs(weights).sum(1) + 1)  # as if one more neighbour had said nothing
        return np.asarray(super().predicted(items, rated, asked) + more)


class MatrixFactorisation(ShrunkBiases):
    """Matrix factorisation by alternating ridge regressions on top of biases, into which a new user is folded.

    Items' factors are fitted to the known ratings (Koren 2010, section 2.3); a user's are the ridge regression of what
    biases leave of the given ratings on the factors of the rated items.
    """

    def __init__(self, known: Known) -> None:
        super().__init__(known)
        users, items, _, n_items = known
        self.factors = 0.1 * np.random.Generator(np.random.Philox(key=0)).standard_normal((n_items, _FACTORS))
        for _ in range(_SWEEPS):
            of_users = _regressed(users, self.factors[items], self.over, int(users.max()) + 1)
            self.factors = _regressed(items, of_users[users], self.over, n_items)

    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        _, left = self.left(items, rated)
        user = _regressed(np.zeros(len(items), np.int64), self.factors[items], left, 1)[0]
        return np.asarray(super().predicted(items, rated, asked) + self.factors[asked] @ user)


class Popularity(RatingBaseline):
    """How many known ratings an item has, by which it is ranked for everyone alike; it predicts no rating."""

    def predicted(self, items: Whole, rated: Floats, asked: Whole) -> Floats:
        counts = np.bincount(self.known.items, minlength=self.known.n_items)
        return np.asarray(counts[asked], np.float64)


def _regressed(whose: Whole, factors: Floats, over: Floats, n: int) -> Floats:
    """Return the ridge regression of numbers on factors ``(number, k)`` for each of ``n`` groups ``(n, k)``."""
    k = factors.shape[1]
    squares, products = np.zeros((n, k, k)), np.zeros((n, k))
    np.add.at(squares, whose, factors[:, :, None] * factors[:, None])
    np.add.at(products, whose, factors * over[:, None])
    return np.asarray(np.linalg.solve(squares + _RIDGE * np.eye(k), products[..., None])[..., 0])


OF_RATINGS: dict[str, type[RatingBaseline]] = {
    "user-mean": UserMean,
    "biases": ShrunkBiases,
    "item-knn": ItemNeighbours,
    "matrix-factorisation": MatrixFactorisation,
    _POPULARITY: Popularity,
}


def rating_baseline_names(measure: str) -> list[str]:
    """Return the names of the baselines that a measure can be taken of."""
    return [name for name in OF_RATINGS if name != _POPULARITY or measure == NDCG]


def rating_baseline(name: str, known: Known, measure: str) -> RatingBaseline:
    """Return a baseline by its name, one of ``OF_RATINGS``, fitted to known ratings.

    Raises:
        MetaRLError: for another name, and for popularity where ratings have to be predicted.
    """
    if name not in OF_RATINGS:
        known_names = ", ".join(("all", *OF_RATINGS))
        raise MetaRLError(
            f"Baseline {name!r} is unknown for ratings; known are {known_names}.{did_you_mean(name, OF_RATINGS)}"
        )
    if name not in rating_baseline_names(measure):
        raise MetaRLError("popularity ranks items and predicts no rating; take --measure ndcg@10, or leave it out.")
    made = OF_RATINGS[name](known)
    made.name = name  # type: ignore[misc]  # of this one
    return made
