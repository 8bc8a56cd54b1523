"""Configurations are frozen dataclasses; this is how they refuse what is out of range."""

import math
from typing import Any

from metarl.errors import MetaRLError


def check_config(config: Any, limits: dict[str, bool]) -> None:
    """Raise, naming every field whose limit is not met or that is not finite."""
    numbers = {name: value for name, value in vars(config).items() if isinstance(value, float)}
    fine = {name: limits.get(name, True) and math.isfinite(numbers.get(name, 0.0)) for name in vars(config)}
    wrong = [f"{name}={getattr(config, name)!r}" for name, good in fine.items() if not good]
    if wrong:
        kind = type(config)
        raise MetaRLError(
            f"{kind.__name__}({', '.join(wrong)}) is out of range; see the field's comment in {kind.__module__}."
        )
