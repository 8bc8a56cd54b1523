"""Processes that can be killed: forked from this one, which has imported all that takes long."""

import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from campaign.outcome import SECONDS, Kind, judged


@dataclass(frozen=True)
class Ended:
    """How a child ended: ``killed`` by a signal, or with what ``with_log_probs_and_values`` says of its call."""

    killed: bool
    kind: Kind
    words: str
    value: Any
    seconds: float


class Child:
    """A call in a forked process. Its value must be JSON."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._read, write = os.pipe()
        self._started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            _run(call, write)
        os.close(write)

    def kill(self) -> None:
        """End it without warning."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        """Wait for its end; one that takes too long is killed, and counts as hanging."""
        deadline, parts, hangs = self._started + 2 * SECONDS, list[bytes](), False
        while True:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                hangs = True
                self.kill()
                break
            part = os.read(self._read, 1 << 16)
            if not part:
                break
            parts.append(part)
        os.close(self._read)
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self._started
        if hangs:
            return Ended(False, "raw", "Hangs: the process does not end", None, seconds)
        if os.WIFSIGNALED(status):
            return Ended(True, "raw", f"killed by signal {os.WTERMSIG(status)}", None, seconds)
        if not parts:
            return Ended(False, "raw", f"exit code {os.WEXITSTATUS(status)} without a word", None, seconds)
        kind, words, value = json.loads(b"".join(parts))
        return Ended(False, kind, words, value, seconds)


def forked(call: Callable[[], Any]) -> Ended:
    """The call in a process of its own, to its end."""
    return Child(call).end()


def _run(call: Callable[[], Any], write: int) -> None:
    """In the child: the call in silence, and what came of it into the pipe."""
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        warnings.simplefilter("ignore")
        answer = json.dumps(judged(call)).encode()
        while answer:
            answer = answer[os.write(write, answer) :]
    finally:
        os._exit(0)  # without the parent's clean-up
