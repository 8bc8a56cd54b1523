"""The registry: families by id, found lazily through entry points; ``module:id`` reaches a user's own."""

from collections.abc import Callable
from typing import TypeVar

from metarl.core.errors import MetaRLError, shown
from metarl.core.plugins import FAMILIES, declared, import_module, register_gymnasium
from metarl.family.base import TaskFamily

_classes: dict[str, type[TaskFamily]] = {}
F = TypeVar("F", bound=type[TaskFamily])


def register_family(family_id: str) -> Callable[[F], F]:
    """Class decorator: make a family known under an id such as ``"me/Maze-v0"``, here and to ``gymnasium.make``."""

    def register(cls: F) -> F:
        known = _classes.get(family_id)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise MetaRLError(f"{family_id} is taken by {known.__module__}.{known.__qualname__}; choose another id.")
        cls.id = family_id
        _classes[family_id] = cls
        register_gymnasium(family_id)
        return cls

    return register


def family_ids() -> list[str]:
    """Every known id: plug-ins and what was registered in this process."""
    return sorted({*declared(FAMILIES), *_classes})


def family_class(family_id: str) -> type[TaskFamily]:
    """The class registered under ``id`` or ``module:id``; the module is imported first, from the working folder too."""
    if ":" in family_id:
        module, family_id = family_id.split(":", 1)
        import_module(module)
    if family_id not in _classes:
        modules = declared(FAMILIES)
        if family_id not in modules:
            raise MetaRLError(
                f"Family {family_id!r} is unknown; known are {', '.join(family_ids())}. "
                "Reach one of your own as module:id."
            )
        import_module(modules[family_id])
    if family_id not in _classes:
        raise MetaRLError(
            f"Importing its module did not register {family_id!r}; decorate the class with @register_family."
        )
    return _classes[family_id]


def make_family(family: "str | TaskFamily", variant: str | None = None) -> TaskFamily:
    """The family with a variant, from ``id``, ``module:id`` or a family itself."""
    if isinstance(family, TaskFamily):
        same = variant is None or (isinstance(variant, str) and variant == family.variant)
        return family if same else type(family)(variant)
    if not isinstance(family, str):
        raise MetaRLError(f"family={shown(family)}: give an id such as 'metarl/PointNavigation-v0', or a TaskFamily.")
    return family_class(family)(variant)
