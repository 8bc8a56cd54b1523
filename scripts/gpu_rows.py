"""Measure in nine minutes what waits for a GPU: ``python scripts/gpu_rows.py --minutes 9 --output FOLDER``.

Rows run in order of value, each in a process of its own that is killed at its bound, and each writes its JSON with
every number that it has. ``--publish FOLDER`` puts the numbers that were brought back into docs/gpu.md. That of the
warp engine is a second command, ``--only warp``, with a folder of its own: what it needs comes later. Without a GPU
the same command, with ``--device cpu --scale 0.01``, runs at a hundredth of the sizes.
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from gpu.installed import check_installed
from gpu.plan import ROWS, WARP_ROWS, Place, run_rows
from gpu.record import DONE
from metarl.core.errors import MetaRLError

ROOT = Path(__file__).resolve().parents[1]


def main(
    output: Path | None = None,
    minutes: float = 9,
    device: str = "cuda",
    scale: float = 1.0,
    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    plan: bool = False,
    publish_from: Annotated[Path | None, tyro.conf.arg(name="publish")] = None,
    page: Path = ROOT / "docs" / "gpu.md",
) -> int:
    """Run the rows, print the plan, or publish what a run has brought back.

    Args:
        output: where each row's JSON and the log go, at most 8 files of 16 MiB.
        minutes: for all rows together.
        device: such as cuda.
        scale: of all sizes; 0.01 where a CPU stands in for the GPU.
        only: a row's name; may be given several times. All but the warp engine's unless given.
        plan: print the rows and their bounds, and run nothing.
        publish_from: a folder that a run has written; its numbers go to the page, and nothing is run.
        page: the file with the markers <!-- gpu:begin --> and <!-- gpu:end -->, and those of gpu-warp.
    """
    try:
        every = {row.name: row for row in (*ROWS, *WARP_ROWS)}
        unknown = set(only) - set(every)
        if unknown:
            raise MetaRLError(f"{sorted(unknown)} are no rows; choose from {', '.join(every)}.")
        rows = [row for name, row in every.items() if name in only] if only else list(ROWS)
        if plan:
            for row in rows:
                print(f"{row.name}: {row.title}, at most {row.seconds:g} s")
            return 0
        if publish_from is not None:
            from gpu.table import publish  # not before: a GPU machine need not have what tables are made with

            print(f"{page}: {'written' if publish(publish_from, page) else 'as it was'}")
            return 0
        if output is None:
            raise MetaRLError("--output is missing: name the folder for what is measured.")
        if not 0 < scale <= 1:
            raise MetaRLError(f"--scale {scale:g}: it is above 0 and at most 1.")
        check_installed(ROOT)
        from metarl.core.device import check_device  # not before: a plan needs no torch

        check_device(device)
        states = run_rows(rows, Place(output, device, scale), 60 * minutes)
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{name}: {state}" for name, state in states.items()))
    return 0 if all(state == DONE for state in states.values()) else 1


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
