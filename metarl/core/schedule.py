"""How long a training is, and how long its schedules: two fields of a config, of which the second may be None."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from metarl.core.errors import MetaRLError

T = TypeVar("T")
# The field of the length -> that of the schedules' length, which is as long as the training where it is None.
_LENGTHS = {"total_timesteps": "schedule_timesteps", "iterations": "schedule_iterations"}


def extended(config: T, length: int) -> T:
    """Return a config of a longer training, whose schedules stay as long as they are; raise for a shorter one.

    Asked for the length of its schedules, as by the command that it was first made with, a config stays as it is. One
    without a field for that length is taken to have no schedules, and never gets shorter, of which it warns.
    """
    field = next(name for name in _LENGTHS if hasattr(config, name))
    now, schedule = getattr(config, field), _LENGTHS[field]
    if length < now and length != getattr(config, schedule, length):
        raise MetaRLError(f"{field}={length}: the run has {now} already; a run can only be made longer.")
    if length < now and not hasattr(config, schedule):
        warnings.warn(f"{field}={length:,}: the run has {now:,} already, and is not made shorter.", stacklevel=2)
    if length <= now:
        return config
    kept = {schedule: getattr(config, schedule) or now} if hasattr(config, schedule) else {}
    return replace(config, **{field: length}, **kept)  # type: ignore[type-var]  # a dataclass


def is_scheduled(config: Any) -> bool:
    """Return whether a config says how long its schedules are."""
    return any(getattr(config, name, None) is not None for name in _LENGTHS.values())


def as_long(config: T, other: Any) -> T:
    """Return a config with the lengths of another of its class."""
    names = [name for name in (*_LENGTHS, *_LENGTHS.values()) if hasattr(config, name)]
    return replace(config, **{name: getattr(other, name) for name in names})  # type: ignore[type-var]  # a dataclass


def config_differences(saved: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the fields in which two configs differ with the values of each, in words, or None where they agree.

    How long they train plays no part, only how long their schedules are.

    Args:
        saved: the config as a dict; one of an earlier version may lack the length of schedules.
        given: the other config as a dict.
    """
    first, second = _flat(_scheduled(saved, given)), _flat(_scheduled(given, given))
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if not names:
        return None
    one, other = (", ".join(f"{name}={each.get(name)}" for name in names) for each in (first, second))
    return one, other


def _scheduled(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without its length, and where there are schedules with their length in place of None."""
    made = dict(config)
    for length, schedule in _LENGTHS.items():
        total = made.pop(length, None)
        if schedule in given:
            made[schedule] = made.get(schedule) or total
    return made


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a config's fields by name, those of a config within it as ``ppo.clip_range``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
