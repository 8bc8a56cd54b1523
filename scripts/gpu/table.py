"""The table of docs/gpu.md, made from the records of a run."""

import json
from pathlib import Path
from typing import Any

from gpu.plan import ROWS, WARP_ROWS
from metarl.core.errors import MetaRLError
from results.markdown import insert_table, markdown

MARKER, WARP_MARKER = "gpu", "gpu-warp"


def publish(folder: Path, page: Path) -> bool:
    """Put the records of a folder into a page, and return whether it changed."""
    records = read(folder)
    of_warp = {record.get("row") for record in records} <= {row.name for row in WARP_ROWS}
    return insert_table(page, WARP_MARKER if of_warp else MARKER, table(records))


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the records of a folder in the order of the rows; raises where there is none."""
    files = [folder / f"{row.name}.json" for row in (*ROWS, *WARP_ROWS)]
    try:
        found = [json.loads(file.read_text()) for file in files if file.is_file()]
    except ValueError as error:
        raise MetaRLError(f"{folder} holds a file that is no record ({error}); measure that row again.") from error
    if not found:
        raise MetaRLError(f"{folder} holds no record of a row; name the --output of scripts/gpu_rows.py.")
    machines = {json.dumps(record["machine"]) for record in found if "machine" in record}
    if len(machines) > 1:
        raise MetaRLError(f"{folder} holds records of {len(machines)} machines; publish those of one.")
    return found


def table(records: list[dict[str, Any]]) -> str:
    """Return the Markdown: where it was measured, every number, and what was not measured."""
    machine = next((record["machine"] for record in records if "machine" in record), {})
    where = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "device")
    scale = records[0].get("scale", 1)
    note = "" if scale == 1 else f" **At {scale:g} of the sizes: a dry run, whose numbers mean nothing.**"
    rows = [cells for record in records for cells in _rows(record)]
    rates = [_rate(record) for name in ("bandit", "jax") for record in records if record.get("row") == name]
    if len(rates) == 2 and all(rates):
        rows.append(["", "RL² against the JAX peer", f"{rates[0] / rates[1]:.2f} × its steps/s", "target: 1.0"])
    head = f"Measured on {machine.get('device', 'nothing')} ({where}), {records[0].get('started', 'never')}.{note}\n\n"
    return head + markdown(["row", "what", "measured", ""], rows)


def _rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the lines of one row: its name once, its numbers, and what is missing."""
    lines = [
        [entry["name"], f"{entry['value']:,.4g} {entry['unit']}".strip(), entry["note"]] for entry in _numbers(record)
    ]
    lines += [[name, "not measured", why] for name, why in record.get("missing", {}).items()]
    if record.get("state") != "done":
        lines.append(["the row itself", record.get("state", "unknown"), record.get("why", "")])
    target = f" (target: {record['target']})" if record.get("target") else ""
    name = record.get("title", record.get("row", "?")) + target
    return [[name if i == 0 else "", *line] for i, line in enumerate(lines or [["nothing", "", ""]])]


def _rate(record: dict[str, Any]) -> float:
    """Return a row's steps a second; 0 where they were not measured."""
    return next((float(each["value"]) for each in _numbers(record) if each["name"] == "steps a second"), 0.0)


def _numbers(record: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = record.get("numbers", [])
    return found
