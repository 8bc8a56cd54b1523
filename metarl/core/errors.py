"""The package's own errors, and how their messages show a value."""

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
