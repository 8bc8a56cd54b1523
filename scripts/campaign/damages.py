"""Ways in which a file comes to harm."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

_DIGITS = b"0123456789"


def flip_bit(data: bytes, random: Random) -> bytes:
    """One bit."""
    i = random.randrange(len(data))
    return data[:i] + bytes([data[i] ^ 1 << random.randrange(8)]) + data[i + 1 :]


def flip_bits(data: bytes, random: Random) -> bytes:
    """Several bits."""
    for _ in range(random.randint(2, 20)):
        data = flip_bit(data, random)
    return data


def change_digit(data: bytes, random: Random) -> bytes:
    """A digit of text becomes another, which every parser takes."""
    places = [i for i, byte in enumerate(data) if byte in _DIGITS]
    if not places:
        return flip_bit(data, random)
    i = random.choice(places)
    other = random.choice([digit for digit in _DIGITS if digit != data[i]])
    return data[:i] + bytes([other]) + data[i + 1 :]


def truncate(data: bytes, random: Random) -> bytes:
    """Its end is missing."""
    return data[: random.randrange(1, len(data))] if len(data) > 1 else b""


def cut_line(data: bytes, random: Random) -> bytes:
    """A line is missing, the last as likely as all others together."""
    lines = data.splitlines(keepends=True)
    i = random.choice((len(lines) - 1, random.randrange(len(lines))))
    return b"".join(lines[:i] + lines[i + 1 :])


def swap_blocks(data: bytes, random: Random) -> bytes:
    """Two blocks of the same length have changed places."""
    size = random.randint(1, max(1, len(data) // 4))
    first, second = sorted(random.sample(range(0, max(2, len(data) - size)), 2))
    if second - first < size:
        second = min(first + size, len(data) - size)
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def zero_range(data: bytes, random: Random) -> bytes:
    """A range is zero."""
    size = random.randint(1, max(1, len(data) // 2))
    first = random.randrange(len(data) - size + 1)
    return data[:first] + bytes(size) + data[first + size :]


def append_garbage(data: bytes, random: Random) -> bytes:
    """Something stands behind the end."""
    return data + random.randbytes(random.randint(1, 100))


def append_itself(data: bytes, random: Random) -> bytes:
    """All of it stands there twice, or its last line."""
    return data + random.choice((data, (data.splitlines(keepends=True) or [b""])[-1]))


def empty(*_: Any) -> bytes:
    """Nothing is left in it."""
    return b""


OF_CONTENT: dict[str, Callable[[bytes, Random], bytes]] = {
    each.__name__.replace("_", " "): each
    for each in (
        flip_bit, flip_bits, change_digit, truncate, cut_line, swap_blocks, zero_range, append_garbage, append_itself,
        empty,
    )
}  # fmt: skip
MISSING, FOLDER, OTHER = "missing", "a folder", "another's"


def damage(file: Path, others: Sequence[Path], random: Random, missing: bool = True) -> str:
    """Harm a file in one way, or have it ``missing``; ``others`` could stand in its place. Returns how."""
    ways = [*OF_CONTENT, *[OTHER] * (2 * bool(others))]
    # The same each time, so once in a while is enough.
    how = random.choice(ways) if random.random() < 0.97 else random.choice((MISSING, FOLDER) if missing else (FOLDER,))
    before = file.read_bytes()
    if how in OF_CONTENT:
        changed = OF_CONTENT[how](before, random) if before else random.randbytes(5)
        file.write_bytes(changed)
        return how if changed != before else "nothing"
    if how == OTHER:
        other = random.choice(others)
        shutil.copyfile(other, file)
        return f"{other.parent.parent.name}/{other.parent.name}/{other.name} in its place"
    file.unlink()
    if how == FOLDER:
        file.mkdir()
    return how
