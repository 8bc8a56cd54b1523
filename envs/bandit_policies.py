"""Reference policies of Bernoulli bandits: greedy, Thompson sampling, and the Gittins index of a finite horizon."""

from abc import abstractmethod
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.core.types import Noise, Outputs, Params, Transition
from metarl.family.reference_policies import ReferencePolicy

_LONGEST = 500  # pulls; n**3 / 6 indices take most of a minute then, half a second for 100
_CELLS = 1024  # of the prices; of 100 pulls no index is then off by more than 5e-5


T = TypeVar("T", int, Tensor)


class _BetaPolicy(ReferencePolicy):
    """Counts each arm's rewards over a trial, and pulls the arm of the highest score, of several one at random.

    With a uniform prior the posterior of an arm's probability is a Beta distribution. A subclass defines ``score``.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self.action_noise = Noise(k, "uniform")

    def initial(self, params: Params, n_tasks: int) -> dict[str, Tensor]:
        state = super().initial(params, n_tasks)
        ones = torch.ones(n_tasks, self._k, device=state["step"].device)
        return {**state, "wins": ones, "losses": ones}  # the Beta distribution's two parameters

    def observe(self, params: Params, state: dict[str, Tensor], transition: Transition) -> dict[str, Tensor]:
        pulled = functional.one_hot(transition.action[:, 0], self._k)
        won = pulled * transition.reward
        return {
            "step": state["step"] + 1,
            "wins": state["wins"] + won,
            "losses": state["losses"] + pulled - won,
        }

    def act(
        self, params: Params, state: dict[str, Tensor], observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        score = self.score(state["wins"], state["losses"], noise[:, 0])
        highest = score == score.amax(-1, keepdim=True)
        return torch.where(highest, noise[:, 0], 0).argmax(-1, keepdim=True), {}

    @abstractmethod
    def score(self, wins: Tensor, losses: Tensor, u: Tensor) -> Tensor:
        """Return the score of each arm from the Beta distribution's two parameters and uniforms, ``(task, k)`` each."""


class Greedy(_BetaPolicy):
    """Pulls the arm of the highest posterior mean; ties broken at random earn .6 more in 100 pulls of 5 arms."""

    def score(self, wins: Tensor, losses: Tensor, u: Tensor) -> Tensor:
        return wins / (wins + losses)


class Thompson(_BetaPolicy):
    """Draws each arm's probability from its posterior and pulls the arm of the highest draw (Thompson 1933)."""

    def score(self, wins: Tensor, losses: Tensor, u: Tensor) -> Tensor:
        from scipy.special import betaincinv  # here, for it takes long to import

        draw = betaincinv(*(value.double().cpu().numpy() for value in (wins, losses, u)))
        return torch.as_tensor(draw, device=u.device)


class Gittins(_BetaPolicy):
    """Pulls the arm of the highest Gittins index (Gittins 1979) for the pulls that are left of a trial of n.

    Such a rule is optimal where trials are endless and discounted, and very nearly so within n pulls (Kaufmann 2018,
    "On Bayesian index policies for sequential resource allocation"). After n pulls it is greedy. Its first trial
    computes the indices, and raises where n is beyond 500.
    """

    def __init__(self, k: int, n: int) -> None:
        super().__init__(k)
        self._n = n

    def initial(self, params: Params, n_tasks: int) -> dict[str, Tensor]:
        state = super().initial(params, n_tasks)
        _table(self._n, state["step"].device)  # here rather than in the first pull, where its errors would come late
        return state

    def score(self, wins: Tensor, losses: Tensor, u: Tensor) -> Tensor:
        won, pulls = (wins - 1).long(), (wins + losses - 2).long()
        left = (self._n - pulls.sum(-1, keepdim=True)).clamp(min=1)
        table = _table(self._n, wins.device)
        index = table[_place(won, pulls, left).clamp(max=len(table) - 1)]  # clamped after n pulls, where greed rules
        return torch.where(left == 1, wins / (wins + losses), index)


def gittins_index(wins: int, losses: int, left: int) -> float:
    """Return the Gittins index of an arm with these rewards under a uniform prior, where ``left`` pulls remain."""
    pulls = wins + losses
    return float(_indices(pulls + left)[_place(wins, pulls, left)])


@lru_cache(maxsize=4)
def _indices(n: int) -> NDArray[np.float32]:
    """Compute the indices of all states of a trial of n pulls, each at its ``_place``.

    An index is the price of a pull at which it is indifferent whether one pulls this arm on, as long as one likes, or
    stops. The gain of pulling on, by backward induction at many prices, falls with the price and is convex and
    piecewise linear, so that its root lies where the lines of the neighbouring cells put it; of the two the larger.
    """
    if n > _LONGEST:
        raise MetaRLError(f"Gittins indices of n={n} pulls: at most {_LONGEST}; lower the family's episodes_per_trial.")
    price = np.linspace(0, 1, _CELLS + 1, dtype=np.float32)
    indices = np.empty(_place(0, 0, n + 1), np.float32)
    for end in range(1, n + 1):  # pulls of this arm until the trial ends
        value_tp1 = np.zeros((end + 1, _CELLS + 1), np.float32)  # (wins, price)
        for pulls in reversed(range(end)):
            wins = np.arange(pulls + 1)
            mean = ((wins + 1) / (pulls + 2)).astype(np.float32)[:, None]
            gain_t = value_tp1[1:] - value_tp1[:-1]
            gain_t *= mean
            gain_t += value_tp1[:-1]
            gain_t += mean - price
            cell = (gain_t <= 0).argmax(-1) - 1
            a, b, c, d = (gain_t[wins, cell + i] for i in (-1, 0, 1, 2))  # the root lies between b and c
            start = _place(0, pulls, end - pulls)
            indices[start : start + pulls + 1] = (cell + np.maximum(b / (a - b), 1 + c / (c - d))) / _CELLS
            value_tp1 = np.maximum(gain_t, 0, out=gain_t)
    return indices


@lru_cache(maxsize=4)
def _table(n: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_indices(n)).to(device)


def _place(wins: T, pulls: T, left: T) -> T:
    """Return a state's place among all, ordered by (pulls + left, pulls, wins), where pulls < pulls + left."""
    end = pulls + left
    return (end - 1) * end * (end + 1) // 6 + pulls * (pulls + 1) // 2 + wins
