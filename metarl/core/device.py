"""The device that a user names."""

import torch

from metarl.core.errors import MetaRLError


def check_device(device: torch.device | str) -> torch.device:
    """Return the device, or raise where it is unknown or not there."""
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise MetaRLError(f"Device {device!r} is unknown; use 'cpu', 'cuda' or 'cuda:0'.") from error
    if chosen.type not in ("cpu", "cuda"):
        raise MetaRLError(f"Device {str(device)!r} is not supported; use 'cpu', 'cuda' or 'cuda:0'.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise MetaRLError(f"Device {str(device)!r} was asked for, but torch finds no CUDA here; use --device cpu.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise MetaRLError(f"Device {str(device)!r} was asked for, but there are {torch.cuda.device_count()} GPUs.")
    return chosen
