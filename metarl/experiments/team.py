"""Processes that train one run together: how they meet, agree on what they train, and name the one that failed."""

import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from metarl.core.device import check_device
from metarl.core.errors import MetaRLError, shown
from metarl.core.parallel import TaskParallel
from metarl.experiments.place import JOIN_SECONDS, restarts

LAUNCHED = "METARL_LAUNCHED"  # in the environment of processes that ``launch`` starts
FAILED = "failed"  # in the store: what went wrong first, in words
_MADE = "made"
_WORK = timedelta(hours=1)  # the most that one process waits for another's work
_WORDS = timedelta(seconds=4)  # that a process which has lost another waits for the reason
T = TypeVar("T")


class Team:
    """The processes of a training, as one of them sees them.

    Args:
        store: through which they tell each other words.
        rank: number of this process.
        world: how many there are.
        device: of this process.
    """

    def __init__(self, store: Any, rank: int, world: int, device: str) -> None:
        self.rank, self.world, self.device, self._store = rank, world, device, store

    def parallel(self, blocks: int, *, ordered: bool = True) -> TaskParallel:
        """Return the object through which a training of so many blocks adds over task rows."""
        return TaskParallel(
            blocks, self.rank, self.world, ordered=ordered, device=check_device(self.device), lost=self._lost
        )

    def first_then_others(self, make: Callable[[bool], T]) -> T:
        """Return what ``make(True)`` gives on the first process, and once it has ended what ``make(False)`` gives.

        The first one waits for the others, for what it removed meanwhile they would make anew.
        """
        if self.rank == 0:
            made = make(True)
            self._store.set(_MADE, "yes")
        else:
            _wait(self._store, [_MADE], _WORK.total_seconds())
            if self._store.get(_MADE) != b"yes":
                raise MetaRLError("the first process has failed")
            made = make(False)
        self.parallel(1).most(0)
        return made

    def part(self) -> None:
        """Wait until all have done their work, and end where that is all this process is there for.

        It then ends at once: while one process still talks to the others' threads their teardown may abort it.
        """
        self._store.set(f"done{self.rank}", "")
        for other in range(self.world):
            _wait(self._store, [f"done{other}"], _WORK.total_seconds())
        if self.rank and (os.environ.get(LAUNCHED) or "TORCHELASTIC_RUN_ID" in os.environ):
            os._exit(0)

    def tell(self, error: BaseException) -> None:
        """Leave word of what has gone wrong in this process, unless another was first."""
        with suppress(Exception):  # the store may be gone with the process that holds it
            self._store.compare_set(FAILED, "", f"Process {self.rank}: {_words(error)}")
            if self.rank == 0:
                self._store.set(_MADE, "no")

    def _lost(self, error: Exception) -> MetaRLError:
        """Return what has become of another process, which cannot be reached any more."""
        words = "another process has ended without a word: it was killed, or its machine was lost"
        with suppress(Exception):
            self._store.wait([FAILED], _WORDS)
            words = self._store.get(FAILED).decode()
        return MetaRLError(f"{words.removesuffix('.')}. Continue with --resume.")


@contextmanager
def joined(facts: Mapping[str, Any], device: str, seconds: float = JOIN_SECONDS) -> Iterator[Team]:
    """Meet the other processes, and be one of them for as long as the block runs.

    Args:
        facts: JSON on which all have to agree, such as the versions and the config; the messages name what differs.
        device: of this process.
        seconds: that they wait for each other to come.

    Raises:
        MetaRLError: on the first process, where others do not come, have other facts, or the same GPU.
    """
    if os.environ.get(LAUNCHED):
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    world = int(os.environ["WORLD_SIZE"])
    store, rank = (distributed.HashStore(), 0) if world == 1 else _met(world, seconds)
    team = Team(store, rank, world, device)
    try:
        check_device(device)
        _introduce(store, rank, world, facts, f"{socket.gethostname()} {device}", seconds)
        if world > 1:
            backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
            if device.startswith("cuda"):
                torch.cuda.set_device(device)
            distributed.init_process_group(
                backend, store=distributed.PrefixStore("group", store), rank=rank, world_size=world, timeout=_WORK
            )
        yield team
        team.part()
    except BaseException as error:
        team.tell(error)
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _met(world: int, seconds: float) -> tuple[Any, int]:
    """Return the store that all processes share, and the number of this one."""
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, rank, _ = next(distributed.rendezvous("env://", timeout=timedelta(seconds=seconds)))
    except (RuntimeError, ValueError) as error:
        raise MetaRLError(
            f"The {world} processes did not all come to {place} within {seconds:g} seconds "
            f"({str(error).splitlines()[0]:.80}); start all of them, with this address, or wait longer: --join-seconds."
        ) from error
    # torchrun keeps the store when it starts all anew: what was said before must not be heard again.
    return distributed.PrefixStore(f"metarl{restarts() or ''}", store), rank


def _introduce(store: Any, rank: int, world: int, facts: Mapping[str, Any], device: str, seconds: float) -> None:
    """Have the first process see that all are there, that they are to do the same, and that no GPU is taken twice."""
    store.set(f"is{rank}", json.dumps([facts, device]))
    if rank > 0:
        if not _wait(store, ["welcome"], seconds + _WORDS.total_seconds()):
            raise MetaRLError("the first process has not welcomed this one")
        return
    devices: list[str] = []
    for other in range(world):
        if not _wait(store, [f"is{other}"], seconds):
            raise MetaRLError(
                f"Process {other} of {world} did not come within {seconds:g} seconds; start it, or see why it ended."
            )
        found, where = json.loads(store.get(f"is{other}"))
        mine = json.loads(json.dumps(facts))
        for name in sorted({*mine, *found}):
            if mine.get(name) != found.get(name):
                raise MetaRLError(
                    f"Process {other} has {name} {shown(found.get(name))}, and process 0 {shown(mine.get(name))}; give "
                    "all the same."
                )
        if where in devices and "cuda" in where:
            raise MetaRLError(f"{where} is taken by two processes; start one for each GPU, with --device cuda.")
        devices.append(where)
    store.set("welcome", "")


def _wait(store: Any, keys: list[str], seconds: float) -> bool:
    """Return whether there is word of something within some seconds; raise where there is word of a failure before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(RuntimeError):  # its timeout
            store.wait(keys, timedelta(seconds=min(1.0, seconds)))
            return True
        if store.check([FAILED]):
            raise MetaRLError(store.get(FAILED).decode())
    return False


def _words(error: BaseException) -> str:
    """Return an error in one line, with its place where it is none that was foreseen."""
    words = " ".join(str(error).split())
    if isinstance(error, MetaRLError | KeyboardInterrupt):
        return words
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {words:.300} ({Path(at.filename).name}:{at.lineno})"


def _end_with_launcher() -> None:
    """End with the process that has started this one, which holds the other end of its input."""
    while os.read(0, 1):  # not by sys.stdin, whose lock would outlive the interpreter
        pass
    os._exit(1)
