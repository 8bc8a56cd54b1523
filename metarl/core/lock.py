"""A folder that one process at a time may change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metarl.core.errors import MetaRLError
from metarl.core.files import using

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as the block runs; raises MetaRLError at once where another process holds it.

    The system gives the lock back when the process ends, however it ends.
    """
    file = folder / LOCK
    lock = FileLock(file)
    with using(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise MetaRLError(
                f"{folder} is in use by another process; wait until that ends, stop it, or choose another --name."
            ) from None
        held = os.stat(file).st_ino
    try:
        yield
    finally:
        # While it is held, so that whoever has opened it meanwhile finds it gone and begins anew. A folder that was
        # replaced has the lock of another process.
        with suppress(OSError):
            if os.stat(file).st_ino == held:
                file.unlink()
        lock.release()
