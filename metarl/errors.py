"""The package's own error."""


class MetaRLError(ValueError):
    """Bad input, found as early as possible: the message says what was given, what is allowed and what to do."""
