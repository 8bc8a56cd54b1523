"""How a process that computes is set up."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from metarl.core.errors import MetaRLError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h

_MUJOCO_LOG = "MUJOCO_LOG.TXT"  # as it calls it by itself


@contextmanager
def torch_beside(engine_threads: int) -> Iterator[None]:
    """Give torch one thread where an engine takes turns with it on several.

    Torch's threads go on spinning for milliseconds after an operation, on the cores that the engine needs: a policy of
    64 × 64 in the loop then doubled the time of a step of 64 half-cheetahs on 2 cores.
    """
    threads = torch.get_num_threads()
    if engine_threads == 1 or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def prepare_process(threads: int) -> None:
    """Set torch's threads, which engines take as theirs, and let malloc keep what is freed.

    An inner loop allocates and frees tensors of megabytes at every operation. By default glibc maps each anew and the
    kernel clears its pages: a fifth of the time of a meta-iteration, measured on 2 cores. Elsewhere than on glibc
    nothing is changed.
    """
    if threads < 1:
        raise MetaRLError(f"--threads {threads}: it must be at least 1.")
    torch.set_num_threads(threads)
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def no_mujoco_log() -> None:
    """Keep MuJoCo from writing its warnings into the working folder, as it does by itself; it still prints them."""
    import mujoco

    config = mujoco.MjLogConfig.get()
    if config.logfile == _MUJOCO_LOG:
        config.logto_file = False
        config.set()


def log_mujoco_in(folder: Path) -> None:
    """Have MuJoCo, where a family has loaded it, write its warnings into a run's folder."""
    if "mujoco" not in sys.modules:
        return
    import mujoco

    config = mujoco.MjLogConfig.get()
    config.logfile, config.logto_file = str(folder.absolute() / _MUJOCO_LOG), True
    config.set()
