"""Checkpoints: one safetensors file of tensors and JSON, written whole or not at all, loaded without running code."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import safetensors
import safetensors.torch
from torch import Tensor

from metarl.errors import MetaRLError
from metarl.files import write_atomic


def save_checkpoint(path: str | os.PathLike[str], tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors by name, and ``about``, which must be JSON."""
    # Saving shares no memory between names, and every tensor must be laid out in order.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain, metadata={"about": json.dumps(about)}))


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_checkpoint`` wrote; raises where the file is missing, damaged or something else."""
    if not Path(path).is_file():
        raise MetaRLError(f"There is no checkpoint {path}; give the path of one, or train first.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - it is no dict
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MetaRLError(f"{path} is damaged or no metarl checkpoint ({error}); restore it or train anew.") from error


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix.``, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def config_from(config_class: type, saved: Mapping[str, Any]) -> Any:
    """A config from JSON, in which tuples have become lists, and configs within it dicts."""
    hints = get_type_hints(config_class)
    known = {f.name: hints[f.name] for f in fields(config_class)}
    if unknown := set(saved) - set(known):
        raise MetaRLError(f"{config_class.__name__} has no {sorted(unknown)}; it knows {sorted(known)}.")
    return config_class(**{name: _from_json(known[name], value) for name, value in saved.items()})


def _from_json(kind: Any, value: Any) -> Any:
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return config_from(kind, value)
    return tuple(value) if isinstance(value, list) else value
