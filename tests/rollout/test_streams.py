"""Random numbers drawn ahead: those of ``uniforms``, whatever they are asked for in."""

import random

import pytest
import torch
from torch import Tensor

from metarl.core.random import Domain, stream_keys, to_normal, uniforms
from metarl.rollout.streams import Stream

KEYS = stream_keys(3, "streams")
HORIZONS = [1, 7, 128, 300]


def places(horizon: int, order: str) -> list[tuple[int, int]]:
    """Episodes and steps: many short episodes, or a few long ones, at whose blocks' ends the seams are."""
    episodes = range(300) if horizon == 1 else range(40) if horizon == 7 else range(3)
    every = [(episode, step) for episode in episodes for step in range(horizon)]
    if order == "backwards":
        return every[::-1][:700]
    if order == "shuffled":
        return random.Random(0).sample(every, min(len(every), 200))
    if order == "cut short":  # episodes that end early, of which the last is begun anew
        cut = [(episode, step) for episode, step in every if step < 1 + (5 * episode) % horizon]
        return [*cut, (episodes[-1], 0), (0, 0), *cut[:10]]
    return every


def expected(domain: Domain, horizon: int, n: int, episodes: int) -> list[Tensor]:
    return [uniforms(KEYS, domain, episode, horizon, n) for episode in range(episodes)]


@pytest.mark.parametrize("normal", [False, True], ids=["uniform", "normal"])
@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled", "cut short"])
@pytest.mark.parametrize("horizon", HORIZONS)
def test_numbers_are_those_of_uniforms(horizon: int, order: str, normal: bool) -> None:
    stream = Stream(KEYS, Domain.STEP, 2, horizon, normal=normal)
    wanted = places(horizon, order)
    alone = expected(Domain.STEP, horizon, 2, 1 + max(episode for episode, _ in wanted))
    for episode, step in wanted:
        number = alone[episode][:, step]
        assert torch.equal(stream.at(episode, step), to_normal(number) if normal else number), (episode, step)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_drawing_ahead_changes_no_number_that_was_handed_out(horizon: int) -> None:
    stream = Stream(KEYS, Domain.ACTION, 3, horizon)
    held = [(stream.at(*place), place) for place in places(horizon, "in order")]
    alone = expected(Domain.ACTION, horizon, 3, 1 + held[-1][1][0])
    assert all(torch.equal(number, alone[episode][:, step]) for number, (episode, step) in held)


def test_a_stream_that_begins_late_has_the_same_numbers() -> None:
    first = 2**33 + 5
    stream = Stream(KEYS, Domain.RESET, 1, 4)
    for episode in range(first, first + 9):
        assert torch.equal(stream.at(episode, 2), uniforms(KEYS, Domain.RESET, episode, 1, 1, start=2)[:, 0])


def test_the_precision_is_the_one_asked_for() -> None:
    stream = Stream(KEYS, Domain.STEP, 2, 10, normal=True, dtype=torch.float64)
    wide = uniforms(KEYS, Domain.STEP, 0, 10, 2, dtype=torch.float64)
    assert torch.equal(stream.at(0, 3), to_normal(wide[:, 3]))


def test_where_nothing_is_drawn_there_are_empty_rows() -> None:
    assert Stream(KEYS, Domain.STEP, 0, 10).at(4, 2).shape == (3, 0)
