"""Classes by name: of installed packages, registered in this process, or reached as ``module:Name``."""

import importlib
from collections.abc import Callable
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Generic, TypeVar

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.plugins import declared, import_module

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Registry(Generic[T]):
    """Name the subclasses of one base class.

    Args:
        base: what every registered class is a subclass of.
        word: of its decorator, ``@register_WORD``, and what messages call such a class unless ``called`` says so.
        group: the entry points by which installed packages declare theirs, each a dict of name -> ``module`` or
            ``module:Class``.
        called: what messages call such a class.
        optional: the group of names that are found, but not listed.
        package: whose modules register metarl's own; they are imported when a name is first looked for.
        named: whether a registered class gets its name as ``name``.
    """

    def __init__(
        self,
        base: Any,
        word: str,
        group: str,
        called: str = "",
        *,
        optional: str = "",
        package: ModuleType | None = None,
        named: bool = False,
    ) -> None:
        self.base, self.word, self.group, self.called = base, word, group, called or word
        self._optional, self._package, self._named = optional, package, named
        self.classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Return a class decorator that makes a class known under ``name``; raises where another has it."""

        def decorate(cls: C) -> C:
            mine, known = (cls.__module__, cls.__qualname__), self.classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != mine:
                raise MetaRLError(
                    f"{name} is taken by {known.__module__}.{known.__qualname__}; choose another "
                    f"{'id' if '/' in name else 'name'}."
                )
            self.classes[name] = cls
            if self._named:
                cls.name = name
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return every known name: of installed packages, and of classes registered in this process."""
        self._register_ours()
        return sorted({*declared(self.group), *self.classes})

    def optional(self) -> dict[str, str]:
        """Return name -> place of what is found, but not listed."""
        return declared(self._optional) if self._optional else {}

    def find(self, name: str) -> type[T]:
        """Return the class called ``name``, or ``module:Name``; the module is imported, from the working folder too.

        ``Name`` is what the class is registered under, or the class's own name.
        """
        self._register_ours()
        if ":" not in name and name in self.classes:
            return self.classes[name]
        place = name if ":" in name else (declared(self.group) | self.optional()).get(name)
        if place is None:
            raise self._unknown(name)
        module, _, own = place.partition(":")
        imported = import_module(module)
        own = own if ":" in place else name
        found = self.classes.get(own) or getattr(imported, own, None)
        if found is None:
            raise self._unknown(own)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise MetaRLError(f"{module}:{own} is no {self.called}; it must be a subclass of {self.base.__name__}.")
        return found

    def _register_ours(self) -> None:
        """Import the modules of the package, once."""
        package, self._package = self._package, None
        if package is not None:
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)

    def _unknown(self, name: str) -> MetaRLError:
        near = did_you_mean(name, [*self.names(), *self.optional()])
        return MetaRLError(
            f"{self.called.capitalize()} {name!r} is unknown.{near} Known are "
            f"{', '.join(self.names())}. Reach one of your own as module:Name; @register_{self.word} gives it a name."
        )
