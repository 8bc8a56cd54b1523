"""The record of a row: one JSON that is written anew, whole, with every number, so that a kill costs none of them."""

import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.core.files import write_atomic

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped at its bound", "failed"
MOST_BYTES = 16 << 20  # of a file
_FEW_SECONDS = 10.0
_OFTEN = 1.0  # seconds between two writings of a curve


@dataclass(frozen=True)
class Job:
    """Where a row is measured, at which scale, and until when."""

    device: str
    scale: float  # of the sizes: 1 on a GPU, a hundredth where a CPU stands in for it
    seconds: float  # from ``started`` to the kill
    started: float  # time.monotonic()
    name: str = ""

    def left(self, margin: float = 0.0) -> float:
        """Return the seconds until only ``margin`` of them are left."""
        return self.started + self.seconds - margin - time.monotonic()

    def training(self, margin: float) -> float:
        """Return the seconds to train for: all but a margin, and few where a CPU only shows that it works."""
        return self.left(margin) if self.on_gpu else min(_FEW_SECONDS, self.left(margin))

    def size(self, full: int, least: int = 1) -> int:
        """Scale a size."""
        return max(least, round(full * self.scale))

    def wait(self) -> None:
        """Wait until the GPU has done what it was given."""
        if self.on_gpu:
            import torch  # not before: the plan needs none

            torch.cuda.synchronize()

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is measured, and no CPU in its place."""
        return self.device.startswith("cuda")


class Record:
    """A row's numbers in the order of measuring, what was not measured and why, and curves."""

    def __init__(self, path: Path, content: dict[str, Any] | None = None) -> None:
        self.path = path
        self.content: dict[str, Any] = {"numbers": [], "missing": {}, "curves": {}, **(content or {})}
        self._written = 0.0

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read the record in a file; it is empty where there is none."""
        return cls(path, json.loads(path.read_text()) if path.is_file() else None)

    def write(self) -> None:
        """Write the record, whole."""
        write_atomic(self.path, json.dumps(self.content, indent=1) + "\n")
        self._written = time.monotonic()

    def state(self, **what: Any) -> None:
        """Note the state of the row, its seconds, and the like."""
        self.content |= what
        self.write()

    def number(self, name: str, value: float, unit: str, note: str = "") -> None:
        """Note a number, in the place of one with the same name."""
        entry = {"name": name, "value": value, "unit": unit, "note": note}
        names = [each["name"] for each in self.content["numbers"]]
        if name in names:
            self.content["numbers"][names.index(name)] = entry
        else:
            self.content["numbers"].append(entry)
        print(f"{name}: {value:,.6g} {unit}{f' ({note})' if note else ''}", flush=True)
        self.write()

    def missing(self, name: str, why: str) -> None:
        """Note something that was not measured, and why."""
        self.content["missing"][name] = why
        print(f"{name}: not measured ({why})", flush=True)
        self.write()

    def point(self, curve: str, **values: float) -> None:
        """Add a point to a curve; it is written within a second or with the next number."""
        self.content["curves"].setdefault(curve, []).append({name: round(value, 5) for name, value in values.items()})
        if time.monotonic() - self._written > _OFTEN:
            self.write()


@contextmanager
def attempt(record: Record, name: str) -> Iterator[None]:
    """Note an error, or a fallback to something slower, in what is measured below, instead of raising it."""
    from metarl.rollout.chunks import Chunked
    from metarl.rollout.compiled import FellBack

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FellBack)
            warnings.simplefilter("error", Chunked)
            yield
    except Exception as error:  # whatever a compiler or a driver comes up with
        record.missing(name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}")


def machine(device: str) -> dict[str, str]:
    """Return the names of the processor, the device and the versions that measure."""
    import torch  # not before: the plan needs none

    found = {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
    }
    if device.startswith("cuda"):
        found |= {"device": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
