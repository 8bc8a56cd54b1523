"""The commands ``metarl families | check``."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from metarl.cli.base import Command, show
from metarl.cli.options import FamilyName, Option


@dataclass(frozen=True, kw_only=True)
class Families(Command):
    """List the task families, or tell all of some."""

    pattern: Annotated[Option[str | None], tyro.conf.Positional, tyro.conf.arg(metavar="[ID|PATTERN]")] = None
    """an id, a part of ids, or a pattern such as "*Cheetah*", for details; all in one line each unless given"""
    json: Option[bool] = False
    """print the list as JSON"""

    def run(self, command: str) -> None:
        from metarl.family.listing import families, families_details, families_json, families_table, matching_ids

        listed = families(None if self.pattern is None else matching_ids(self.pattern))
        table = families_table if self.pattern is None else families_details
        show(self.json, json.loads(families_json(listed)), table(listed))


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Check a task family, also one of your own."""

    family: FamilyName
    """id, or module:id for one of your own"""
    variant: Option[str | None] = None
    """one variant; all unless given"""
    engine: Option[str | None] = None
    """another engine, warp, to compare with the usual one; nothing else is checked then"""
    json: Option[bool] = False
    """print the problems as JSON"""

    def run(self, command: str) -> None:
        from metarl.family.checks.check import check_family, check_variants

        one = self.variant is not None
        options = (self.family, self.variant, self.engine)
        reports = [check_family(*options)] if one else check_variants(self.family, self.engine)
        show(self.json, [{**asdict(each), "ok": each.ok} for each in reports], "\n".join(map(str, reports)))
        if not all(report.ok for report in reports):
            raise SystemExit(1)
