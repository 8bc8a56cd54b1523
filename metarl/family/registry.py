"""The registry of families: by id, found lazily through entry points; ``module:id`` reaches a user's own."""

from collections.abc import Callable
from typing import TypeVar

from metarl.core.errors import MetaRLError, shown
from metarl.core.plugins import FAMILIES, register_gymnasium
from metarl.core.registry import Registry
from metarl.family.base import TaskFamily

families_by_id: Registry[TaskFamily] = Registry(TaskFamily, "family", FAMILIES)
F = TypeVar("F", bound=type[TaskFamily])


def register_family(family_id: str) -> Callable[[F], F]:
    """Return a class decorator that makes a family known under an id such as ``"me/Maze-v0"``, also to Gymnasium."""

    def register(cls: F) -> F:
        families_by_id.register(family_id)(cls)
        cls.id = family_id
        register_gymnasium(family_id)
        return cls

    return register


def family_ids() -> list[str]:
    """Return every known id, sorted: of installed packages, and those registered in this process."""
    return families_by_id.names()


def family_class(family_id: str) -> type[TaskFamily]:
    """Return the class registered under ``id`` or ``module:id``; the module is imported first."""
    return families_by_id.find(family_id)


def make_family(family: "str | TaskFamily", variant: str | None = None) -> TaskFamily:
    """Return a family in one of its variants, the first unless given.

    Args:
        family: an id, ``module:id``, or a family, which is returned itself where the variant is its own.
        variant: the name of one of its presets.
    """
    if isinstance(family, TaskFamily):
        same = variant is None or (isinstance(variant, str) and variant == family.variant)
        return family if same else type(family)(variant)
    if not isinstance(family, str):
        raise MetaRLError(f"family={shown(family)}: give an id such as 'metarl/PointNavigation-v0', or a TaskFamily.")
    return family_class(family)(variant)
