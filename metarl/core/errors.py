"""The package's own errors, and how their messages show a value."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_LONGEST = 80  # characters of a value in a message


class MetaRLError(ValueError):
    """Bad input was found; the message says what was given, what is allowed and what to do."""


class NoGraphicsError(MetaRLError):
    """This machine has nothing to draw three-dimensional pictures with."""


def shown(value: Any) -> str:
    """Return the value on one line, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # of a class of one's own, or of an integer of thousands of digits
        text = f"a {type(value).__name__} that cannot be printed ({type(error).__name__})"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return " Did you mean X?" with the known name that is nearest to the given one, or nothing where none is near.

    Ids such as ``me/Maze-v0`` are compared without their namespace and version, and case plays no part; of several that
    are then the same, as ``maml/Maze`` and ``rl2/Maze`` are, the one that is nearest as a whole is meant.
    """

    def plain(text: str) -> str:
        return re.sub(r"^.*/(?=.)|-v\d+$", "", text).lower()

    names: dict[str, list[str]] = {}
    for each in known:
        names.setdefault(plain(each), []).append(each)
    given = plain(str(name))
    begins = [each for each in names if len(given) > 2 and each.startswith(given)]
    found = (begins or get_close_matches(given, names, n=1))[:1]
    return f" Did you mean {get_close_matches(str(name), names[found[0]], n=1, cutoff=0)[0]}?" if found else ""
