"""Compare the warp engine with MuJoCo's own on this machine, and write the table of docs/warp.md."""

import os
import sys
from pathlib import Path

import torch
import tyro

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.random import gymnasium_keys
from metarl.family import make_family
from metarl.family.checks.play import N_ENVS, Subject
from results.markdown import insert_table, markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "warp.md"
FAMILIES = (
    ("metarl/HalfCheetahVel-v0", "pearl"),
    ("metarl/HopperRandParams-v0", "pearl"),
    ("metarl/Walker2dRandParams-v0", "pearl"),
    ("metarl/AntDir-v0", "promp"),
    ("metarl/AntRandParams-v0", "default"),
    ("metarl/Slope-v0", "default"),
)


def main(device: str = "cpu") -> int:
    """Run the comparison of ``metarl check --engine warp`` on the families of the table.

    Args:
        device: of the warp engine, such as cuda.
    """
    os.environ.setdefault("MUJOCO_GL", "disable")
    try:
        place = check_device(device)
        rows = [row_of(name, variant, place) for name, variant in FAMILIES]
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ["family", "observation", "reward", "by itself after 1", "after 10", "after 50"]
    insert_table(PAGE, "warp", markdown(header, rows))
    return 0


def row_of(name: str, variant: str, device: torch.device) -> list[str]:
    """Return a line of the table: the distances of one family."""
    family = make_family(name, variant, "warp")
    subject = Subject(family)
    found = family.compare_engines(subject.tasks, gymnasium_keys(0, N_ENVS), subject.actions.to(device))
    apart = [f"{found.paths[t]:.1e}" if t in found.paths else "all ended" for t in (1, 10, 50)]
    print(family.name, *found.told, sep="\n  ", flush=True)
    return [family.name, *(f"{found.distances[part]:.1e}" for part in ("observation", "reward")), *apart]


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
