"""The package's own errors."""


class MetaRLError(ValueError):
    """Bad input, found as early as possible: the message says what was given, what is allowed and what to do."""


class NoGraphicsError(MetaRLError):
    """This machine has nothing to draw three-dimensional pictures with."""
