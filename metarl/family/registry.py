"""The registry of families: by id, found lazily through entry points; ``module:id`` reaches a user's own."""

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium

from metarl.core.errors import MetaRLError, shown
from metarl.core.plugins import FAMILIES, OPTIONAL_FAMILIES, register_gymnasium
from metarl.core.registry import Registry
from metarl.family.base import TaskFamily

families_by_id: Registry[TaskFamily] = Registry(TaskFamily, "family", FAMILIES, optional=OPTIONAL_FAMILIES)
F = TypeVar("F", bound=type[TaskFamily])


def register_family(family_id: str) -> Callable[[F], F]:
    """Return a class decorator that makes a family known under an id such as ``"me/Maze-v0"``, also to Gymnasium.

    Raises:
        MetaRLError: it is used on an environment, which has no tasks, or the id is taken.
    """
    if not isinstance(family_id, str):
        _refuse_bare(family_id)
        raise MetaRLError(f"register_family({shown(family_id)}): give an id, @register_family('me/Maze-v0').")

    def register(cls: F) -> F:
        _refuse_bare(cls)
        families_by_id.register(family_id)(cls)
        cls.id = family_id
        register_gymnasium(family_id)
        return cls

    return register


def family_ids() -> list[str]:
    """Return every known id, sorted, but optional ones: of installed packages, or registered in this process."""
    return families_by_id.names()


def optional_family_ids() -> list[str]:
    """Return the ids, sorted, of families whose simulator is a package that is installed apart."""
    return sorted(families_by_id.optional())


def family_class(family_id: str) -> type[TaskFamily]:
    """Return the class registered under ``id`` or ``module:id``; the module is imported first."""
    try:
        return families_by_id.find(family_id)
    except MetaRLError:
        spec = gymnasium.registry.get(family_id)
        # A family's own environment is known to Gymnasium too, also where its module is no longer loaded.
        if spec is not None and not str(spec.entry_point).startswith("metarl."):
            raise _bare(family_id, family_id) from None
        raise


def make_family(
    family: "str | TaskFamily | gymnasium.Env[Any, Any]", variant: str | None = None, engine: str | None = None
) -> TaskFamily:
    """Return a family in one of its variants, the first unless given.

    Args:
        family: an id, ``module:id``, or a family, which is returned itself where the variant is its own; or an
            environment of a family.
        variant: the name of one of its presets.
        engine: what steps it, where there are several; a family that is given changes to it.

    Raises:
        MetaRLError: there is no such family, variant or engine, or it is an environment of no family, which has no
            tasks.
    """
    made = _made(family, variant)
    if engine:
        made.use_engine(engine)
    return made


def _made(family: "str | TaskFamily | gymnasium.Env[Any, Any]", variant: str | None) -> TaskFamily:
    if isinstance(family, gymnasium.Env):
        own = getattr(family.unwrapped, "family", None)
        family = own if isinstance(own, TaskFamily) else family
    if isinstance(family, TaskFamily):
        same = variant is None or (isinstance(variant, str) and variant == family.variant)
        return family if same else type(family)(variant)
    if not isinstance(family, str):
        _refuse_bare(family)
        raise MetaRLError(f"family={shown(family)}: give an id such as 'metarl/PointNavigation-v0', or a TaskFamily.")
    return family_class(family)(variant)


def _refuse_bare(env: Any) -> None:
    """Raise where an environment, or a class of them, is given as if it were a family."""
    if isinstance(env, gymnasium.Env):
        known = env.spec.id if env.spec is not None else None
        raise _bare(f"The environment {known or type(env.unwrapped).__name__}", known)
    if isinstance(env, type) and issubclass(env, gymnasium.Env):
        ids = [
            name for name, spec in gymnasium.registry.items() if spec.entry_point == f"{env.__module__}:{env.__name__}"
        ]
        raise _bare(f"The environment {env.__name__}", next(iter(ids), None))


def _bare(what: str, env_id: str | None) -> MetaRLError:
    made = f"; `metarl new-family {shlex.quote(env_id)} > mine.py` writes one" if env_id else ""
    return MetaRLError(
        f"{what} is an environment without tasks to adapt to: declare a TaskSpace of what varies in a GymnasiumFamily"
        f"{made} (docs/bring_an_environment.md)."
    )
