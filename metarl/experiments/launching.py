"""Several processes of one command on this machine, as torchrun starts them: they end together, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from torch import distributed

from metarl.core.errors import MetaRLError
from metarl.experiments import signals
from metarl.experiments.team import FAILED, LAUNCHED

_LOOK = 0.1  # seconds between two looks at the processes
_LAST_WORDS = 6.0  # seconds that the others have to end by themselves once one has failed


def launch(arguments: Sequence[str], processes: int) -> None:
    """Run ``metarl ARGUMENTS`` in so many processes; return once all have done their work.

    The first signal is passed on to all of them, a second one ends them at once. Where one fails, the others are ended
    within seconds. The first process says what was wrong, and this one ends with its exit code; where that one could
    not, a MetaRLError says it.
    """
    if processes < 1:
        raise MetaRLError(f"--processes {processes}: it must be at least 1.")
    store = distributed.TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=60), wait_for_workers=False)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(processes), LAUNCHED: "1"}
    # The store is here, so that it outlives each of them.
    place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    command = [sys.executable, "-m", "metarl", *arguments]
    children: list[subprocess.Popen[bytes]] = []
    passed: list[int] = []

    def pass_on(number: int) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGKILL if passed else number)
        passed.append(number)

    try:
        with signals.passed_to(pass_on):
            for rank in range(processes):
                environment = {**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                # In sessions of their own, for a terminal would send its signals to all as well.
                output = subprocess.DEVNULL if rank else None
                child = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                children.append(child)
                if passed:  # perhaps before this one was known
                    child.send_signal(passed[0])
            failed = _wait(children, distributed.PrefixStore("metarl", store))
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
            if child.stdin is not None:
                child.stdin.close()
    codes = [child.returncode for child in children]
    if codes[0] > 0:
        raise SystemExit(codes[0])
    if passed and codes[0]:
        raise signals.Interrupted(passed[0], "What was saved before goes on with --resume.")
    if failed:
        raise MetaRLError(f"{failed}. Continue with --resume.")


def _wait(children: Sequence["subprocess.Popen[bytes]"], store: distributed.Store) -> str:
    """Wait until all have ended, or for the others' last words once one has failed; return how that one did."""
    words, until = "", float("inf")
    while time.monotonic() < until:
        codes = [child.poll() for child in children]
        failed = [(rank, code) for rank, code in enumerate(codes) if code and code - 128 not in signals.SIGNALS]
        if failed and not words:
            words = store.compare_set(FAILED, "", _ending(*failed[0])).decode()
            until = time.monotonic() + _LAST_WORDS
        if None not in codes:
            break
        time.sleep(_LOOK)
    return words


def _ending(rank: int, code: int) -> str:
    if code < 0:
        return f"Process {rank} was ended by {signal.Signals(-code).name}"
    return f"Process {rank} ended with exit code {code}"
