"""How the help shows options: the common ones first, no default that says nothing, and no braces."""

from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

T = TypeVar("T")


def _default(value: str) -> str:
    """Return how a default is told; of what is off or not given an option's own words tell already."""
    return "" if value in ("None", "False", "True", "''") else f"(default: {value})"


_told = tyro.conf.arg(help_behavior_hint=_default)
Option = Annotated[T, tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff, _told]
More = Annotated[
    Option[T], tyro.conf.arg(prefix_name=False)
]  # in a field's own class, whose box comes after the others
Seeds = Annotated[Option[tuple[int, ...] | None], tyro.conf.arg(metavar="INT ...")]
Names = Annotated[tuple[str, ...], _told, tyro.conf.arg(metavar="...")]
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
RunPaths = Annotated[tuple[Path, ...], tyro.conf.Positional, _told, tyro.conf.arg(metavar="RUN ...")]
FamilyName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")]


def none_without_braces() -> ConstructorRegistry:
    """Return a context in which the help of an option that may be None says ``None|INT``, not ``{None}|INT``."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[None] | None:
        if info.type is not type(None):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="None",
            instance_from_str=lambda words: None,
            is_instance=lambda value: value is None,
            str_from_instance=lambda value: ["None"],
            choices=("None",),
        )

    return registry
