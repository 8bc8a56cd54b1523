"""Checkpoints: one safetensors file of tensors and JSON, written whole or not at all, loaded without running code.

Each carries a checksum of all that it holds; where that does not fit, nothing is loaded.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.files import using, write_atomic

_ABOUT, _CHECKSUM = "about", "sha256"


def save_checkpoint(path: str | os.PathLike[str], tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors by name, and ``about``, which must be JSON."""
    # Saving shares no memory between names, and every tensor must be laid out in order.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    said = json.dumps(about)
    metadata = {_ABOUT: said, _CHECKSUM: _checksum(plain, said)}
    write_atomic(path, safetensors.torch.save(plain, metadata=metadata))


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_checkpoint`` wrote; raises where the file is missing, damaged or something else."""
    with _opened(path) as file:
        metadata = _metadata(file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if _checksum(tensors, metadata[_ABOUT]) != metadata[_CHECKSUM]:
            raise ValueError("its checksum does not fit what it holds")
        return tensors, json.loads(metadata[_ABOUT])


def checkpoint_checksum(path: str | os.PathLike[str]) -> str:
    """Return the checksum that a checkpoint says it has, which tells it from every other; its tensors are not read."""
    with _opened(path) as file:
        return _metadata(file)[_CHECKSUM]


def check_owner(path: str | os.PathLike[str], found: tuple[str, int], wanted: tuple[str, int]) -> None:
    """Raise unless a checkpoint's run and seed, ``found``, are those of the place where it lies."""
    if found != wanted:
        whose = f"seed {found[1]} of {f'run {found[0]}' if found[0] else 'no run'}"
        raise MetaRLError(
            f"{path} is a checkpoint of {whose}, and not of seed {wanted[1]} of run {wanted[0]}, where it lies; put it "
            "where it belongs, and restore this one or train anew."
        )


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A checkpoint's file, open; whatever the block finds wrong with it becomes a MetaRLError that names it."""
    with using(path):
        there = Path(path).is_file()
    if not there:
        raise MetaRLError(f"There is no checkpoint {path}; give the path of one, or train first.")
    try:
        with using(path), safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MetaRLError):
            raise
        raise MetaRLError(f"{path} is damaged or no metarl checkpoint ({error}); restore it or train anew.") from error


def _metadata(file: Any) -> dict[str, str]:
    metadata: dict[str, str] = file.metadata() or {}
    if missing := {_ABOUT, _CHECKSUM} - set(metadata):
        raise ValueError(f"it lacks {' and '.join(sorted(missing))}, and so may be of an older version")
    return metadata


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    """SHA-256 of ``about`` and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return twelve characters that tell tensors from others."""
    return _checksum({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, "")[:12]


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix.``, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def config_from(config_class: type, saved: Mapping[str, Any]) -> Any:
    """Return a config from JSON, in which tuples have become lists, and configs within it dicts."""
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
