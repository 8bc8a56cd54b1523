"""Code that others bring: what installed packages declare through entry points, and modules that users name."""

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, is_dataclass, replace
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import gymnasium

from metarl.core.errors import MetaRLError

FAMILIES = "metarl.families"  # each entry point gives a mapping from ids to the modules that register them
OPTIONAL_FAMILIES = "metarl.optional_families"  # the same, of families whose simulator is a package installed apart
AGENTS = "metarl.agents"  # each entry point gives a mapping from names to "module:Class"
MEMORIES = "metarl.memories"  # the same
ENCODERS = "metarl.encoders"  # no entry points: an encoder is always module:Name
_PLUGIN = "plugin"  # the metadata of a config's field that names code
LEARNERS, DATA, BACKBONES = "metarl.fewshot.learners", "metarl.fewshot.data", "metarl.fewshot.backbones"  # as of agents
FEATURES = "metarl.fewshot.features"  # as of agents: encoders of people's own items
# What each group's members are called, and the option that names one which is trusted.
_WORDS = {
    FAMILIES: ("family", "family"),
    AGENTS: ("agent", "agent"),
    MEMORIES: ("memory", "trust"),
    ENCODERS: ("encoder", "trust"),
    LEARNERS: ("learner", "learner"),
    DATA: ("data set", "data"),
    BACKBONES: ("backbone", "backbone"),
    FEATURES: ("encoder", "encoder"),
}


def declared(group: str) -> dict[str, str]:
    """Return name -> place for a group of entry points, joined over the installed packages."""
    found: dict[str, str] = {}
    for point in entry_points(group=group):
        try:
            mapping = point.load()
        except Exception as error:  # a package of somebody else's can raise anything
            raise MetaRLError(
                f"Entry point {point.value} of {group} cannot be loaded: {type(error).__name__}: {error}; uninstall or "
                "mend its package."
            ) from error
        if not isinstance(mapping, Mapping):
            raise MetaRLError(
                f"Entry point {point.value} of {group} must give a dict of name -> module, got {mapping!r}."
            )
        found.update(mapping)
    return found


def trusted(group: str, saved: str, path: str | os.PathLike[str], named: Sequence[str] = ()) -> str:
    """Return the name by which code that a file names is imported, so that no file decides what runs.

    Args:
        group: FAMILIES, AGENTS, MEMORIES or ENCODERS.
        saved: an id or a name, or ``module:id`` or ``module:Class``, as the file has it.
        path: of the file.
        named: what the caller names, and so trusts; one that ends as the saved one does takes its place.

    Raises:
        MetaRLError: where its module is neither installed as a plug-in, nor imported already, nor named.
    """
    module, _, own = saved.rpartition(":")
    for name in named:
        if name.rpartition(":")[2] == own:
            return name
    if module and module not in sys.modules:
        # A family's module, or an agent's "module:Class".
        installed = {target.partition(":")[0] for target in declared(group).values()}
        if module not in installed:
            word, option = _WORDS[group]
            raise MetaRLError(
                f"{path} names the {word} {saved!r}, whose module {module!r} is not installed. Loading imports no "
                f"module that you did not name: if you trust it, say --{option} {saved}, in Python {option}={saved!r}."
            )
    return saved


def plugin_field(default: str, group: str) -> Any:
    """Return a config's field that names code of a group, ``module:Class`` among others."""
    return field(default=default, metadata={_PLUGIN: group})


def plugin_names(config: Any) -> list[str]:
    """Return what the fields of a config name that name code, those of configs within it among them."""
    names: list[str] = []
    for each in fields(config):
        value = getattr(config, each.name)
        names += plugin_names(value) if is_dataclass(value) else [value] if _PLUGIN in each.metadata else []
    return names


def trusted_config(config: Any, path: str | os.PathLike[str], named: str | Sequence[str] = ()) -> Any:
    """Return a config that a file holds, once every ``module:Class`` in it is ``trusted``."""
    allowed = [named] if isinstance(named, str) else named
    changes: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            changes[each.name] = trusted_config(value, path, allowed)
        elif _PLUGIN in each.metadata:
            changes[each.name] = trusted(each.metadata[_PLUGIN], value, path, allowed)
    return replace(config, **changes)


def register_gymnasium(family_id: str) -> None:
    """Tell Gymnasium a family's id, without a time limit: the engine truncates."""
    if family_id not in gymnasium.registry:
        gymnasium.register(
            family_id,
            entry_point="metarl.family.views.single:TaskEnv",
            vector_entry_point="metarl.family.views.vector:TaskVectorEnv",
            kwargs={"family": family_id},
        )


def register_declared() -> None:
    """Tell Gymnasium the ids of all installed families, without importing any of them."""
    try:
        known = {**declared(FAMILIES), **declared(OPTIONAL_FAMILIES)}
    except Exception as error:  # a broken plug-in must not keep anyone from importing metarl
        warnings.warn(f"The families of a plug-in could not be listed: {error}", stacklevel=2)
        return
    for family_id in known:
        register_gymnasium(family_id)


def import_module(module: str) -> ModuleType:
    """Import a module, from the working folder too, or raise naming it and what went wrong."""
    # A console command has no working folder on its path, but a user's family lies there.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    if not all(module.split(".")) or set(module) & set("/\\\0"):
        raise MetaRLError(f"{module!r} is no name of a module; write module:id, such as my_package.maze:me/Maze-v0.")
    try:
        return importlib.import_module(module)
    except MetaRLError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise MetaRLError(f"There is no module {module!r} to import from {os.getcwd()}; check the name.") from error
        raise _failed(module, error) from error
    except (Exception, SystemExit) as error:  # a module of a user's own can raise anything
        # MuJoCo loads the graphics library that this variable names when it is imported, and fails without it.
        chosen = os.environ.get("MUJOCO_GL")
        if not isinstance(error, AttributeError | RuntimeError) or "mujoco" in sys.modules or chosen is None:
            raise _failed(module, error) from error
        raise MetaRLError(
            f"MuJoCo cannot be imported with MUJOCO_GL={chosen} ({error}); install what it names (apt install libegl1 "
            "or libosmesa6), or unset it."
        ) from error


def import_named(name: str) -> Any:
    """Return what ``module:Name`` names, or raise saying what is missing."""
    module, _, attribute = name.partition(":")
    imported = import_module(module)
    if not hasattr(imported, attribute):
        raise MetaRLError(f"Module {module!r} has no {attribute!r}; check the name after the colon.")
    return getattr(imported, attribute)


def _failed(module: str, error: BaseException) -> MetaRLError:
    """Return what went wrong in a module, and in which line, on one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"  # it says so itself
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return MetaRLError(f"Module {module!r} cannot be imported: {said}{where}; mend it, or name another.")
