"""Vectors are made once: they are kept on disk by the encoder and the content of the items."""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError, shown
from metarl.core.files import cache_folder, using, write_atomic
from metarl.fewshot.features.base import Encoder, Features


def encode(encoder: Encoder, items: Sequence[Any]) -> Features:
    """Return the vectors ``(n, d)`` of items, from the cache where they have been made before.

    An item that occurs several times is encoded once. Raises where the encoder gives anything but finite numbers.
    """
    digests = [_digest(each) for each in items]
    unique = dict(sorted(zip(digests, items, strict=True), key=lambda pair: pair[0]))  # whatever order they come in
    path = cached_at(encoder, list(unique))
    vectors = _read(path)
    if vectors is None or len(vectors) != len(unique):
        vectors = np.asarray(encoder(list(unique.values())), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(unique) or not np.isfinite(vectors).all():
            raise MetaRLError(
                f"The encoder {encoder.identity} gave {vectors.shape} for {len(unique)} items; it must give finite "
                "numbers (n, d)."
            )
        content = io.BytesIO()
        np.savez_compressed(content, vectors=vectors)  # counts are mostly zeros
        write_atomic(path, content.getvalue())
    row = {digest: i for i, digest in enumerate(unique)}
    return vectors[[row[digest] for digest in digests]]


def cached_at(encoder: Encoder, digests: Sequence[str]) -> Path:
    """Return the path where the vectors of items, given by their digests, are kept."""
    whose = json.dumps([encoder.identity, encoder.version, encoder.fitted])
    key = hashlib.sha256("\n".join([whose, *digests]).encode()).hexdigest()[:32]
    return cache_folder() / "features" / f"{re.sub('[^A-Za-z0-9-]+', '-', encoder.identity)}-{key}.npz"


def _digest(item: Any) -> str:
    """Return the SHA-256 of an item's content: of text, of a file, of an array, or of a row of a table."""
    if isinstance(item, Path):
        with using(item):
            return hashlib.sha256(item.read_bytes()).hexdigest()
    if isinstance(item, np.ndarray):
        whole = f"{item.dtype}{item.shape}".encode() + np.ascontiguousarray(item).tobytes()
        return hashlib.sha256(whole).hexdigest()
    if isinstance(item, str | tuple):
        return hashlib.sha256(repr(item).encode()).hexdigest()
    raise MetaRLError(f"{shown(item)} is no item; give text, paths of files, arrays, or tuples of words and numbers.")


def _read(path: Path) -> Features | None:
    """Return the vectors in a file, or None where there are none or it is damaged: they are made again then."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return np.asarray(content["vectors"], np.float32)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
