"""Checksums of every published file: ``SHA256SUMS`` in the folder of results, as ``sha256sum`` writes and checks it."""

import hashlib
import re
from pathlib import Path

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def record_sums(results_dir: str | Path, folder: Path | None = None) -> Path:
    """Write the checksums of a result's files as they are now; those of others stay.

    Without a ``folder``, or where none were recorded yet, they are of all results. Returns the file. Raises MetaRLError
    where it is there and cannot be read.
    """
    root = Path(results_dir)
    if folder is None or not (root / SUMS).exists():
        known, place = {}, ""
    else:
        known, place = _read(root / SUMS), f"{folder.relative_to(root).as_posix()}/"
    sums = {name: value for name, value in known.items() if not name.startswith(place)}
    sums |= {name: _sum(file) for name, file in _files(root, place).items()}
    write_atomic(root / SUMS, "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())))
    return root / SUMS


def check_published(folder: Path) -> None:
    """Raise where a file of a result is no longer as it was published."""
    for root in folder.resolve().parents[1:3]:
        if faults := check_sums(root, folder.resolve().relative_to(root).as_posix() + "/"):
            raise MetaRLError(faults[0])


def check_sums(results_dir: str | Path, below: str = "") -> list[str]:
    """Return a line for each file that is no longer as it was published; none where no checksums were recorded.

    ``below`` leaves it at files whose path begins so.
    """
    root = Path(results_dir)
    if not (root / SUMS).exists():
        return []
    try:
        known = _read(root / SUMS)
    except MetaRLError as error:
        return [str(error)]
    known = {name: value for name, value in known.items() if name.startswith(below)}
    files = _files(root, below)
    wrong = dict.fromkeys(known.keys() - files.keys(), "is missing")
    wrong |= dict.fromkeys(files.keys() - known.keys(), f"is not listed in {root / SUMS}")
    wrong |= {
        name: f"is not what was published: its checksum differs from that in {root / SUMS}"
        for name in known.keys() & files.keys()
        if _sum(files[name]) != known[name]
    }
    remedy = "restore it, or publish it again; if it was meant to change: python scripts/check_results.py --accept"
    return [f"{root / name} {words}; {remedy}" for name, words in sorted(wrong.items())]


def _files(root: Path, below: str) -> dict[str, Path]:
    """Return the files of results by their path below the folder; README.md is written anew from them."""
    found = (path for path in (root / below).rglob("*") if path.is_file() and path.parent != root)
    return {path.relative_to(root).as_posix(): path for path in found}


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        matches = [_LINE.fullmatch(line) for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MetaRLError(f"{path} is damaged ({error}); restore it.") from error
    sums = {match[2]: match[1] for match in matches if match}
    if len(sums) != len(matches):
        raise MetaRLError(f"{path} is damaged: {len(matches) - len(sums)} of its lines are no checksums; restore it.")
    return sums
