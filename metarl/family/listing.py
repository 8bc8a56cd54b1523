"""The list of families, from which the table in docs/, the console's and the JSON are made."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from textwrap import shorten
from typing import Any

import gymnasium
import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from metarl.core.errors import MetaRLError, did_you_mean
from metarl.family.base import TaskFamily
from metarl.family.registry import family_class, family_ids, optional_family_ids
from metarl.tasks.distributions import Choice, Dirichlet, Distribution, Grid, LogUniform, Normal, Uniform


@dataclass(frozen=True, kw_only=True)
class VariantInfo:
    """One variant of a family."""

    name: str
    parameters: dict[str, str]  # task parameter -> its distribution, in words
    split: str  # fresh, disjoint or closed
    test_tasks: int
    ood: bool  # whether there are out-of-distribution tasks
    observation: str
    action: str
    horizon: int  # control steps an episode
    episodes_per_trial: int
    floor: str | None  # the best task-blind reference policy
    optimum: str | None  # the optimal reference policy
    paper: str


@dataclass(frozen=True, kw_only=True)
class FamilyInfo:
    """A family and its variants, the default first."""

    id: str
    summary: str  # the docstring's first line
    variants: list[VariantInfo]


def families(ids: Sequence[str] | None = None) -> list[FamilyInfo]:
    """Return every known family, or those asked for by ``id`` or ``module:id``."""
    return [_family(family_class(name)) for name in (family_ids() if ids is None else ids)]


def families_rows(listed: Sequence[FamilyInfo]) -> list[dict[str, str]]:
    """Return one row of words for each variant; the keys are the columns' titles."""
    return [
        {
            "family": family.id,
            "variant": variant.name,
            "task": "; ".join(f"{name} {value}" for name, value in variant.parameters.items()),
            "split": f"{variant.split}, {variant.test_tasks} test" + (", ood" if variant.ood else ""),
            "observation": variant.observation,
            "action": variant.action,
            "episodes × steps": f"{variant.episodes_per_trial} × {variant.horizon}",
            "floor / optimum": f"{variant.floor or '–'} / {variant.optimum or '–'}",
            "source": variant.paper,
        }
        for family in listed
        for variant in family.variants
    ]


def families_markdown(listed: Sequence[FamilyInfo] | None = None) -> str:
    """Return the table of docs/families.md; what a family's variants share stands in the row of the first only."""
    rows = families_rows(families() if listed is None else listed)
    if not rows:
        return "No families are installed.\n"
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for before, row in zip([None, *rows[:-1]], rows, strict=True):
        again = before is not None and before["family"] == row["family"]
        cells = {**row, "family": f"`{row['family']}`", "variant": f"`{row['variant']}`"}
        cells |= {
            name: "" for name in ("family", "source") if again and before is not None and before[name] == row[name]
        }
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells.values()) + " |")
    return "\n".join(lines) + "\n"


def matching_ids(pattern: str) -> list[str]:
    """Return the ids that a pattern such as ``*Cheetah*`` or a part of an id fits; raises where there is none."""
    if ":" in pattern:
        return [pattern]
    known, apart, wanted = family_ids(), optional_family_ids(), pattern.lower()
    fits = [name for name in [*known, *apart] if fnmatch(name.lower(), f"*{wanted}") or wanted in name.lower()]
    if pattern in fits:
        return [pattern]
    found = [name for name in fits if name in known] or fits
    if len(found) > 1 and found[0] in apart:  # each takes seconds to tell
        raise MetaRLError(f"{pattern!r} fits {len(found)} families, such as {', '.join(found[:3])}; name one.")
    if not found:
        near = did_you_mean(pattern, [*known, *apart])
        raise MetaRLError(f"No family's id fits {pattern!r}.{near} Run metarl families for the list.")
    return found


def families_table(listed: Sequence[FamilyInfo]) -> Group:
    """Return one line for each family for the console: its id, and as much of its summary as fits into 80 columns."""
    table = Table.grid(padding=(0, 2))
    width = 78 - max((len(family.id) for family in listed), default=0)
    for family in listed:
        table.add_row(family.id, escape(shorten(family.summary, width, placeholder=" …", break_on_hyphens=False)))
    apart = defaultdict(list)
    for name in optional_family_ids():
        apart[name.partition("-")[0]].append(name)
    words = ", ".join(names[0] if len(names) == 1 else f"{stem}-* ({len(names)})" for stem, names in apart.items())
    return Group(
        table,
        f"\n{len(listed)} families. For parameters and variants: metarl families ID, or part of one.",
        *([f"With a package of their own (docs/meta_world.md): {words}."] if apart else []),
    )


def families_details(listed: Sequence[FamilyInfo]) -> Group:
    """Return all that is known of families for the console: a heading for each, and a paragraph for each variant."""
    parts: list[Any] = []
    for family in listed:
        parts.append(f"[bold]{family.id}[/]  {escape(family.summary)}")
        for row in families_rows([family]):
            table = Table.grid(padding=(0, 2))
            for name in row:
                if name != "family":
                    style = "bold" if name == "variant" else ""
                    table.add_row(f"  {name}", escape(row[name]), style=style)
            parts += ["", table]
        parts.append("")
    return Group(*parts)


def families_json(listed: Sequence[FamilyInfo] | None = None) -> str:
    """Return the list as JSON."""
    return json.dumps([asdict(family) for family in (families() if listed is None else listed)], indent=2)


def _family(cls: type[TaskFamily]) -> FamilyInfo:
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return FamilyInfo(id=cls.id, summary=summary, variants=[_variant(cls(name)) for name in cls.variants()])


def _variant(family: TaskFamily) -> VariantInfo:
    return VariantInfo(
        name=family.variant,
        parameters={name: _distribution(value) for name, value in family.tasks.parameters.items()},
        split=family.split.kind,
        test_tasks=family.split.n_test(family.tasks),
        ood=family.ood is not None,
        observation=_space(family.observation_space),
        action=_space(family.action_space),
        horizon=family.horizon,
        episodes_per_trial=family.episodes_per_trial,
        floor=family.floor,
        optimum=family.optimum,
        paper=family.paper,
    )


def _distribution(value: Distribution) -> str:
    size = "" if value.shape == () else f" ({'×'.join(map(str, value.shape))})"
    match value:
        case LogUniform():
            return f"log-uniform [{value.low:g}, {value.high:g}]{size}"
        case Uniform():
            return f"uniform [{value.low:g}, {value.high:g}]{size}"
        case Normal():
            return f"normal ({value.mean:g}, {value.sd:g}){size}"
        case Dirichlet():
            return f"Dirichlet ({value.concentration:g}){size}"
        case Grid():
            return f"{value.num} values in [{value.low:g}, {value.high:g}]"
        case Choice():
            return f"{len(value.values)} value{'s' * (len(value.values) > 1)}{size}"
    return repr(value)


def _space(space: gymnasium.Space[Any]) -> str:
    if isinstance(space, gymnasium.spaces.Tuple):
        return " + ".join(map(_space, space))
    if not isinstance(space, gymnasium.spaces.Box):
        return str(space)
    size, limits = "×".join(map(str, space.shape)), (space.low.flat[0], space.high.flat[0])
    same = bool(np.all(space.low == limits[0]) and np.all(space.high == limits[1]))
    return f"Box({size})" + (f" [{limits[0]:g}, {limits[1]:g}]" if same and np.isfinite(limits).all() else "")
