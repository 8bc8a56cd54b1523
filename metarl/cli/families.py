"""The commands ``metarl families | check``."""

import json
from dataclasses import asdict, dataclass

from metarl.cli.base import Command, FamilyName, show


@dataclass(frozen=True, kw_only=True)
class Families(Command):
    """List the task families."""

    json: bool = False
    """print the list as JSON"""

    def run(self, command: str) -> None:
        from metarl.family.listing import families, families_json, families_table

        listed = families()
        show(self.json, json.loads(families_json(listed)), families_table(listed))


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Check a task family, also one of your own."""

    family: FamilyName
    """id, or module:id for one of your own"""
    variant: str | None = None
    """one variant; all unless given"""
    json: bool = False
    """print the problems as JSON"""

    def run(self, command: str) -> None:
        from metarl.family.checks.check import check_family, check_variants

        one = self.variant is not None
        reports = [check_family(self.family, self.variant)] if one else check_variants(self.family)
        show(self.json, [{**asdict(each), "ok": each.ok} for each in reports], "\n".join(map(str, reports)))
        if not all(report.ok for report in reports):
            raise SystemExit(1)
