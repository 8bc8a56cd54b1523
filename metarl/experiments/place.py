"""What torchrun tells a process of its place among others; a light module, for every command asks."""

import os

JOIN_SECONDS = 300.0  # that processes wait for each other to come, unless another number is given
_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_one_of_several() -> bool:
    """Return whether this process was started as one of several, by torchrun or by ``--processes``."""
    return all(name in os.environ for name in _TOLD)


def restarts() -> int:
    """Return how often torchrun has started the processes anew, after failures."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if is_one_of_several() else 0


def follows() -> bool:
    """Return whether this process is one of several and not the first, which alone writes files and speaks."""
    return is_one_of_several() and os.environ["RANK"] != "0"


def own_device(name: str) -> str:
    """Return the device of this process: where ``cuda`` is asked for, a GPU for each process of a machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and is_one_of_several() else name
