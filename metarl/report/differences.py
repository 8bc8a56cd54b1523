"""What runs differ in: the fields of their configs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metarl.evaluation.rows import Row


def config_rows(configs: Mapping[str, Any]) -> list[Row]:
    """Return a row for each field that is not the same in all configs, with its value in each.

    Args:
        configs: dataclasses by what they are called; a field that a class lacks has None there.
    """
    flat = {name: _flat(asdict(config)) for name, config in configs.items()}
    fields = dict.fromkeys(field for each in flat.values() for field in each)
    rows = [{"field": field, **{name: each.get(field) for name, each in flat.items()}} for field in fields]
    return [row for row in rows if len(set(list(row.values())[1:])) > 1]


def _flat(fields: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return values in words by names, those of nested fields joined by points."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: str(value)}
    return found
