"""Counter-based random numbers: every number is a function of (key, episode, step, index) and of nothing else.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") in integer tensor operations, so that
an environment has the same numbers on a CPU, on a GPU, alone or in a chunk of a thousand.
"""

import hashlib
import math
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_FEW = 256  # numbers of a word, before they are broadcast together


class Domain(IntEnum):
    """What random numbers are drawn for; each has counters of its own, so that no two ever share a number."""

    KEYS = 0
    RESET = 1
    STEP = 2
    ACTION = 3
    EPISODE = 4
    TASK = 5


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Return four words of Philox4x32-10 from counters and keys, int64 tensors of 32-bit words that broadcast."""
    words = (*counter, *key)
    if all(word.ndim and word.device.type == "cpu" and word.numel() <= _FEW for word in words):
        # A hundred operations on few numbers, which take NumPy half of the time that they take torch.
        return tuple(torch.from_numpy(word) for word in _rounds(*(word.numpy() for word in words)))
    return _rounds(*words)


def _rounds(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, ...]:
    """The ten rounds, on tensors or on NumPy's arrays, whose operators are the same."""
    for _ in range(10):
        # The products need 64 bits; int64 wraps modulo 2**64, which keeps every bit, and the mask drops the sign
        # that the shift drags in.
        product_0, product_1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0, c2 = ((product_1 >> 32) & _MASK) ^ c1 ^ k0, ((product_0 >> 32) & _MASK) ^ c3 ^ k1
        c1, c3 = product_1 & _MASK, product_0 & _MASK
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


def stream_keys(n: int, *purpose: int | str, device: torch.device | str = "cpu") -> Tensor:
    """Return keys ``(n, 2)`` of n environments from a hash of the purpose: ``stream_keys(800, seed, "train", 17)``.

    Hashed rather than added: with "seed + i" the runs of seeds 0 and 1 would share all but one of their streams.
    """
    return _keys(torch.arange(n, dtype=torch.int64, device=device), [_hash(purpose)])


def env_keys(n: int, n_envs: int, *purpose: int | str) -> Tensor:
    """Return keys ``(n * n_envs, 2)`` of the environments of n tasks, the envs of a task side by side.

    Env 0 has the keys of ``stream_keys(n, *purpose)``. The key of (task, env) depends on neither n nor ``n_envs``.
    """
    index = torch.arange(n, dtype=torch.int64)[:, None] + (torch.arange(n_envs, dtype=torch.int64) << 32)
    return _keys(index.flatten(), [_hash(purpose)])


def torch_generator(seed: int, *purpose: int | str) -> torch.Generator:
    """Return a generator of random numbers that only training needs, the same for the same words."""
    return torch.Generator().manual_seed(int(stream_keys(1, seed, *purpose)[0, 0]))


def gymnasium_keys(seed: int, n: int = 1, device: torch.device | str = "cpu") -> Tensor:
    """Return keys ``(n, 2)`` by Gymnasium's rule: environment i of a vector seeded s is that seeded s + i."""
    first = torch.zeros(n, dtype=torch.int64, device=device)
    return _keys(first, [_hash(("gymnasium", seed + i)) for i in range(n)])


def _hash(purpose: tuple[int | str, ...]) -> tuple[int, int]:
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _keys(index: Tensor, bases: list[tuple[int, int]]) -> Tensor:
    """Keys ``(n, 2)`` of the environments with these indices, below one base or one for each."""
    base = torch.tensor(bases, dtype=torch.int64, device=index.device)
    zero = torch.zeros_like(index)
    words = philox((index & _MASK, index >> 32, zero, zero + Domain.KEYS), (base[:, 0], base[:, 1]))
    return torch.stack(words[:2], dim=-1)


def random_words(keys: Tensor, domain: Domain, episode: int | Tensor, n: int, start: int = 0) -> Tensor:
    """Return raw 32-bit words ``(environment, n)``, number start .. start + n - 1 of each environment's episode.

    ``episode`` is one number or one per environment.
    """
    first, last = start // 4, (start + n + 3) // 4  # one counter gives four words
    blocks = torch.arange(first, last, dtype=torch.int64, device=keys.device)[None, :]
    zero = torch.zeros_like(blocks)
    if isinstance(episode, Tensor):
        episodes = episode.to(torch.int64)[:, None]
    else:
        episodes = torch.full((1, 1), episode, dtype=torch.int64, device=keys.device)
    words = philox(
        (blocks, episodes & _MASK, episodes >> 32, zero + int(domain)),
        (keys[:, 0:1], keys[:, 1:2]),
    )
    flat = torch.stack(words, dim=-1).flatten(1)
    return flat[:, start - 4 * first : start - 4 * first + n]


def step_uniforms(
    keys: Tensor, domain: Domain, episode: Tensor, step: Tensor, n: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the uniforms ``(environment, n)`` of a step, which is each environment's own ``(environment,)``."""
    index = step.to(torch.int64)[:, None] * n + torch.arange(n, device=keys.device)
    words = philox(
        (index // 4, episode[:, None] & _MASK, episode[:, None] >> 32, torch.full_like(index, int(domain))),
        (keys[:, 0:1], keys[:, 1:2]),
    )
    word = torch.stack(torch.broadcast_tensors(*words), dim=-1).gather(-1, (index % 4)[..., None])[..., 0]
    return to_uniform(word, dtype)


def uniforms(
    keys: Tensor,
    domain: Domain,
    episode: int | Tensor,
    steps: int,
    n: int,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return uniforms in (0, 1) ``(environment, steps, n)`` for steps start .. start + steps - 1 of an episode."""
    words = random_words(keys, domain, episode, steps * n, start * n)
    return to_uniform(words, dtype).reshape(len(keys), steps, n)


def to_uniform(words: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniforms in the open interval (0, 1), one from each 32-bit word.

    They have 23 bits and a half: 24 bits and a half would round to 1.0 in float32, whose normal is infinite.
    """
    return ((words >> 9).to(dtype) + 0.5) * 2.0**-23


def to_normal(uniform: Tensor) -> Tensor:
    """Return standard normals by the inverse distribution function, one from each uniform."""
    return torch.erfinv(uniform * 2 - 1) * math.sqrt(2)


def uniforms64(keys: Tensor, domain: Domain, episode: int | Tensor, n: int) -> Tensor:
    """Return float64 uniforms in (0, 1) from 52 bits, ``(environment, n)``; tasks are drawn from these."""
    words = random_words(keys, domain, episode, 2 * n).reshape(len(keys), n, 2)
    high, low = words.unbind(-1)
    return ((high << 20 | low >> 12).to(torch.float64) + 0.5) * 2.0**-52
