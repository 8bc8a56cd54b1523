"""SB3 logger outputs that survive a kill: on resume nothing logged is lost, and nothing stands there twice."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from metarl.core.errors import MetaRLError
from metarl.core.files import using, write_atomic
from metarl.experiments.events import ResumableEvents

STEPS = "time/total_timesteps"
PROGRESS = "progress.csv"


class ResumableCSV(KVWriter):
    """A CSV of everything logged. SB3's own erases the old file when it opens; this one goes on after its last row.

    Args:
        path: of the file, which may be missing.
        num_timesteps: where the training stands. Rows of later steps, logged after the checkpoint that is resumed
            from, are dropped.
        digest: what ``digest`` was when that checkpoint was saved; empty where that is not known.

    Raises where the rows that are kept are not those of the digest.
    """

    def __init__(self, path: Path, num_timesteps: int, digest: str = "") -> None:
        self.path, self._columns, self._rows = path, list[str](), list[dict[str, Any]]()
        self._hash = hashlib.sha256()
        if path.exists() and num_timesteps:
            with using(path):
                self._columns, self._rows = _kept(path, num_timesteps)
            for row in self._rows:
                self._hash.update(_canonical(row))
            if digest and self.digest != digest:
                raise MetaRLError(
                    f"{path} is damaged: it does not hold the rows that were logged up to step {num_timesteps:,}. "
                    "Restore it, or delete it to go on without them."
                )
        self._rewrite()

    @property
    def digest(self) -> str:
        """SHA-256 of every cell of all rows so far, the same whatever columns come later."""
        return self._hash.hexdigest()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        row = {k: _one_line(v) for k, v in key_values.items() if "csv" not in (key_excluded.get(k) or ())}
        self._rows.append(row)
        self._hash.update(_canonical(row))
        new = sorted(set(row) - set(self._columns))
        if new:
            self._columns = sorted({*self._columns, *new})
            self._rewrite()
            return
        with using(self.path), self.path.open("r+", newline="") as file:  # a file that was removed is not made anew
            file.seek(0, os.SEEK_END)
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def close(self) -> None:
        """Nothing is held open."""

    def _rewrite(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomic(self.path, text.getvalue())


def progress_digest(path: Path, num_timesteps: int) -> str:
    """Return the digest of a log's rows up to a step; raises where there is no log, or it cannot be read as one."""
    with using(path):
        rows = _kept(path, num_timesteps)[1]
    return hashlib.sha256(b"".join(map(_canonical, rows))).hexdigest()


class RunLogger(Logger):
    """Logs to ``progress.csv`` and TensorBoard in a seed's folder, continuing after ``num_timesteps``."""

    def __init__(self, folder: Path, num_timesteps: int, digest: str = "") -> None:
        self._csv = ResumableCSV(folder / PROGRESS, num_timesteps, digest)
        super().__init__(str(folder), [self._csv, ResumableEvents(folder, num_timesteps)])

    @property
    def digest(self) -> str:
        """The digest of the rows so far; see ``ResumableCSV``."""
        return self._csv.digest


def _kept(path: Path, num_timesteps: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows of a log, without the rows of later steps and one that was cut short."""
    try:
        # Without a line's end, a row was cut short, and its numbers may have been too.
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        reader = csv.DictReader(lines)
        rows = [row for row in reader if _int(row.get(STEPS)) <= num_timesteps]
        columns = list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise MetaRLError(f"{path} is damaged ({error}); restore it, or delete it to go on without it.") from error
    if any(None in row or None in row.values() for row in rows):
        raise MetaRLError(
            f"{path} is damaged: it has rows of more or fewer cells than columns. Restore it, or delete it to go on "
            "without them."
        )
    return columns, rows


def _one_line(value: Any) -> Any:
    """Return a cell on one line; the text of tensors has line ends, by which rows are told apart."""
    return value if isinstance(value, int | float) else "" if value is None else " ".join(str(value).split())


def _canonical(row: Mapping[str, Any]) -> bytes:
    """Return a row's cells as they are read back, without the empty ones that later columns add to it."""
    return repr([(name, str(value)) for name, value in sorted(row.items()) if str(value)]).encode()


def _int(text: str | None) -> int:
    """Return the steps of a row; a row without them counts as beyond every checkpoint."""
    try:
        return int(float(text)) if text else 1 << 62
    except (ValueError, OverflowError):
        return 1 << 62
