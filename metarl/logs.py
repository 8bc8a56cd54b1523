"""SB3 logger outputs that survive a kill: on resume nothing logged is lost, and nothing stands there twice."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from metarl.files import write_atomic

STEPS = "time/total_timesteps"


class ResumableCSV(KVWriter):
    """A CSV of everything logged. SB3's own erases the old file when it opens; this one goes on after its last row.

    Rows of steps beyond ``num_timesteps``, logged after the checkpoint that is resumed from, are dropped.
    """

    def __init__(self, path: Path, num_timesteps: int) -> None:
        self.path, self._columns, self._rows = path, list[str](), list[dict[str, Any]]()
        if path.exists() and num_timesteps:
            # Without a line's end, a row was cut short, and its numbers may have been too.
            lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            reader = csv.DictReader(lines)
            self._rows = [row for row in reader if _int(row.get(STEPS)) <= num_timesteps]
            self._columns = list(reader.fieldnames or [])
        self._rewrite()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        row = {k: v for k, v in key_values.items() if "csv" not in (key_excluded.get(k) or ())}
        self._rows.append(row)
        new = sorted(set(row) - set(self._columns))
        if new:
            self._columns = sorted({*self._columns, *new})
            self._rewrite()
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def close(self) -> None:
        """Nothing is held open."""

    def _rewrite(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomic(self.path, text.getvalue())


def run_logger(folder: Path, num_timesteps: int) -> Logger:
    """A logger to ``progress.csv`` and TensorBoard in a seed's folder, continuing after ``num_timesteps``."""
    return Logger(str(folder), [ResumableCSV(folder / "progress.csv", num_timesteps), _Events(folder, num_timesteps)])


class _Events(TensorBoardOutputFormat):
    """SB3's TensorBoard output, whose events replace those of steps beyond ``num_timesteps``."""

    def __init__(self, folder: Path, num_timesteps: int) -> None:
        # Events are read in the order of their files' names, which tell the second and then the process.
        while any(int(file.name.split(".")[3]) >= int(time.time()) for file in folder.glob("events.out.tfevents.*")):
            time.sleep(0.05)
        # Also at the start: a run that was killed before its first checkpoint has left events too.
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=num_timesteps + 1)
        self._is_closed = False


def _int(text: str | None) -> int:
    """The steps of a row; a row without them counts as beyond every checkpoint."""
    try:
        return int(float(text)) if text else 1 << 62
    except ValueError:
        return 1 << 62
