"""Configurations are frozen dataclasses; this is how they refuse values of another type or out of range."""

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from metarl.core.errors import MetaRLError, shown

T = TypeVar("T")
_MOST = 2**63 - 1  # of what torch can count with


@dataclass(frozen=True)
class Limit:
    """A condition on a field's value beyond its type; on a tuple's, a condition on each of its items."""

    words: str  # what the value must be, as a message says it
    holds: Callable[[Any], bool]
    of_the_tuple: bool = False  # whether the condition is on the tuple as a whole


def at_least(low: float) -> Limit:
    """Return the limit of ``low`` or more."""
    return Limit(f"at least {low}", lambda value: value >= low)


def above(low: float, up_to: float = math.inf) -> Limit:
    """Return the limit of more than ``low``, and no more than ``up_to``."""
    words = f"above {low}" + ("" if math.isinf(up_to) else f" and at most {up_to}")
    return Limit(words, lambda value: low < value <= up_to)


def between(low: float, high: float) -> Limit:
    """Return the limit from ``low`` to ``high``, both included."""
    return Limit(f"from {low} to {shown(high)}", lambda value: low <= value <= high)


def one_of(words: Sequence[str]) -> Limit:
    """Return the limit to one of these words."""
    return Limit(f"one of {', '.join(words)}", lambda value: value in words)


def items(limit: Limit, least: int = 1) -> Limit:
    """Return the limit to a tuple of at least so many items, all of them within ``limit``."""
    return Limit(
        f"at least {least} of them, each {limit.words}",
        lambda value: len(value) >= least and all(map(limit.holds, value)),
        of_the_tuple=True,
    )


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, above(0)]
NonNegative = Annotated[float, at_least(0)]
Fraction = Annotated[float, between(0, 1)]
Discount = Annotated[float, above(0, up_to=1)]


def check_config(config: Any, limits: Mapping[str, Limit] = MappingProxyType({})) -> None:
    """Raise where fields have another type than declared, or are beyond their limits, naming each and what it may be.

    Limits stand in the annotations of fields, as in ``gamma: Discount``, or in ``limits`` by name. Lists become tuples
    and NumPy's numbers Python's, as which a file gives them back.
    """
    kinds = _kinds(type(config))
    for name, value in vars(config).items():
        object.__setattr__(config, name, _plain(value))
    given, limits = vars(config), {**_declared(type(config)), **limits}
    wrong = [name for name, kind in kinds.items() if not kind.holds(given[name])]
    wrong = wrong or [name for name, limit in limits.items() if not _within(limit, given[name])]
    if not wrong:
        return
    named = ", ".join(f"{name}={shown(given[name])}" for name in wrong)
    allowed = "; ".join(f"{name} must be {_allowed(kinds[name], limits.get(name))}" for name in wrong)
    raise MetaRLError(f"{type(config).__name__}({named}) is out of range: {allowed}.")


def options_config(config_class: type[T], options: Sequence[str]) -> T:
    """Return a config made of ``"field=value"`` options; raises naming what it does not know, or may not have."""
    given = dict(map(_option, options))
    _check_fields(config_class, given)
    config = config_class(**given)
    check_config(config)
    return config


def changed_config(config: T, options: Sequence[str]) -> T:
    """Return a config with ``"field=value"`` options changed, of which later ones win.

    A field of a config within it is named as ``ppo.gamma``, and a tuple's values are separated by commas. Raises naming
    what the config does not know, or may not have.
    """
    changes: dict[str, Any] = {}
    inner: dict[str, list[str]] = {}
    for option in options:
        name, value = _option(option)
        field, _, rest = name.partition(".")
        _check_fields(type(config), [field])
        if rest:
            inner.setdefault(field, []).append(f"{rest}={option.partition('=')[2]}")
        else:
            changes[field] = (
                (value,) if isinstance(getattr(config, field), tuple) and not isinstance(value, tuple) else value
            )
    changes |= {field: changed_config(getattr(config, field), some) for field, some in inner.items()}
    config = replace(config, **changes)  # type: ignore[type-var]  # a dataclass
    check_config(config)
    return config


def _option(option: str) -> tuple[str, Any]:
    """Return the name and the value of ``"name=value"``."""
    name, _, text = option.partition("=")
    with suppress(ValueError, SyntaxError):  # else it is a word
        return name.strip(), ast.literal_eval(text.strip())
    return name.strip(), text.strip()


def _check_fields(config_class: type, names: Iterable[str]) -> None:
    known = [each.name for each in fields(config_class)]
    if unknown := sorted(set(names) - set(known)):
        raise MetaRLError(
            f"{config_class.__name__} has no {', '.join(map(repr, unknown))}; give field=value, where field is one of "
            f"{', '.join(known) or 'none: it has no options'}."
        )


def _within(limit: Limit, value: Any) -> bool:
    if isinstance(value, tuple) and not limit.of_the_tuple:
        return all(map(limit.holds, value))
    return value is None or limit.holds(value)  # where None is no choice, the type has refused it


def _allowed(kind: Limit, limit: Limit | None) -> str:
    if limit is None:
        return kind.words
    each = "each " if kind.of_the_tuple and not limit.of_the_tuple else ""
    return f"{kind.words}, {each}{limit.words}"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _kinds(config_class: Any) -> dict[str, Limit]:
    """Return what each field's annotation allows."""
    hints = get_type_hints(config_class)
    return {field.name: _kind(hints[field.name]) for field in fields(config_class)}


def _declared(config_class: Any) -> dict[str, Limit]:
    """Return the limits that stand in the fields' annotations, such as ``Count`` or ``tuple[Count, ...]``."""
    hints = get_type_hints(config_class, include_extras=True)
    found = {field.name: _annotated_limit(hints[field.name]) for field in fields(config_class)}
    return {name: limit for name, limit in found.items() if limit is not None}


def _annotated_limit(hint: Any) -> Limit | None:
    if get_origin(hint) is Annotated:
        return next((each for each in hint.__metadata__ if isinstance(each, Limit)), None)
    return next(filter(None, map(_annotated_limit, get_args(hint))), None)


def _kind(hint: Any) -> Limit:
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        return Limit(" or ".join(map(repr, allowed)), lambda value: isinstance(value, str) and value in allowed)
    if get_origin(hint) in (Union, UnionType):
        kinds = [_kind(each) for each in get_args(hint)]
        return Limit(" or ".join(kind.words for kind in kinds), lambda value: any(k.holds(value) for k in kinds))
    if get_origin(hint) is tuple:
        each = _kind(get_args(hint)[0])
        words = f"a tuple of {each.words.removeprefix('an ').removeprefix('a ')}s"
        return Limit(words, lambda value: isinstance(value, tuple) and all(map(each.holds, value)), of_the_tuple=True)
    if hint in _PLAIN:
        return _PLAIN[hint]
    return Limit(f"a {hint.__name__}", lambda value: isinstance(value, hint))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST


def _is_finite(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


_PLAIN: dict[Any, Limit] = {
    int: Limit("an integer", _is_integer),
    float: Limit("a finite number", _is_finite),
    bool: Limit("True or False", lambda value: isinstance(value, bool)),
    str: Limit("a string", lambda value: isinstance(value, str)),
    NoneType: Limit("None", lambda value: value is None),
}
