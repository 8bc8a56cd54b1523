"""Counter-based random numbers: known answers, uniformity, independence, and invariance of layout."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from metarl.core.random import (
    Domain,
    gymnasium_keys,
    philox,
    random_words,
    step_uniforms,
    stream_keys,
    to_normal,
    to_uniform,
    uniforms,
    uniforms64,
)

KEYS = stream_keys(500, "test")


def words(numbers: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(number) for number in numbers)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),  # digits of pi
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_random123(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = words(counter)
    k0, k1 = words(key)
    assert [int(word) for word in philox((c0, c1, c2, c3), (k0, k1))] == list(expected)


def test_uniform_by_chi_square_and_kolmogorov_smirnov() -> None:
    u = uniforms(KEYS, Domain.STEP, 0, 200, 3).numpy().ravel()
    counts = np.bincount((u * 256).astype(int), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(to_normal(torch.from_numpy(u)).numpy(), "norm").pvalue > 1e-3


def test_every_bit_is_fair() -> None:
    bits = (random_words(KEYS, Domain.STEP, 3, 400)[..., None] >> torch.arange(32)) & 1
    z = (bits.double().mean((0, 1)) - 0.5) * 2 * (KEYS.shape[0] * 400) ** 0.5
    assert z.abs().max() < 5


def correlation(a: Tensor, b: Tensor) -> float:
    """In standard errors."""
    return abs(float(np.corrcoef(a.flatten(), b.flatten())[0, 1])) * a.numel() ** 0.5


def test_environments_episodes_steps_and_domains_are_uncorrelated() -> None:
    u = torch.stack([uniforms(KEYS, Domain.STEP, episode, 100, 2) for episode in range(3)])
    pairs = {
        "environments": (u[:, 1:], u[:, :-1]),
        "episodes": (u[1:], u[:-1]),
        "steps": (u[:, :, 1:], u[:, :, :-1]),
        "numbers of a step": (u[..., 0], u[..., 1]),
    }
    others = [uniforms(KEYS, domain, 0, 100, 2) for domain in Domain]
    pairs |= {f"domains {i}, {i + 1}": pair for i, pair in enumerate(pairwise(others))}
    assert {name: correlation(a, b) for name, (a, b) in pairs.items() if correlation(a, b) > 5} == {}


def test_neighbours_fill_the_square() -> None:
    # Correlation sees only straight lines; this sees any pattern on a 16 × 16 grid.
    u = uniforms(KEYS, Domain.STEP, 0, 200, 1)[..., 0]
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        cells = ((a * 16).long() * 16 + (b * 16).long()).flatten()
        assert stats.chisquare(torch.bincount(cells, minlength=256).numpy()).pvalue > 1e-3


def test_no_two_purposes_share_a_number() -> None:
    drawn = [random_words(KEYS[:50], domain, episode, 40) for domain in Domain for episode in (0, 1, 2**32)]
    pairs = torch.cat([(w[:, ::2] << 31) ^ w[:, 1::2] for w in drawn]).flatten()  # two words: no chance collision
    assert len(pairs.unique()) == len(pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_interval_is_open_at_extreme_words(dtype: torch.dtype) -> None:
    u = to_uniform(torch.tensor([0, 1, 511, 0xFFFFFE00, 0xFFFFFFFF]), dtype)
    assert u.min() > 0
    assert u.max() < 1
    assert torch.isfinite(to_normal(u)).all()
    assert torch.isfinite(u.log()).all()
    assert torch.isfinite((1 - u).log()).all()


def test_the_dtype_changes_no_number() -> None:
    narrow, wide = (uniforms(KEYS, Domain.STEP, 0, 20, 3, dtype=t) for t in (torch.float32, torch.float64))
    assert torch.equal(narrow.double(), wide)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_each_at_a_step_of_its_own_is_the_same_as_in_lockstep(n: int) -> None:
    keys, episode, step = KEYS[:6], torch.tensor([0, 1, 2, 0, 7, 2**33 + 1]), torch.tensor([0, 1, 2, 3, 99, 5])
    alone = step_uniforms(keys, Domain.STEP, episode, step, n)
    together = torch.stack(
        [uniforms(keys, Domain.STEP, int(e), 100, n)[i, s] for i, (e, s) in enumerate(zip(episode, step, strict=True))]
    )
    assert torch.equal(alone, together)


def test_a_number_does_not_depend_on_what_it_is_drawn_with() -> None:
    whole = uniforms(KEYS, Domain.STEP, 5, 50, 3)
    assert torch.equal(whole[10:20], uniforms(KEYS[10:20], Domain.STEP, 5, 50, 3))
    assert torch.equal(whole[:, 7:19], uniforms(KEYS, Domain.STEP, 5, 12, 3, start=7))
    per_environment = torch.full((len(KEYS),), 5)
    assert torch.equal(whole, uniforms(KEYS, Domain.STEP, per_environment, 50, 3))


def test_runs_of_different_seeds_share_no_stream() -> None:
    keys = torch.cat([stream_keys(20_000, seed, "train") for seed in (0, 1)] + [stream_keys(20_000, 0, "evaluate")])
    assert len((keys[:, 0] << 31 ^ keys[:, 1]).unique()) == len(keys)


def test_a_stream_does_not_depend_on_how_many_there_are() -> None:
    assert torch.equal(stream_keys(100, 3, "train")[:10], stream_keys(10, 3, "train"))


def test_gymnasium_seeds_environment_i_with_s_plus_i() -> None:
    keys = gymnasium_keys(7, 4)
    assert all(torch.equal(keys[i], gymnasium_keys(7 + i)[0]) for i in range(4))


def test_float64_uniforms_are_uniform_and_fine() -> None:
    u = uniforms64(KEYS, Domain.TASK, 0, 200).numpy()
    assert u.dtype == np.float64
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    # More than 23 bits are used: their remainder is uniform, too.
    assert stats.kstest(np.mod(u.ravel() * 2**23, 1), "uniform").pvalue > 1e-3
