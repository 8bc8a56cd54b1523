"""TensorBoard events of a run that is resumed: in a file behind all others, each written as soon as it is logged."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import TensorBoardOutputFormat
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

from metarl.core.files import using

_EVENTS = "events.out.tfevents."


class ResumableEvents(TensorBoardOutputFormat):
    """SB3's TensorBoard output in a seed's folder, whose events replace those of steps beyond ``num_timesteps``."""

    def __init__(self, folder: Path, num_timesteps: int) -> None:
        self._path = _next_file(folder)
        with using(self._path):
            # Also at the start: a run that was killed before its first checkpoint has left events too.
            self.writer = _Summaries(self._path, num_timesteps + 1)
        self._is_closed = False

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        with using(self._path):
            super().write(key_values, key_excluded, step)

    def close(self) -> None:
        file: Any = self.writer.file_writer
        # What could not be written was said when it was; closing only tries it once more.
        with suppress(OSError):
            super().close()
        with suppress(OSError):
            file.close()
        self._is_closed = True


class _Summaries(SummaryWriter):
    """Torch's writer of summaries, into a file of our name."""

    def __init__(self, path: Path, purge_step: int) -> None:
        self._path = path
        super().__init__(log_dir=str(path.parent), purge_step=purge_step)

    def _get_file_writer(self) -> Any:  # what torch calls at the start and for every summary
        if self.file_writer is None:
            writer: Any = _Writer(self._path)
            self.file_writer, self.all_writers = writer, {str(self._path.parent): writer}  # type: ignore[assignment]  # torch declares them by their first value, None
            writer.add_event(Event(file_version="brain.Event:2"))
            writer.add_event(Event(session_log=SessionLog(status=SessionLog.START)), self.purge_step)
        return self.file_writer


class _Writer(FileWriter):
    def __init__(self, path: Path) -> None:
        self.event_writer = _File(path)


class _File:
    """An event file with the methods of TensorBoard's own, which writes in a thread and names it by the clock.

    A thread learns of a full disk where nobody can answer, and a clock that was put back hides the new events.
    """

    def __init__(self, path: Path) -> None:
        self._folder = str(path.parent)
        self._file = path.open("ab")
        self._records = RecordWriter(self._file)

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _next_file(folder: Path) -> Path:
    """Return a name behind those of all other event files, for they are read in the order of their names."""
    others = [file.name for file in folder.glob(f"{_EVENTS}*") if file.name.removeprefix(_EVENTS)[:10].isdigit()]
    name = f"{_EVENTS}{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
    newest = max(others, default="")
    return folder / (name if name > newest else f"{newest}.0")
