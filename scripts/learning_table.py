"""Train every learning test from ten seeds with each rounding that a processor may have; write what they reached."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tyro

ROOT = Path(__file__).resolve().parents[1]
# ATen has kernels for several instruction sets, MKL too. They sum in different orders, so they round differently.
ROUNDINGS: dict[str, dict[str, str]] = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "native": {},
}
INTRODUCTION = """# What the learning tests reach

Written by `scripts/learning_table.py`: {seeds} seeds of every fast test marked `learning`, with the rounding of
`make learning` and with this machine's own kernels, which are {capability}. A test judges the median of three seeds,
and its bound lies where not one of these {seeds} comes to. "> 0.65" bounds from below, "< 0.45" from above; the other
numbers are the least, the median and the greatest over the seeds.{missing}"""
Row = dict[str, Any]


def main(seeds: int = 10, records: Path = ROOT / "build" / "learning", tests: str = "learning and not slow") -> int:
    """Run the learning tests and write docs/learning_tests.md.

    Args:
        seeds: of every test.
        records: the folder of what was measured; a rounding whose file is there is not measured again.
        tests: which, as a marker expression.
    """
    records.mkdir(parents=True, exist_ok=True)
    capability = torch.backends.cpu.get_cpu_capability().lower()
    # Where the machine's own kernels are these, the third column would be the second.
    names = [name for name in ROUNDINGS if not (name == "native" and capability in ROUNDINGS)]
    for name in names:
        if not (records / f"{name}.jsonl").exists():
            measure(name, seeds, records / f"{name}.jsonl", tests)
    rows = {name: read(records / f"{name}.jsonl") for name in names}
    (ROOT / "docs" / "learning_tests.md").write_text(page(rows, seeds, capability))
    return 0


def measure(rounding: str, seeds: int, record: Path, tests: str) -> None:
    """Train under one rounding, and append what each test scored to ``record``."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("ATEN_CPU_CAPABILITY", "MKL_CBWR")}
    chosen = ["-m", tests, f"--learning-seeds={seeds}", f"--learning-record={record}"]
    environment = {**inherited, **ROUNDINGS[rounding]}
    subprocess.run([sys.executable, "-m", "pytest", "-q", *chosen], cwd=ROOT, env=environment, check=False)


def read(record: Path) -> dict[str, Row]:
    """Read the rows by test; of a test that was run again the newest counts."""
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    return {row["test"].removeprefix("tests/"): row for row in rows}


def page(rows: dict[str, dict[str, Row]], seeds: int, capability: str) -> str:
    """Return the page's Markdown: a table for each file of tests, with a line for each number that is bounded."""
    first, *others = rows.values()
    native = (
        ""
        if "native" in rows
        else f" This machine's own kernels are {capability}'s,\nso they have no column of their own."
    )
    lines = [INTRODUCTION.format(seeds=seeds, capability=capability, missing=native)]
    file = ""
    for test in sorted(first.keys() & set.intersection(*(set(other) for other in others))):
        if test.split("::")[0] != file:
            file = test.split("::")[0]
            lines += [f"\n## {file}\n", f"| test | bound | {' | '.join(rows)} |", f"|---|---|{'---|' * len(rows)}"]
        for name, bound in bounds(first[test]):
            cells = [spread(each[test]["scores"][name]) for each in rows.values()]
            label = test.split("::")[1].removeprefix("test_").replace("_", " ")
            lines.append(f"| {label}: {name} | {bound} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def bounds(row: Row) -> list[tuple[str, str]]:
    """Return each bounded number's name and bound."""
    above = [(name, f"> {bound:.3g}") for name, bound in row["above"].items()]
    return above + [(name, f"< {bound:.3g}") for name, bound in row["below"].items()]


def spread(values: Sequence[float]) -> str:
    """Return the least, the median and the greatest value."""
    return " / ".join(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
