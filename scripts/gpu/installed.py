"""A check that the package that is imported is the one in this tree."""

import filecmp
import importlib.util
from pathlib import Path

from metarl.core.errors import MetaRLError

_FOLDERS = {"metarl": "metarl", "metarl/envs": "envs", "metarl/agents": "agents"}  # installed as, in the tree


def check_installed(root: Path) -> None:
    """Raise a MetaRLError where a file of the tree and the installed one differ: numbers would mean nothing."""
    spec = importlib.util.find_spec("metarl")
    assert spec is not None
    assert spec.origin is not None
    site = Path(spec.origin).parent.parent
    if site == root:  # imported from the tree itself
        return
    for target, source in _FOLDERS.items():
        for file in (root / source).rglob("*.py"):
            there = site / target / file.relative_to(root / source)
            if not there.is_file() or not filecmp.cmp(file, there, shallow=False):
                raise MetaRLError(
                    f"The metarl in {site} is not that of {root} ({file.relative_to(root)} differs); run "
                    "scripts/gpu_prepare.sh again, and install what it made."
                )
