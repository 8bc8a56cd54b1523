"""Measure speed, always as a ratio side by side in one run: ``python scripts/benchmark.py [PART ...] [--threads N]``.

Absolute times differ by machine and by what else it does; the ratios are what the project promises.
"""

import json
import platform
import sys
from collections.abc import Callable
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from bench.agents import bench_inference, bench_memory
from bench.fewshot import bench_fewshot
from bench.learning import bench_rollout, bench_threads, bench_trpo
from bench.measure import Options, Row
from bench.others import bench_others
from bench.physics import bench_physics
from bench.processes import bench_processes
from bench.scale import bench_scale, bench_simulated
from metarl.core.device import check_device
from metarl.core.process import prepare_process

PARTS: dict[str, Callable[[Options], list[Row]]] = {
    "rollout": bench_rollout,
    "trpo": bench_trpo,
    "threads": bench_threads,
    "physics": bench_physics,
    "others": bench_others,
    "memory": bench_memory,
    "inference": bench_inference,
    "fewshot": bench_fewshot,
    "scale": bench_scale,
    "simulated": bench_simulated,
    "processes": bench_processes,
}


def main(options: Options) -> None:
    """Measure the parts and print them."""
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        sys.exit(f"error: {sorted(unknown)} are no parts; choose from {', '.join(PARTS)}.")
    check_device(options.device)
    prepare_process(options.threads)
    rows = [row for part in options.parts or PARTS for row in PARTS[part](options)]
    machine = f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    if options.json:
        listed: list[dict[str, Any]] = [{**vars(row), "ratio": row.ratio} for row in rows]
        print(json.dumps({"machine": machine, "device": options.device, "rows": listed}, indent=2))
        return
    table = Table("", "seconds", "against", "seconds", "times as fast", "target", "", title=machine, box=None)
    for row in rows:
        cells = [f"{row.ours:.3f}", row.other_name, f"{row.other:.3f}", f"{row.ratio:.2f}"]
        cells += ["" if row.target is None else f"≥ {row.target}", row.note]
        table.add_row(row.name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
